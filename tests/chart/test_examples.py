"""The examples are what they say: complete, and valid for the CRD and the operator."""

from pathlib import Path

import jsonschema
import pytest
from chart.kit import ROOT, crd, load_yaml

from kotatsu_operator.core.pool.spec import RouteMode, parse

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
BY_NAME = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)


def test_there_are_examples_and_the_page_names_each() -> None:
    page = (ROOT / "examples/README.md").read_text()
    assert len(EXAMPLES) == 3
    assert all(f"[{path.name}]({path.name})" in page for path in EXAMPLES)


@BY_NAME
def test_the_pool_fits_the_crd_and_the_operator_reads_it(path: Path) -> None:
    _, _, pool = load_yaml(path.read_text())
    schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    jsonschema.validate(pool["spec"], schema)
    assert set(pool["spec"]) <= set(schema["properties"])
    filled = {"apiVersion": "apps/v1", "kind": "Deployment"} | pool["spec"]["targetRef"]
    assert parse(pool["spec"] | {"targetRef": filled}).route is RouteMode.ALWAYS


@BY_NAME
def test_deployment_service_and_pool_belong_together(path: Path) -> None:
    deployment, service, pool = load_yaml(path.read_text())
    template = deployment["spec"]["template"]
    (container,) = template["spec"]["containers"]
    assert "replicas" not in deployment["spec"]
    assert "selector" not in service["spec"]
    assert deployment["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]
    assert pool["spec"]["targetRef"]["name"] == deployment["metadata"]["name"]
    assert pool["metadata"]["name"] == service["metadata"]["name"]
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    assert container["readinessProbe"]
