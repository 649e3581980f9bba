"""The charts against a real API server."""

import asyncio
import json
import shutil
from pathlib import Path
from subprocess import CompletedProcess

import httpx
import pytest
from apiserver.conftest import MakeNamespace, are_ready, start_app
from apiserver.kit import SINGLETON, Namespace, eventually, in_namespace
from chart import kit
from chart.kit import CHARTS, NAMESPACE, kind_of, render
from chart.test_pods import ALL, Case, name_of
from docs.test_own_chart import write_chart
from e2e import rights
from e2e.kit import App, pool, workload

from kotatsu_operator.core.protocol import ROUTE_LABEL, ROUTE_TAKEN, record_part

pytestmark = pytest.mark.apiserver

CHART = str(CHARTS / "kotatsu")
LABELED = "--set=serveUnlabeled=false"
"""Any number of such installs are in a cluster, and of others one: a single test has that."""

# Kinds of APIs that a plain cluster does not have.
FOREIGN = {
    "CiliumNetworkPolicy", "HTTPRoute", "KnativeService", "PodMonitor", "PrometheusRule",
    "ServiceMonitor",
}  # fmt: skip


@pytest.fixture(scope="module")
def kubectl(make_namespace: MakeNamespace) -> Namespace:
    """A namespace that refuses pods which are not restricted."""
    return restricted(make_namespace("chart", has_node=False))


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


def installed(kubectl: Namespace, *arguments: str) -> None:
    """Install the platform, without waiting for its pods."""
    done = helm(kubectl, "install", "first", CHART, *arguments)
    assert done.returncode == 0, done.stderr


def refuses(kubectl: Namespace, owned: str, *arguments: str) -> None:
    """Install a second platform, which Helm has to refuse: this object is the first one's."""
    before = kubectl.items("deployments")
    done = helm(kubectl, "install", "second", CHART, *arguments)
    assert done.returncode != 0
    assert f'"{owned}"' in done.stderr
    assert "exists and cannot be imported into the current release" in done.stderr
    assert kubectl.items("deployments") == before


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


def test_a_second_platform_in_the_same_namespace_is_refused(make_namespace: MakeNamespace) -> None:
    kubectl = make_namespace("twice", has_node=False)
    installed(kubectl, LABELED)

    refuses(kubectl, "kotatsu-operator", LABELED)


def test_helm_refuses_a_second_install_for_unlabeled_namespaces_and_takes_one_beside_it(
    make_namespace: MakeNamespace, tmp_path: Path
) -> None:
    """The chart of the page has a pool and its term while the first one is there."""
    first, second, app = [make_namespace(n, has_node=False) for n in ("first", "second", "app")]
    chart = str(write_chart(tmp_path))

    def deployed() -> tuple[dict[str, str], int, int]:
        """The selector of the app's Service, its replicas, and how many pools it has."""
        done = helm(app, "upgrade", "--install", "shop", chart)
        assert done.returncode == 0, done.stderr
        selector = app.get("service", "shop")["spec"]["selector"]
        replicas = app.get("deployment", "shop")["spec"]["replicas"]
        return selector, replicas, len(app.items("warmpools"))

    installed(first)
    try:
        refuses(second, SINGLETON)
        installed(second, LABELED)
        assert deployed() == ({"app": "shop", ROUTE_LABEL: ROUTE_TAKEN}, 1, 1)
    finally:
        helm(first, "uninstall", "first", "--wait", "--no-hooks")
    assert deployed() == ({"app": "shop"}, 2, 0)


def test_an_upgrade_to_two_operators_and_back_keeps_the_record_of_what_sleeps(
    make_namespace: MakeNamespace, tmp_path: Path
) -> None:
    """Also the record that a former chart has made: it was in the release, and is no more."""
    kubectl, former = make_namespace("upgraded", has_node=False), tmp_path / "kotatsu"
    part, record = record_part(kubectl.namespace), {"web": "what an operator has written"}
    shutil.copytree(CHART, former)
    annotations = {"helm.sh/resource-policy": "keep"}
    metadata = {"name": part, "namespace": kubectl.namespace, "annotations": annotations}
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    (former / "templates/record.yaml").write_text(json.dumps(made))
    done = helm(kubectl, "install", "first", str(former), LABELED)
    assert done.returncode == 0, done.stderr
    kubectl.patch("configmap", part, {"data": record})
    for replicas, expected in ((2, "RollingUpdate"), (1, "Recreate")):
        sets = (f"--set=operator.replicas={replicas}", "--set=crds.upgrade=false", LABELED)
        done = helm(kubectl, "upgrade", "first", CHART, *sets)
        assert done.returncode == 0, done.stderr
        [operator] = kubectl.items("deployments", **{"app.kubernetes.io/component": "operator"})
        assert operator["spec"]["strategy"]["type"] == expected
        assert kubectl.get("configmap", part)["data"] == record
    done = helm(kubectl, "uninstall", "first", "--no-hooks")
    assert "kept" not in done.stdout + done.stderr
    assert kubectl.get("configmap", part)["data"] == record


async def test_an_install_needs_no_more_than_it_has_and_leaves_the_crd_and_nothing_else(
    make_namespace: MakeNamespace, http: httpx.AsyncClient
) -> None:
    """With its permissions, under its policies: pools sleep and wake, and get back their pod.

    Shared activators serve one namespace, and another has its own.
    """
    home = restricted(make_namespace("installed"))
    team, apart = make_namespace("team", home=home), make_namespace("apart", home=home)
    own = f"activator.own.{apart.namespace}.replicas=1"
    small = f"--set=activator.replicas=1,routeSettle=1s,knative.enabled=false,{own}"
    done = await asyncio.to_thread(helm, home, "install", "kotatsu", CHART, LABELED, small)
    assert done.returncode == 0, done.stderr
    await eventually("it runs", lambda: are_ready(home) and are_ready(apart))
    apps = [await start_app(kubectl, "web", idleAfter="1s") for kubectl in (team, apart)]
    for app in apps:
        await app.asleep()
        await app.send(http)
        await app.asleep()
    sets = [app.inner()["activators"] for app in apps]
    assert sets == [f"{home.namespace}/0", f"{home.namespace}/own/{apart.namespace}"]
    parts = [obj.get("data") or {} for obj in home.items("configmaps")]
    texts = [text for part in parts for text in part.values() if '"target"' in text]
    entries = {(entry["namespace"], entry["pool"]) for entry in map(json.loads, texts)}
    assert entries == {(team.namespace, "web"), (apart.namespace, "web")}
    done = await asyncio.to_thread(helm, home, "test", "kotatsu")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Phase:          Succeeded" in done.stdout

    done = await asyncio.to_thread(helm, home, "uninstall", "kotatsu", "--wait")

    assert done.returncode == 0, done.stderr
    assert "kept" not in done.stdout + done.stderr
    assert [app.replicas() for app in apps] == [1, 1]
    kinds = "roles,rolebindings,networkpolicies,poddisruptionbudgets,serviceaccounts"
    more = ",configmaps,deployments,services,jobs,leases"
    assert json.loads(home("get", kinds + more, "-o", "json"))["items"] == []
    await eventually("no pod is left", lambda: home.items("pods") == [])
    assert json.loads(apart("get", kinds, "-o", "json"))["items"] == []
    assert [obj["metadata"]["name"] for obj in apart.items("deployments")] == ["web"]
    assert "warmpools.kotatsu.dev" in home("get", "crd", "-o", "name")
    for kind in (*rights.POLICIES, "ClusterRole", "ClusterRoleBinding", "FlowSchema"):
        assert f"-{home.namespace}\n" not in home("get", kind, "-o", "name")


async def test_an_uninstall_that_a_manifest_refuses_changes_nothing_and_can_be_told_to_go_on(
    make_namespace: MakeNamespace, http: httpx.AsyncClient
) -> None:
    home = make_namespace("kept")
    settings = "activator.replicas=1,routeSettle=1s,knative.enabled=false,crds.upgrade=false"

    async def done(verb: str, *arguments: str) -> CompletedProcess[str]:
        return await asyncio.to_thread(helm, home, verb, "kotatsu", *arguments)

    assert (await done("install", CHART, LABELED, f"--set={settings}")).returncode == 0
    await eventually("it runs", lambda: are_ready(home))
    deployment, service = workload("web")
    service["spec"]["selector"] = service["spec"]["selector"] | {ROUTE_LABEL: ROUTE_TAKEN}
    home("apply", "-f", "-", stdin=json.dumps(service))
    home.apply(deployment, pool("web", route="Activator", idleAfter="1s"))
    app = App("web", home, address=f"web.{home.namespace}")
    await app.asleep()

    assert (await done("uninstall")).returncode != 0
    assert app.replicas() == 0
    await app.send(http)

    # Helm takes no upgrade of a release whose uninstall has failed.
    assert (await done("rollback", "1")).returncode == 0
    settings += ",uninstall.overrideManifests=true"
    assert (await done("upgrade", CHART, LABELED, f"--set={settings}")).returncode == 0
    assert (await done("uninstall")).returncode == 0
    assert app.ready_pods()
    assert home.get("service", "web")["spec"]["selector"] == {"app": "web"}
