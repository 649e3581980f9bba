"""The charts against a real API server."""

import json
from collections.abc import Callable, Iterator

import pytest
import yaml
from chart.kit import CHARTS, helm, kind_of, load_yaml, render, template
from chart.test_pods import ALL, Case, name_of
from e2e import rights
from e2e.conftest import install_platform
from e2e.kit import Kubectl

pytestmark = pytest.mark.e2e

# Kinds of APIs that a plain cluster does not have.
FOREIGN = {
    "CiliumNetworkPolicy", "HTTPRoute", "KnativeService", "PodMonitor", "PrometheusRule",
    "ServiceMonitor",
}  # fmt: skip


@pytest.fixture(scope="module")
def kubectl(make_namespace: Callable[[str], Kubectl]) -> Kubectl:
    """A namespace that refuses pods which are not restricted, on a cluster with the CRD."""
    kubectl = make_namespace("chart")
    # Deployments and Jobs are judged too, not only the pods they make.
    warn = "pod-security.kubernetes.io/warn=restricted"
    kubectl("label", "namespace", kubectl.namespace, warn)
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CHARTS / "kotatsu" / "crds"))
    return kubectl


@pytest.fixture
def platform(kubectl: Kubectl) -> Iterator[Kubectl]:
    """The platform, installed without waiting for its pods."""
    done = helm("install", "first", str(CHARTS / "kotatsu"), "-n", kubectl.namespace)
    assert done.returncode == 0, done.stderr
    yield kubectl
    # Without the Job that gives sleeping targets back: its image need not be on this cluster.
    helm("uninstall", "first", "-n", kubectl.namespace, "--wait", "--no-hooks")


@pytest.mark.parametrize("case", ALL, ids=name_of)
def test_the_api_server_takes_every_object_and_calls_every_pod_restricted(
    kubectl: Kubectl, case: Case
) -> None:
    chart, values, settings = case
    done = template(chart, values, f"--namespace={kubectl.namespace}", f"--set={settings}")
    objects = [obj for obj in load_yaml(done.stdout) if kind_of(obj) not in FOREIGN]
    for obj in objects:  # the scenario's other namespaces are not there
        if "namespace" in obj["metadata"]:
            obj["metadata"]["namespace"] = kubectl.namespace
        if obj["kind"] == "Pod":  # its ServiceAccount is not there in a dry run
            obj["spec"].pop("serviceAccountName", None)
    unique = {(obj["kind"], obj["metadata"]["name"]): obj for obj in objects}

    said = kubectl(
        *("apply", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "-f", "-"),
        stdin=yaml.safe_dump_all(list(unique.values())),
    )

    assert said.count("created (server dry run)") == len(unique)


def test_the_api_server_would_say_so_if_one_was_not(kubectl: Kubectl) -> None:
    [obj] = [o for o in render("kotatsu").of("Job") if o["metadata"]["name"] == "kotatsu-crds"]
    loose = json.loads(json.dumps(obj))
    loose["metadata"]["namespace"] = kubectl.namespace
    del loose["spec"]["template"]["spec"]["securityContext"]["seccompProfile"]

    said = kubectl(
        *("apply", "--dry-run=server", "--warnings-as-errors", "-f", "-"),
        stdin=yaml.safe_dump(loose),
        check=False,
    )

    assert 'would violate PodSecurity "restricted' in said


def test_a_second_platform_in_the_same_namespace_is_refused(platform: Kubectl) -> None:
    done = helm("install", "second", str(CHARTS / "kotatsu"), "-n", platform.namespace)

    assert done.returncode != 0
    assert "kept by another Kotatsu already: release first" in done.stderr
    assert "helm upgrade first" in done.stderr


def test_a_platform_elsewhere_may_not_take_the_same_namespace(
    platform: Kubectl, make_namespace: Callable[[str], Kubectl]
) -> None:
    other = make_namespace("elsewhere")

    done = helm(
        *("install", "second", str(CHARTS / "kotatsu"), "-n", other.namespace),
        *("--set", f"namespaces={{{other.namespace},{platform.namespace}}}"),
    )

    assert done.returncode != 0
    assert f"Namespace {platform.namespace} is kept by another Kotatsu" in done.stderr
    assert other.items("deployments") == []


def test_the_same_release_may_be_installed_again(platform: Kubectl) -> None:
    chart = str(CHARTS / "kotatsu")

    done = helm("upgrade", "first", chart, "-n", platform.namespace, "--set=crds.upgrade=false")

    assert done.returncode == 0, done.stderr


def test_helm_test_finds_what_works_and_uninstalling_leaves_the_crd_and_nothing_else(
    kubectl: Kubectl,
) -> None:
    install_platform(kubectl)
    done = helm("test", "kotatsu", "-n", kubectl.namespace, "--logs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok: an operator leads" in done.stdout

    done = helm("uninstall", "kotatsu", "-n", kubectl.namespace, "--wait")
    assert done.returncode == 0, done.stderr

    kinds = (
        "deployments,services,roles,rolebindings,networkpolicies,poddisruptionbudgets,jobs,leases"
    )
    assert json.loads(kubectl("get", kinds, "-o", "json"))["items"] == []
    assert "warmpools.kotatsu.dev" in kubectl("get", "crd", "-o", "name")
    for kind in rights.POLICIES:
        assert f"-{kubectl.namespace}\n" not in kubectl("get", kind, "-o", "name")
