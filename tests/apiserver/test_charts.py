"""The charts against a real API server."""

import asyncio
import json
from collections.abc import Iterator
from subprocess import CompletedProcess

import httpx
import pytest
from apiserver.asked import warm_pool
from apiserver.conftest import MakeNamespace, are_ready, start_app
from apiserver.kit import Namespace, eventually, in_namespace
from chart import kit
from chart.kit import CHARTS, NAMESPACE, kind_of, render
from chart.test_pods import ALL, Case, name_of
from e2e import rights

from kotatsu_operator.core.protocol import MANAGED_BY, MANAGED_BY_LABEL, RECORD, SERVICE_LABEL

pytestmark = pytest.mark.apiserver

CHART = str(CHARTS / "kotatsu")

# Kinds of APIs that a plain cluster does not have.
FOREIGN = {
    "CiliumNetworkPolicy", "HTTPRoute", "KnativeService", "PodMonitor", "PrometheusRule",
    "ServiceMonitor",
}  # fmt: skip


@pytest.fixture(scope="module")
def kubectl(make_namespace: MakeNamespace) -> Namespace:
    """A namespace that refuses pods which are not restricted."""
    return restricted(make_namespace("chart", has_node=False))


def own(*namespaces: Namespace) -> str:
    """The setting for namespaces that have activators of their own."""
    return f"--set=namespaces={{{','.join(kubectl.namespace for kubectl in namespaces)}}}"


def restricted(kubectl: Namespace) -> Namespace:
    """The namespace, which refuses pods that are not restricted from now on."""
    # Deployments and Jobs are judged too, not only the pods they make.
    labels = {f"pod-security.kubernetes.io/{what}": "restricted" for what in ("enforce", "warn")}
    kubectl.patch("namespace", kubectl.namespace, {"metadata": {"labels": labels}})
    return kubectl


def helm(kubectl: Namespace, verb: str, *arguments: str) -> CompletedProcess[str]:
    """Run helm in a namespace; its failure is for the caller to judge."""
    where = (f"--kubeconfig={kubectl.plane.kubeconfig}", f"--namespace={kubectl.namespace}")
    return kit.helm(verb, *arguments, *where)


@pytest.fixture
def platform(kubectl: Namespace) -> Iterator[Namespace]:
    """The platform of a namespace, installed without waiting for its pods."""
    done = helm(kubectl, "install", "first", CHART, own(kubectl))
    assert done.returncode == 0, done.stderr
    yield kubectl
    helm(kubectl, "uninstall", "first", "--wait", "--no-hooks")
    kubectl.delete("configmap", RECORD)  # kept, since nothing was restored


@pytest.mark.parametrize("case", ALL, ids=name_of)
def test_the_api_server_takes_every_object_and_calls_every_pod_restricted(
    kubectl: Namespace, case: Case
) -> None:
    chart, values, settings = case
    rendered = render(chart, values, *([f"--set={settings}"] if settings else []))
    for obj in rendered.objects:
        if kind_of(obj) in FOREIGN:
            continue
        mine = in_namespace(obj, NAMESPACE, kubectl.namespace)
        if "namespace" in mine["metadata"]:  # the scenario's other namespaces are not there
            mine["metadata"]["namespace"] = kubectl.namespace
        if mine["kind"] == "Pod":  # its ServiceAccount is not there in a dry run
            mine["spec"].pop("serviceAccountName", None)
        assert kubectl.judged(mine) == [], f"{kind_of(mine)} {mine['metadata']['name']}"


def test_the_api_server_would_say_so_if_one_was_not(kubectl: Namespace) -> None:
    [obj] = [o for o in render("kotatsu").of("Job") if o["metadata"]["name"] == "kotatsu-crds"]
    loose = json.loads(json.dumps(obj))
    loose["metadata"]["namespace"] = kubectl.namespace
    del loose["spec"]["template"]["spec"]["securityContext"]["seccompProfile"]

    [said] = kubectl.judged(loose)

    assert 'would violate PodSecurity \\"restricted' in said


def test_a_second_platform_in_the_same_namespace_is_refused(platform: Namespace) -> None:
    done = helm(platform, "install", "second", CHART, own(platform))

    assert done.returncode != 0
    assert "kept by another Kotatsu already: release first" in done.stderr
    assert "helm upgrade first" in done.stderr


def test_a_platform_elsewhere_may_not_take_the_same_namespace(
    platform: Namespace, make_namespace: MakeNamespace
) -> None:
    other = make_namespace("elsewhere")

    done = helm(other, "install", "second", CHART, own(other, platform))

    assert done.returncode != 0
    assert f"Namespace {platform.namespace} is kept by another Kotatsu" in done.stderr
    assert other.items("deployments") == []


def test_the_same_release_may_be_installed_again(platform: Namespace) -> None:
    done = helm(platform, "upgrade", "first", CHART, "--set=crds.upgrade=false")

    assert done.returncode == 0, done.stderr


def strategy(kubectl: Namespace) -> str:
    """How the operator's Deployment replaces its pods."""
    [operator] = kubectl.items("deployments", **{"app.kubernetes.io/component": "operator"})
    return str(operator["spec"]["strategy"]["type"])


def upgrade(kubectl: Namespace, replicas: int) -> None:
    """Upgrade the platform to so many operators."""
    sets = (f"--set=operator.replicas={replicas}", "--set=crds.upgrade=false")
    done = helm(kubectl, "upgrade", "first", CHART, *sets)
    assert done.returncode == 0, done.stderr


def test_an_upgrade_to_two_operators_and_back_keeps_the_record_of_what_sleeps(
    platform: Namespace,
) -> None:
    record = {"web": "what an operator has written"}
    platform.patch("configmap", RECORD, {"data": record})
    for replicas, expected in ((2, "RollingUpdate"), (1, "Recreate")):
        upgrade(platform, replicas)
        assert strategy(platform) == expected
        assert platform.get("configmap", RECORD)["data"] == record


def test_an_operator_that_elects_no_leader_ends_before_two_that_do_begin(
    platform: Namespace,
) -> None:
    [older] = platform.items("deployments", **{"app.kubernetes.io/component": "operator"})
    [container] = older["spec"]["template"]["spec"]["containers"]
    number = [entry["name"] for entry in container["env"]].index("KOTATSU_POD_NAMESPACE")
    path = f"/spec/template/spec/containers/0/env/{number}"
    patch = json.dumps([{"op": "remove", "path": path}])
    platform("patch", "deployment", older["metadata"]["name"], "--type=json", "-p", patch)
    for expected in ("Recreate", "RollingUpdate"):  # the first knows no Lease, the second does
        upgrade(platform, 2)
        assert strategy(platform) == expected


async def test_helm_test_finds_what_works_and_uninstalling_leaves_the_crd_and_nothing_else(
    make_namespace: MakeNamespace,
) -> None:
    kubectl = restricted(make_namespace("installed"))
    done = helm(kubectl, "install", "kotatsu", CHART, own(kubectl), "--set=activator.replicas=1")
    assert done.returncode == 0, done.stderr
    await eventually("it runs", lambda: are_ready(kubectl))
    done = helm(kubectl, "test", "kotatsu")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Phase:          Succeeded" in done.stdout

    done = helm(kubectl, "uninstall", "kotatsu", "--wait")
    assert done.returncode == 0, done.stderr

    kinds = (
        "deployments,services,roles,rolebindings,networkpolicies,poddisruptionbudgets,jobs,leases"
    )
    assert json.loads(kubectl("get", kinds, "-o", "json"))["items"] == []
    assert "warmpools.kotatsu.dev" in kubectl("get", "crd", "-o", "name")
    for kind in rights.POLICIES:
        assert f"-{kubectl.namespace}\n" not in kubectl("get", kind, "-o", "name")


# --- one install for many namespaces ---


def selecting(kubectl: Namespace) -> str:
    """The setting for a selector that no other test has."""
    return f"--set=namespaceSelector.matchLabels.team={kubectl.namespace}"


def succeed(kubectl: Namespace, verb: str, *arguments: str) -> str:
    """Run helm; what it printed."""
    done = helm(kubectl, verb, "kotatsu", CHART, "--set=crds.upgrade=false", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def found(kubectl: Namespace, kind: str) -> set[str]:
    """Names of what is there of the platform's activators."""
    items = kubectl.items(kind, **{"app.kubernetes.io/component": "activator"})
    return {obj["metadata"]["name"] for obj in items}


def test_of_two_installs_for_the_same_namespaces_the_second_is_refused_and_told_who_serves_them(
    make_namespace: MakeNamespace,
) -> None:
    first, second = [make_namespace(name, has_node=False) for name in ("first", "second")]
    succeed(first, "install", selecting(first))

    done = helm(second, "install", "other", CHART, selecting(first))

    assert done.returncode != 0
    assert "are served by another Kotatsu already" in done.stderr
    assert f"release kotatsu in namespace {first.namespace}" in done.stderr
    assert second.items("deployments") == []
    succeed(second, "install", own(second))  # beside it


def test_a_release_for_its_own_namespace_stays_one_until_it_is_asked(
    make_namespace: MakeNamespace,
) -> None:
    kubectl = make_namespace("former", has_node=False)
    succeed(kubectl, "install", own(kubectl))  # as `namespaces: []` was in former charts

    said = succeed(kubectl, "upgrade")

    assert found(kubectl, "deployments") == {"kotatsu-activator"}
    assert """--set-json 'namespaceSelector={"matchLabels":{}}'""" in said
    assert "Run `helm upgrade` once more" in succeed(kubectl, "upgrade", selecting(kubectl))
    assert "kotatsu-activator-0" in found(kubectl, "deployments")


def test_a_change_of_mode_keeps_the_former_activators_until_they_serve_nothing(
    make_namespace: MakeNamespace,
) -> None:
    home, team = [make_namespace(name, has_node=False) for name in ("home", "team")]
    succeed(home, "install", own(team))
    team.apply(ready_slice(team.namespace))
    for _ in range(2):  # also while a slice of theirs is Ready
        succeed(home, "upgrade", selecting(team))
        assert found(home, "deployments") == {"kotatsu-activator-0"}
        for kind in ("deployments", "roles", "rolebindings", "networkpolicies"):
            assert found(team, kind) == {"kotatsu-activator"}, kind

    team.delete("endpointslice", "old")
    succeed(home, "upgrade", selecting(team))
    for kind in ("deployments", "roles", "rolebindings", "networkpolicies"):
        assert found(team, kind) == set(), kind

    status = {"status": {"internal": {"activators": f"{home.namespace}/0"}}}
    team.apply(warm_pool("web") | {"metadata": {"name": "web", "namespace": team.namespace}})
    team(
        "patch", "warmpool", "web", "--subresource=status", "--type=merge", "-p", json.dumps(status)
    )
    refused = helm(home, "upgrade", "kotatsu", CHART, own(home))
    assert f"This release serves pools in {team.namespace}, which are not in" in refused.stderr

    succeed(home, "upgrade", own(team))
    assert found(home, "deployments") == {"kotatsu-activator-0"}
    assert found(team, "deployments") == {"kotatsu-activator"}
    role = f"clusterrole/kotatsu-activator-{home.namespace}"
    assert role in home("get", role, "-o", "name").replace(".rbac.authorization.k8s.io", "")
    succeed(home, "upgrade", own(team))
    assert found(home, "deployments") == set()
    assert found(team, "deployments") == {"kotatsu-activator"}


def ready_slice(namespace: str) -> kit.Object:
    """A slice of an activator of the namespace's own."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "old",
            "namespace": namespace,
            "labels": {MANAGED_BY_LABEL: MANAGED_BY, SERVICE_LABEL: "web"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}],
        "ports": [],
    }


async def test_an_install_for_the_cluster_needs_no_more_than_it_has_and_leaves_nothing(
    make_namespace: MakeNamespace, http: httpx.AsyncClient
) -> None:
    """With its permissions, under its policies: a pool sleeps and wakes, and gets back its pod."""
    home, team = make_namespace("cluster"), make_namespace("team")
    labels = {"metadata": {"labels": {"team": team.namespace}}}
    team.patch("namespace", team.namespace, labels)
    small = "--set=activator.replicas=1,routeSettle=1,knative.enabled=false"
    done = await asyncio.to_thread(helm, home, "install", "kotatsu", CHART, selecting(team), small)
    assert done.returncode == 0, done.stderr
    await eventually("it runs", lambda: are_ready(home))
    app = await start_app(team, "web", idleAfter="1s")
    await app.asleep()
    await app.send(http)
    await app.asleep()
    parts = [obj.get("data") or {} for obj in home.items("configmaps")]
    [entry] = [json.loads(text) for part in parts for text in part.values() if "onDelete" in text]
    assert (entry["namespace"], entry["pool"]) == (team.namespace, "web")
    done = await asyncio.to_thread(helm, home, "test", "kotatsu")
    assert done.returncode == 0, done.stdout + done.stderr

    done = await asyncio.to_thread(helm, home, "uninstall", "kotatsu", "--wait")

    assert done.returncode == 0, done.stderr
    assert app.replicas() == 1
    kinds = "configmaps,deployments,services,roles,rolebindings,networkpolicies,jobs,leases"
    assert json.loads(home("get", kinds, "-o", "json"))["items"] == []
    for kind in (*rights.POLICIES, "ClusterRole", "ClusterRoleBinding", "FlowSchema"):
        assert f"-{home.namespace}\n" not in home("get", kind, "-o", "name")
