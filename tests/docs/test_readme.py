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


def test_the_yen_in_the_table_follow_from_the_example_prices_and_the_charts_requests():
    voice = yaml.safe_load((ROOT / "charts/pet/values.yaml").read_text())["voice"]
    assert voice["resources"]["requests"] == {"cpu": "250m", "memory": "320Mi"}
    hourly = 0.25 * 6.5 + 320 / 1024 * 0.7
    assert f"{hourly:.2f} yen" in README
    rows = re.findall(r"^\| .* \| ([\d,]+) \| ([\d,]+) \|$", README, re.MULTILINE)
    assert len(rows) == 3
    for hours, yen in ((int(a.replace(",", "")), int(b.replace(",", ""))) for a, b in rows):
        assert round(hours * hourly) == yen


def test_what_the_platform_itself_requests_is_what_the_chart_says():
    values = yaml.safe_load((ROOT / "charts/kotatsu/values.yaml").read_text())
    operator, activator = (
        values[name]["resources"]["requests"] for name in ("operator", "activator")
    )
    copies = values["activator"]["replicas"]
    cpu = int(operator["cpu"][:-1]) + copies * int(activator["cpu"][:-1])
    memory = int(operator["memory"][:-2]) + copies * int(activator["memory"][:-2])
    assert f"{cpu / 1000:.2f} cores and {memory} MiB" in README
