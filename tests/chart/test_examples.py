"""The examples are what they say: complete, and valid for the CRD and the operator."""

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
    _, _, pool = load_yaml(path.read_text())
    spec_validator().validate(pool["spec"])
    assert set(pool["spec"]) <= set(spec_validator().schema["properties"])
    filled = {"apiVersion": "apps/v1", "kind": "Deployment"} | pool["spec"]["targetRef"]
    route = parse(pool["spec"] | {"targetRef": filled}).route
    assert (route is RouteMode.ACTIVATOR) == (path.stem in COUNTED)


@BY_NAME
def test_workload_service_and_pool_belong_together(path: Path) -> None:
    workload, service, pool = load_yaml(path.read_text())
    template, target = workload["spec"]["template"], pool["spec"]["targetRef"]
    (container,) = template["spec"]["containers"]
    labels = template["metadata"]["labels"]
    assert "replicas" not in workload["spec"]
    assert service["spec"].get("selector") == labels
    assert workload["spec"]["selector"]["matchLabels"] == labels
    assert target["name"] == workload["metadata"]["name"]
    assert target.get("kind", "Deployment") == workload["kind"]
    assert target.get("apiVersion", "apps/v1") == workload["apiVersion"]
    assert pool["metadata"]["name"] == service["metadata"]["name"]
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports
    assert container["readinessProbe"]


@BY_NAME
def test_a_pod_that_ends_waits_for_kube_proxy(path: Path) -> None:
    workload, _, _ = load_yaml(path.read_text())
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    assert container["lifecycle"]["preStop"]["sleep"]["seconds"] >= 6
