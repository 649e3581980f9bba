"""What the README shows is still true."""

import re
from typing import Any

import jsonschema
import yaml

from kotatsu_demo.images import ROOT
from kotatsu_operator.core.pool.parse import parse

README = (ROOT / "README.md").read_text()


def closed(schema: Any) -> Any:
    """The schema, refusing fields that it does not name."""
    if isinstance(schema, dict):
        more = {"additionalProperties": False} if "properties" in schema else {}
        return {name: closed(part) for name, part in schema.items()} | more
    return [closed(part) for part in schema] if isinstance(schema, list) else schema


def test_the_warm_pool_has_only_fields_of_the_crd_and_the_operator_reads_it():
    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    pool = yaml.safe_load(text)
    crd = yaml.safe_load((ROOT / "charts/kotatsu/crds/warmpools.kotatsu.dev.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    jsonschema.validate(pool["spec"], closed(schema))
    filled = {"apiVersion": "apps/v1", "kind": "Deployment"} | pool["spec"]["targetRef"]
    spec = parse(pool["spec"] | {"targetRef": filled})
    assert [window.name for window in spec.windows] == ["final-pitch", "rehearsal"]
