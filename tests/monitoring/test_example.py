"""The example Prometheus: what it may do, and that it fits a restricted namespace."""

import re
from collections.abc import Iterator

import needs
import pytest
from chart.kit import ROOT, containers
from e2e.kit import Kubectl
from e2e.prometheus import (
    EXAMPLE,
    of_the_example,
    scrape_configuration,
)

from kotatsu_node.cluster.control_plane import control_plane
from kotatsu_node.layout import Layout, sources

ACCOUNT = "system:serviceaccount:here:prometheus"


def test_it_is_the_version_that_the_tests_run() -> None:
    [deployment] = of_the_example("Deployment")
    [container] = containers(deployment["spec"]["template"])
    module = (sources() / "peers/prometheus/go.mod").read_text()
    built = re.search(r"github.com/prometheus/prometheus v0\.(\d)(\d\d)\.(\d+)", module)
    assert built is not None
    major, minor, patch = map(int, built.groups())
    assert container["image"] == f"prom/prometheus:v{major}.{minor}.{patch}"


def test_it_loads_the_alerts_beside_its_configuration() -> None:
    [deployment] = of_the_example("Deployment")
    [config] = [
        v for v in deployment["spec"]["template"]["spec"]["volumes"] if v["name"] == "config"
    ]
    names = [source["configMap"]["name"] for source in config["projected"]["sources"]]
    page = (ROOT / "docs/how-to/monitoring.md").read_text()
    made = f"kubectl create configmap {names[1]} -n kotatsu --from-file=charts/kotatsu/rules"
    assert made in page
    assert scrape_configuration()["rule_files"] == ["*.yaml"]


@pytest.mark.parametrize(("job", "namespace"), [("kotatsu", "demo"), ("apps", "kotatsu")])
def test_a_series_of_kotatsu_is_of_its_pools_namespace_and_one_of_an_app_is_not(
    job: str, namespace: str
) -> None:
    [rules] = [
        one["metric_relabel_configs"]
        for one in scrape_configuration()["scrape_configs"]
        if one["job_name"] == job
    ]
    series = {"namespace": "kotatsu", "exported_namespace": "demo"}
    for rule in rules:
        if rule.get("action") == "labeldrop":
            series.pop(rule["regex"])
        else:
            [source] = rule["source_labels"]
            series[rule["target_label"]] = series[source]
    assert series == {"namespace": namespace}


@pytest.fixture(scope="module")
def kubectl() -> Iterator[Kubectl]:
    needs.kubernetes()
    with control_plane(Layout.from_environment()) as plane:
        kubectl = Kubectl("here", str(plane.kubectl), f"--kubeconfig={plane.admin}")
        kubectl("create", "namespace", "here")
        kubectl("label", "namespace", "here", "pod-security.kubernetes.io/warn=restricted")
        yield kubectl


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_it_is_restricted_and_may_find_pods_of_its_namespace_alone(kubectl: Kubectl) -> None:
    kubectl("apply", "--validate=strict", "--warnings-as-errors", "-f", str(EXAMPLE))
    kubectl("apply", "--warnings-as-errors", "-f", str(EXAMPLE))
    for namespace, answer in (("here", "yes"), ("default", "no")):
        asking = ("auth", "can-i", "watch", "pods", f"--as={ACCOUNT}", f"--namespace={namespace}")
        assert kubectl(*asking, check=False).strip() == answer
