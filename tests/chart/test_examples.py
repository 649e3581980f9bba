"""The examples are what they say: complete, and valid for the CRD and the operator.

That `check` has nothing to mend in them is in tests/plugin/test_check.py.
"""

from pathlib import Path

import pytest
from chart.kit import ROOT, load_yaml, spec_validator

from kotatsu_operator.core.pool.parse import parse
from kotatsu_operator.core.pool.spec import RouteMode

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
BY_NAME = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
COUNTED = {"grpc", "voicevox", "websocket"}
"""Those of which every connection passes the activators."""


def test_there_are_examples_and_the_page_names_each() -> None:
    page = (ROOT / "examples/README.md").read_text()
    assert len(EXAMPLES) == 8
    assert all(f"[{path.name}]({path.name})" in page for path in EXAMPLES)


@BY_NAME
def test_the_pool_fits_the_crd_and_the_operator_reads_it(path: Path) -> None:
    workload, _, pool = load_yaml(path.read_text())
    assert "replicas" not in workload["spec"]
    spec_validator().validate(pool["spec"])
    assert set(pool["spec"]) <= set(spec_validator().schema["properties"])
    filled = {"apiVersion": "apps/v1", "kind": "Deployment"} | pool["spec"]["targetRef"]
    route = parse(pool["spec"] | {"targetRef": filled}).route
    assert (route is RouteMode.ACTIVATOR) == (path.stem in COUNTED)
