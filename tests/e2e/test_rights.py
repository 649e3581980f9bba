"""The rights of the chart's accounts: each is used, no other is there, and none leads elsewhere.

On a control plane without a node (tools/node): the programs are processes here, the pods pretended.
"""

import asyncio
import contextlib
import itertools
import json
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import needs
import pytest
from e2e import knative, rights
from e2e.kit import Kubectl, Object, eventually, pool, stamp
from e2e.rights import ACCOUNTS, ACTIVATOR, CRDS, HERE, OPERATOR, THERE, UNINSTALL
from lightkube import ApiError, AsyncClient, KubeConfig
from lightkube.types import PatchType

from kotatsu_node.cluster.control_plane import ControlPlane, control_plane, free_ports
from kotatsu_node.layout import Layout
from kotatsu_operator.core.protocol import (
    ACTIVATOR_ANNOTATION,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    RECORD,
    ROUTE_LABEL,
    SERVICE_LABEL,
    SET_ANNOTATION,
    record_part,
    shared_set,
)
from kotatsu_operator.kube.client import EVERYWHERE
from kotatsu_operator.kube.objects import Deployment, EndpointSlice, WarmPool
from simulation.kubelet import Kubelet, serve_metrics
from simulation.run import deployment, service

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

TEAM = "team"
"""A namespace that the release serves beside its own, where it takes no Service."""
EDIT_PAUSE = 0.01
"""Seconds between two edits of one editor: without it the API server may serve nobody else."""


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    layout = Layout.from_environment()
    needs.kubernetes()
    with control_plane(layout, rights.USERS) as plane:
        yield plane


@pytest.fixture(scope="module")
def kubectl(plane: ControlPlane) -> Kubectl:
    return rights.install(plane)


# --- what they may ---


@pytest.mark.parametrize("account", ACCOUNTS)
def test_an_account_may_do_what_the_chart_says_and_nothing_else(
    kubectl: Kubectl, account: str
) -> None:
    rendered = rights.chart()
    for namespace in (HERE, THERE, rights.KNATIVE, "default", "kube-system"):
        anybody = rights.review(kubectl, f"system:serviceaccount:{namespace}:default", namespace)
        allowed = rights.review(kubectl, account, namespace) - anybody
        assert allowed == rights.given(rendered, account, namespace), namespace


QUICK: Object = {"idleAfter": "1s"}
PARKED = pool("parked", parkedFor="24h", **QUICK)
REVISION = "kn-00001"

NOBODY_MAY = [
    ("get", "/secrets"),
    ("list", "/secrets"),
    ("watch", "/secrets"),
    ("create", "/pods"),
    ("delete", "/pods"),
    ("create", "/pods/exec"),
    ("create", "/pods/attach"),
    ("create", "/pods/portforward"),
    ("get", "/pods/log"),
    ("patch", "/pods/ephemeralcontainers"),
    ("create", "apps/deployments"),
    ("update", "apps/deployments"),
    ("patch", "apps/deployments"),
    ("delete", "apps/deployments"),
    ("update", "apps/replicasets/scale"),
    ("patch", "apps/statefulsets"),
    ("create", "batch/jobs"),
    ("create", "/serviceaccounts/token"),
    ("impersonate", "/serviceaccounts"),
    ("impersonate", "/users"),
    ("create", "rbac.authorization.k8s.io/roles"),
    ("escalate", "rbac.authorization.k8s.io/roles"),
    ("bind", "rbac.authorization.k8s.io/roles"),
    ("create", "rbac.authorization.k8s.io/rolebindings"),
    ("create", "/services"),
    ("update", "/services"),
    ("create", "networking.k8s.io/networkpolicies"),
    ("create", "/configmaps"),
    ("list", "/configmaps"),
    ("delete", "/configmaps"),
    ("update", "kotatsu.dev/warmpools"),
    ("create", "kotatsu.dev/warmpoolsets"),
    ("patch", "kotatsu.dev/warmpoolsets"),
    ("delete", "kotatsu.dev/warmpoolsets"),
    ("get", "/nodes"),
    ("get", "/nodes/proxy"),
    ("create", "apiextensions.k8s.io/customresourcedefinitions"),
    ("delete", "apiextensions.k8s.io/customresourcedefinitions"),
]


def test_nobody_may_do_any_of_these_anywhere(kubectl: Kubectl) -> None:
    questions = [(v, w, n) for v, w in NOBODY_MAY for n in (HERE, THERE, "default")]
    for account in ACCOUNTS:
        answers = rights.may(kubectl, account, questions)
        allowed = [q for q, yes in zip(questions, answers, strict=True) if yes]
        assert allowed == [], account


def test_with_sets_the_operator_alone_may_write_warm_pools(kubectl: Kubectl) -> None:
    questions = [(verb, "kotatsu.dev/warmpools", THERE) for verb in ("create", "patch", "delete")]
    for account in ACCOUNTS:
        found = set(rights.may(kubectl, account, questions))
        assert found == {account == OPERATOR}, account


def test_an_activator_of_one_namespace_may_do_nothing_in_another_one(kubectl: Kubectl) -> None:
    own = f"system:serviceaccount:{THERE}:kotatsu-activator"
    questions = [
        ("list", "/pods", HERE),
        ("patch", "apps/deployments/scale", HERE),
        ("create", "discovery.k8s.io/endpointslices", HERE),
        ("patch", "kotatsu.dev/warmpools/status", HERE),
    ]
    assert not any(rights.may(kubectl, own, questions))
    at_home = [(verb, what, THERE) for verb, what, _ in questions]
    assert all(rights.may(kubectl, own, at_home))


# --- what they use ---


class World:
    """What is in the cluster, and what the test does to it."""

    def __init__(
        self, plane: ControlPlane, kubectl: Kubectl, client: AsyncClient, port: int, logs: Path
    ) -> None:
        self.plane, self.kubectl, self.logs = plane, kubectl, logs
        self.knative = knative.Played(kubectl, "kn")
        self.pages: list[str] = []
        self._client: Any = client
        program = (str(plane.kubectl), f"--kubeconfig={plane.admin}")
        self.there, self.team = Kubectl(THERE, *program), Kubectl(TEAM, *program)
        self._port = port

    def app(self, kubectl: Kubectl, name: str, replicas: int = 1) -> None:
        """A Deployment and its Service; the page of its pods is served by the test."""
        made, in_front = deployment(name, self._port), service(name)
        made["spec"]["replicas"] = replicas
        for obj in (made, in_front):
            obj["metadata"]["namespace"] = kubectl.namespace
        kubectl.apply(
            {"apiVersion": "apps/v1", "kind": "Deployment", **made},
            {"apiVersion": "v1", "kind": "Service", **in_front},
        )

    def phase(self, name: str) -> str:
        return str((self.kubectl.get("warmpool", name).get("status") or {}).get("phase"))

    def replicas(self, name: str) -> int:
        return int(self.kubectl.get("deployment", name)["spec"]["replicas"])

    def least(self) -> int:
        """minReplicas of the autoscaler."""
        return int(self.kubectl.get("hpa", "auto")["spec"]["minReplicas"])

    def requested(self, app: str) -> list[str]:
        """The CPU that each pod of an app requests."""
        pods = self.kubectl.items("pods", app=app)
        return [pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] for pod in pods]

    def slices(self, name: str) -> list[Object]:
        """Those of the activator for a Service."""
        labels = {SERVICE_LABEL: name, MANAGED_BY_LABEL: MANAGED_BY}
        return self.kubectl.items("endpointslices", **labels)

    async def merge(self, kind: Any, name: str, patch: Object) -> None:
        """Edit an object, quicker than kubectl."""
        await self._client.patch(kind, name, patch, namespace=HERE, patch_type=PatchType.MERGE)

    def asked(self) -> list[rights.Asked]:
        return rights.asked(self.plane.audit_log)

    def used(self, account: str, right: rights.Right) -> bool:
        return not rights.unused({right}, [a for a in self.asked() if a.account == account])


@pytest.fixture
async def world(plane: ControlPlane, kubectl: Kubectl, tmp_path: Path) -> AsyncIterator[World]:
    """A cluster in which every pod becomes Ready at once."""
    crds = knative.crd_files()
    if isinstance(crds, str):
        needs.missing("Knative's CRDs", crds)
    for file in crds:
        kubectl("apply", "--server-side", "-f", str(file))
    kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", *knative.CRDS)
    server, port = await serve_metrics()
    client = AsyncClient(KubeConfig.from_file(plane.users[rights.KUBELET]))
    kubelet = asyncio.create_task(Kubelet(client, EVERYWHERE, 100, 0.1, activators=True).run())
    yield World(plane, kubectl, client, port, tmp_path)
    kubelet.cancel()
    await asyncio.gather(kubelet, return_exceptions=True)
    await client.close()
    server.close()


def warm(replicas: int) -> Object:
    until = datetime.now(UTC) + timedelta(minutes=30)
    return {"mode": "Warm", "replicas": replicas, "until": stamp(until)}


@contextlib.contextmanager
def an_activator(world: World, address: str) -> Iterator[None]:
    """An activator's pod, and its process."""
    log = world.logs / "activator.log"
    with rights.activator(world.plane, world.kubectl, address, log) as page:
        world.pages.append(page)
        yield


def an_operator(world: World) -> "contextlib.AbstractContextManager[subprocess.Popen[bytes]]":
    port, console = free_ports(2)
    world.pages += [f"http://127.0.0.1:{console}/{path}" for path in ("", "api/pools")]
    world.pages.append(f"http://127.0.0.1:{port}/metrics")
    return rights.process(
        *(world.plane, OPERATOR, "kotatsu-operator"),
        log=world.logs / "operator.log",
        pod_namespace=HERE,
        pod_name="operator-1",
        port=port,
        console_port=console,
        knative_namespace=rights.KNATIVE,
        parked=True,
        sets=True,
    )


async def a_job(world: World, account: str, module: str, *arguments: str, **given: object) -> str:
    """Run a Job's program to its end; returns what it said."""
    log = world.logs / f"{module}.log"
    command = ("python", "-m", f"kotatsu_operator.jobs.{module}", *arguments)
    with rights.process(world.plane, account, *command, log=log, **given) as child:
        assert await asyncio.to_thread(child.wait, 120) == 0, log.read_text()
    return log.read_text()


async def test_each_right_is_used_nothing_else_is_asked_for_and_no_token_is_told(
    world: World,
) -> None:
    address = rights.own_address()
    await _replace_the_crds(world)
    _make_targets(world)
    _try_to_reach_another_namespace(world)
    with an_activator(world, address):
        with an_operator(world):
            await _sleep_and_wake(world, address)
            await _wake_what_is_edited(world, address)
            await _keep_the_floor(world)
            await _sweep_up(world)
            await _lose_a_race(world)
            await _park(world, address)
            await _take_a_service(world)
            await _step_down(world)
            await _follow_a_set(world)
            await _give_the_floor_back(world)
            _see_it_untouched(world)
            await _keep_the_floor(world)
            await _read_their_pages(world)
            await _fall_asleep(world)
            # On a busy machine it is unparked for a while: the Job would have nothing to restore.
            await eventually("parked again", lambda: world.requested("parked") == ["5m"])
        await _uninstall(world)
    _find_no_token(world)
    requests = world.asked()
    refused = [a for a in requests if not a.allowed]
    assert refused == []
    for account in ACCOUNTS:
        own = [a for a in requests if a.account == account]
        rendered = rights.chart()
        everything = set().union(
            *(rights.given(rendered, account, there) for there in (HERE, THERE, rights.KNATIVE))
        )
        assert rights.unused({_twin(right) for right in everything}, own) == set(), account


def _twin(right: rights.Right) -> rights.Right:
    """The right that is used by the same lines, where the log does not show this one.

    What is used on Deployments is on StatefulSets too, and an apply that creates is a patch.
    """
    group, resource, name, verb = right
    is_record = name.startswith(RECORD)
    if is_record:
        name = record_part(HERE)  # of the record's parts, that of these pools
    if verb == "create" and (is_record or resource == "customresourcedefinitions"):
        verb = "patch"
    return (group, resource.replace("statefulsets", "deployments"), name, verb)


async def _replace_the_crds(world: World) -> None:
    """Of a cluster that has none of them; then again."""
    plurals = ("warmpools", "warmpoolhistories", "warmpoolsets")
    names = [f"{plural}.kotatsu.dev" for plural in plurals]
    world.kubectl("delete", "crd", *names, "--ignore-not-found")
    folder = world.logs / "crds"
    folder.mkdir()
    for name, text in rights.chart().one("ConfigMap", "kotatsu-crds", HERE)["data"].items():
        (folder / name).write_text(text)
    assert "created" in await a_job(world, CRDS, "crds", str(folder))
    world.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", *names)
    assert "is in place" in await a_job(world, CRDS, "crds", str(folder))


def _make_targets(world: World) -> None:
    for name in ("web", "auto", "other", "parked"):
        world.app(world.kubectl, name)
    world.team("create", "namespace", TEAM)
    world.app(world.team, "taken")
    world.kubectl.apply(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "auto"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "auto"},
                "minReplicas": 1,
                "maxReplicas": 5,
            },
        }
    )
    world.knative.create()
    world.knative.route(**{world.knative.add_revision(): 100})
    world.kubectl.apply(pool("web", **QUICK), PARKED)
    # What an edit of somebody's tries to reach from here.
    world.app(world.there, "victim", replicas=0)


async def _sleep_and_wake(world: World, address: str) -> None:
    await _fall_asleep(world)
    await _wake(world, address)


async def _fall_asleep(world: World) -> None:
    def is_asleep() -> bool:  # not: has not been seen awake yet
        return world.replicas("web") == 0 and world.phase("web") == "Asleep"

    await eventually("web asleep", is_asleep, within=60)


async def _wake(world: World, address: str) -> None:
    await _ask(world, address, "web")
    assert world.replicas("web") == 1


async def _ask(world: World, address: str, pool: str) -> None:
    """Send a request through the activator."""
    [mine] = await eventually("its slice", lambda: world.slices(pool))
    port = mine["ports"][0]["port"]
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        answer = await http.get(f"http://{address}:{port}/")
    assert answer.status_code == 200


@contextlib.asynccontextmanager
async def _edited_all_the_time(world: World, kind: Any, name: str) -> AsyncIterator[None]:
    """Others edit an object again and again, so that its version is hardly the one last seen."""

    async def edit(by: int) -> None:
        for number in itertools.count():
            patch = {"metadata": {"annotations": {f"example.com/edited-by-{by}": str(number)}}}
            with contextlib.suppress(ApiError):  # it has lost a race itself
                await world.merge(kind, name, patch)
            await asyncio.sleep(EDIT_PAUSE)

    editing = [asyncio.create_task(edit(by)) for by in range(2)]
    try:
        yield
    finally:
        for task in editing:
            task.cancel()
        await asyncio.gather(*editing, return_exceptions=True)


async def _wake_what_is_edited(world: World, address: str) -> None:
    """Its scale is not at the version that the watch has shown: it is read again."""
    right = ("apps", "deployments/scale", "", "get")
    for _ in range(20):
        await _fall_asleep(world)
        async with _edited_all_the_time(world, Deployment, "web"):
            await _wake(world, address)
        if world.used(ACTIVATOR, right):
            return
    raise AssertionError("its version was always the one last seen")


async def _keep_the_floor(world: World) -> None:
    """Of an autoscaler and of a Knative Service."""
    target = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "kn"}
    world.kubectl.apply(
        pool("auto", override=warm(2), **QUICK), pool("kn", targetRef=target, override=warm(2))
    )
    await eventually("minReplicas follow the floor", lambda: world.least() == 2)
    await eventually(
        "min-scale follows the floor", lambda: world.knative.min_scale(REVISION) == "2"
    )


async def _sweep_up(world: World) -> None:
    """A slice whose activator is gone, which the garbage collector is kept from."""
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "activator-0", "uid": "gone"}
    slice_ = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "orphan",
            "labels": {SERVICE_LABEL: "other", MANAGED_BY_LABEL: MANAGED_BY},
            "annotations": {
                ACTIVATOR_ANNOTATION: f"{HERE}/activator-0/gone",
                SET_ANNOTATION: shared_set(HERE, 0),
            },
            "ownerReferences": [owner],
            "finalizers": ["example.com/wait"],
        },
        "addressType": "IPv4",
        "endpoints": [],
        "ports": [],
    }
    world.kubectl.apply(slice_)
    right = ("discovery.k8s.io", "endpointslices", "orphan", "delete")
    for account in (OPERATOR, ACTIVATOR):
        await eventually(f"{account} removes it", lambda a=account: world.used(a, right), within=40)
    world.kubectl.patch("endpointslice", "orphan", {"metadata": {"finalizers": None}})


async def _lose_a_race(world: World) -> None:
    """Somebody edits its slice all the time, while it has to write it: it reads it again."""
    right = ("discovery.k8s.io", "endpointslices", "", "get")
    [mine] = world.slices("web")

    async with _edited_all_the_time(world, EndpointSlice, mine["metadata"]["name"]):
        for number in range(40):
            # A new epoch has to be told in the slice.
            epoch = {"target": "Activator", "epoch": 1_000_000 + number}
            await world.merge(WarmPool.Status, "web", {"status": {"route": epoch}})
            await asyncio.sleep(0.3)
            if world.used(ACTIVATOR, right):
                return
    raise AssertionError("it never lost the race")


async def _park(world: World, address: str) -> None:
    """Twice, since a pool that is deleted meanwhile gets its requests back in another way."""
    await eventually("its pod requests less", lambda: world.requested("parked") == ["5m"])
    await _ask(world, address, "parked")  # announced, as no request to a sleeping pool is
    await eventually("it is used", lambda: world.requested("parked") == ["100m"])
    await eventually("its pod requests less", lambda: world.requested("parked") == ["5m"])
    world.kubectl("delete", "warmpool", "parked")
    await eventually("requests are given back", lambda: world.requested("parked") == ["100m"])
    world.kubectl.apply(PARKED)
    await eventually("its pod requests less again", lambda: world.requested("parked") == ["5m"])


async def _take_a_service(world: World) -> None:
    """Twice, since the selector of a pool that is there at the end is given back by the Job."""

    def is_taken() -> bool:
        return ROUTE_LABEL in world.team.get("service", "taken")["spec"]["selector"]

    world.team.apply(pool("taken", route="Activator"))
    await eventually("its selector is taken", is_taken, within=30)
    world.team("delete", "warmpool", "taken")
    await eventually("its selector is given back", lambda: not is_taken())
    world.team.apply(pool("taken", route="Activator"))
    await eventually("its selector is taken again", is_taken, within=30)


async def _step_down(world: World) -> None:
    """The activators count the connections of this pool: the pod that goes is marked."""

    def pods() -> int:
        return len(world.team.items("pods", app="taken"))

    world.team.patch("warmpool", "taken", {"spec": {"override": warm(2)}})
    await eventually("two pods", lambda: pods() == 2)
    world.team.patch("warmpool", "taken", {"spec": {"override": None}})
    await eventually("one pod", lambda: pods() == 1)


async def _follow_a_set(world: World) -> None:
    """It makes a pool, changes it, and deletes it."""

    def idle_after() -> object:
        pools = {pool["metadata"]["name"]: pool for pool in world.kubectl.items("warmpools")}
        return pools["many"]["spec"]["idleAfter"] if "many" in pools else None

    world.app(world.kubectl, "many")
    made = {
        "apiVersion": "kotatsu.dev/v1beta1",
        "kind": "WarmPoolSet",
        "metadata": {"name": "previews"},
        "spec": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": HERE}},
            "selector": {"matchLabels": {"set": "many"}},
            "template": {"spec": {"idleAfter": "1s"}},
        },
    }
    chosen: Object = {"metadata": {"labels": {"set": "many"}}}
    world.kubectl.patch("deployment", "many", chosen)
    for seconds in ("1s", "2s"):
        made["spec"]["template"]["spec"]["idleAfter"] = seconds
        world.kubectl.apply(made)
        await eventually(f"idle after {seconds}", lambda s=seconds: idle_after() == s)
    await eventually(
        "its status", lambda: world.kubectl.get("warmpoolset", "previews").get("status")
    )
    world.kubectl.patch("deployment", "many", {"metadata": {"labels": {"set": None}}})
    await eventually("it has no pool", lambda: idle_after() is None)
    world.kubectl("delete", "warmpoolset", "previews")


async def _give_the_floor_back(world: World) -> None:
    world.kubectl("delete", "warmpool", "auto", "kn")
    await eventually("minReplicas are given back", lambda: world.least() == 1)
    await eventually("min-scale is given back", lambda: world.knative.min_scale(REVISION) is None)


FOREIGN = f"../../{THERE}/deployments/victim"


def _try_to_reach_another_namespace(world: World) -> None:
    """By a spec, and by the record as anybody who may edit ConfigMaps can."""
    bad = json.dumps(pool("bad", targetRef={"name": FOREIGN}))
    assert "spec.targetRef.name" in world.kubectl("apply", "-f", "-", stdin=bad, check=False)
    target = {"kind": "Deployment", "name": FOREIGN}
    entry = {"namespace": THERE, "pool": "x", "target": target, "foundReplicas": 7}
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": record_part(THERE)}}
    world.kubectl.apply(made | {"data": {"edited": json.dumps(entry)}})


def _see_it_untouched(world: World) -> None:
    assert not world.kubectl.get("configmap", record_part(THERE)).get("data")
    assert world.there.get("deployment", "victim")["spec"]["replicas"] == 0
    assert [a for a in world.asked() if a.namespace == THERE and "/scale" in a.right[1]] == []


async def _read_their_pages(world: World) -> None:
    """The metrics of both, and the console."""
    async with httpx.AsyncClient(trust_env=False) as http:
        for url in world.pages:
            answer = await http.get(url)
            assert answer.status_code == 200, url
            (world.logs / f"page-{uuid.uuid4().hex}.log").write_text(answer.text)


def _find_no_token(world: World) -> None:
    """In any of their logs, which are at level debug, and pages."""
    said = {log.name: log.read_text() for log in world.logs.glob("*.log")}
    assert len(said) >= 8
    assert any("debug" in text for text in said.values())
    for account in ACCOUNTS:
        config = json.loads(world.plane.users[account].read_text())
        token = config["users"][0]["user"]["token"]
        assert [name for name, text in said.items() if token in text] == [], account


async def _uninstall(world: World) -> None:
    """With one pool asleep, one parked, one deleted while no operator ran, and Knative's."""
    world.kubectl("delete", "warmpool", "auto")
    endpoint = {"addresses": ["10.9.9.9"], "conditions": {"ready": True}}
    native = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "addressType": "IPv4",
        "endpoints": [endpoint],
        "ports": [{"name": "http", "port": 8080}],
    }
    # As Kubernetes' own controller would, once the pod is there.
    for kubectl, name in (
        (world.kubectl, "web"),
        (world.kubectl, "parked"),
        (world.team, "taken"),
    ):
        labels = {SERVICE_LABEL: name}
        kubectl.apply(native | {"metadata": {"name": f"{name}-native", "labels": labels}})
    world.kubectl.apply(rights.chart().one("Pod", "kotatsu-test"))
    text = await a_job(world, UNINSTALL, "uninstall", pod_namespace=HERE, timeout="60s")
    assert "done" in text
    assert not world.kubectl.items("pods", **{"app.kubernetes.io/component": "test"})
    assert world.replicas("web") == 1
    assert world.requested("parked") == ["100m"]
    assert world.least() == 1
    assert world.knative.min_scale(REVISION) is None
