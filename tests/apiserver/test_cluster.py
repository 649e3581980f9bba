"""One install for the whole cluster: its operator, and what it leaves alone.

Its selector names a label of the test's own: the API server has the namespaces of other tests too.
"""

import asyncio
import json
import re
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import Any

import httpx
import httpx2
import pytest
from apiserver.conftest import SMALL, WITHOUT, MakeNamespace, are_ready, install_platform
from apiserver.keeper import Plane
from apiserver.kit import Namespace, asked_all_the_time, eventually
from apiserver.network import real
from apiserver.programs import Fate
from chart import kit as chart
from e2e.kit import App, pool, workload

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(300)]

KINDS = (
    *("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "ConfigMap"),
    *("Service", "Deployment"),
)
"""What is installed of the chart: its policies have tests of their own."""


@dataclass(frozen=True)
class Install:
    """An install in a namespace, for those with a label."""

    home: Namespace
    label: str

    def select(self, kubectl: Namespace, *, is_selected: bool = True) -> None:
        """Give a namespace the label, or take it away."""
        labels = {self.label: "yes"} if is_selected else {}
        meta = {"name": kubectl.namespace, "labels": labels}
        kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})


class Counted(Fate):
    """What the operator asks the API server, beside kopf's watch of WarmPools."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[str] = []

    def is_met_by(self, request: httpx2.Request) -> bool:
        self.requests.append(f"{request.method} {request.url.raw_path.decode()}")
        return False


def within(obj: Any, namespace: str) -> Any:
    """An object of the chart in another namespace; its name too, if that is of the cluster."""
    text = json.dumps(obj).replace(f'"{chart.NAMESPACE}"', f'"{namespace}"')
    return json.loads(re.sub(rf"-{chart.NAMESPACE}\b", f"-{namespace}", text))


async def install(home: Namespace, label: str, *settings: str) -> Install:
    """The chart's operator and activators for the namespaces with a label."""
    selector = f"--set-json=namespaceSelector={json.dumps({'matchLabels': {label: 'yes'}})}"
    sets = (f"--set={setting}" for setting in (*WITHOUT, *SMALL, *settings))
    for obj in chart.render("kotatsu", None, selector, *sets).of(*KINDS):
        home.apply(within(obj, home.namespace))
    await eventually("the platform is ready", lambda: are_ready(home), every=0.02)
    return Install(home, label)


@pytest.fixture
def label() -> str:
    return f"team-{uuid.uuid4().hex[:6]}"


def create(kubectl: Namespace, name: str = "web", **spec: object) -> App:
    kubectl.apply(*workload(name), pool(name, **spec))
    return App(name, kubectl, address=f"{name}.{kubectl.namespace}")


def reason(app: App) -> str:
    """Why a pool is accepted, or why not."""
    return str(app.conditions().get("Accepted", {}).get("reason", ""))


async def test_a_pool_works_where_it_is_created_until_its_namespace_is_not_selected_any_more(
    make_namespace: MakeNamespace, label: str, http: httpx.AsyncClient
) -> None:
    made = await install(make_namespace("home"), label)
    shop, other = make_namespace("shop"), make_namespace("other")
    made.select(shop)
    app, left = create(shop, idleAfter="1s"), create(other, idleAfter="1s")
    await eventually("accepted", lambda: reason(app) == "Accepted")
    await eventually("told", lambda: reason(left) == "NamespaceNotSelected")
    assert app.status()["internal"]["activators"] == f"{made.home.namespace}/0"
    assert left.replicas() == 1

    await eventually("asleep", lambda: app.phase() == "Asleep")
    await app.send(http)
    await eventually("asleep", lambda: app.phase() == "Asleep" and app.replicas() == 0)

    made.select(shop, is_selected=False)
    await eventually("left", lambda: reason(app) == "NamespaceNotSelected")
    assert app.replicas() == 1
    assert app.ready_pods()
    assert app.status().keys() <= {"conditions", "cost", "internal"}
    await eventually("only its pods", lambda: len(shop.endpoints("web")) == 1)

    made.select(shop)
    await eventually("asleep again", lambda: app.phase() == "Asleep" and app.replicas() == 0)


async def test_at_rest_the_operator_keeps_its_lease_and_watches_and_asks_nothing_else(
    make_namespace: MakeNamespace, label: str
) -> None:
    counted = Counted()
    made = await install(make_namespace("home", fate=counted), label)
    shop = make_namespace("shop")
    made.select(shop)
    app = create(shop, idleAfter="1s")
    await eventually("asleep", lambda: app.phase() == "Asleep" and not app.pods())
    lease = f"/namespaces/{made.home.namespace}/leases/kotatsu-operator"

    ours = (f"/namespaces/{made.home.namespace}/", f"/namespaces/{shop.namespace}/")

    def asked() -> list[str]:
        """Of other tests' pools it tells that nobody serves them: that is no rest."""
        return [
            request
            for request in counted.requests
            if "watch=true" not in request and lease not in request
            if "/namespaces/" not in request or any(name in request for name in ours)
        ]

    await asyncio.sleep(10)  # until what belongs to the sleep is written down
    for _ in range(3):  # on a busy machine it takes longer
        counted.requests.clear()
        await asyncio.sleep(35)
        if not asked():
            break
    assert asked() == []
    watches = Counter(r.split("?")[0] for r in counted.requests if "watch=true" in r)
    assert len(watches) <= 8
    assert max(watches.values()) <= 2


async def test_where_two_installs_select_a_namespace_the_older_one_has_it(
    make_namespace: MakeNamespace, label: str
) -> None:
    older = await install(make_namespace("older"), label)
    await asyncio.sleep(1.1)  # two Deployments of one second are told apart by their uids
    younger = await install(make_namespace("younger"), label)
    shop = make_namespace("shop")
    older.select(shop)
    app = create(shop)
    await eventually("accepted", lambda: reason(app) == "Accepted")
    assert app.status()["internal"]["activators"] == f"{older.home.namespace}/0"
    await eventually("said", lambda: leaves_out(younger, shop))
    assert readable(younger, shop) is None  # it does not have to be, so nobody is alerted
    assert readable(older, shop) == 1


async def test_a_namespace_with_activators_of_its_own_is_theirs(
    make_namespace: MakeNamespace, label: str
) -> None:
    made = await install(make_namespace("home"), label)
    shop = make_namespace("shop")
    made.select(shop)
    await install_platform(shop)
    app = create(shop)
    await eventually("accepted", lambda: reason(app) == "Accepted")
    await eventually("said", lambda: leaves_out(made, shop))
    assert "activators" not in app.status()["internal"]


async def test_activators_of_a_namespace_and_shared_ones_take_over_from_each_other(
    make_namespace: MakeNamespace, label: str, http: httpx.AsyncClient
) -> None:
    made = await install(make_namespace("home"), label)
    shop = make_namespace("shop")
    made.select(shop)
    app = create(shop, idleAfter="1s")
    await eventually("asleep", lambda: app.phase() == "Asleep" and app.replicas() == 0)

    async with asked_all_the_time(app, http, clients=1, pause=2):
        await install_platform(shop)
        await eventually("theirs", lambda: is_served(app, ""))
    await eventually("asleep", lambda: app.phase() == "Asleep" and app.replicas() == 0)

    async with asked_all_the_time(app, http, clients=1, pause=2):
        for program in ("operator", "activator"):
            shop.delete("deployment", f"kotatsu-{program}")
        await eventually("ours", lambda: is_served(app, f"{made.home.namespace}/0"))
    await eventually("asleep", lambda: app.phase() == "Asleep" and app.replicas() == 0)


def is_served(app: App, activators: str) -> bool:
    """Whether the status names these activators, and slices of no others lead anywhere."""
    labels = {
        "kubernetes.io/service-name": app.name,
        "endpointslice.kubernetes.io/managed-by": "activator.kotatsu.dev",
    }
    sets = {
        slice_["metadata"]["annotations"].get("kotatsu.dev/activators", "")
        for slice_ in app.kubectl.items("endpointslices", **labels)
        if any(e["conditions"]["ready"] for e in slice_.get("endpoints") or ())
    }
    return app.inner().get("activators", "") == activators and sets <= {activators}


async def test_the_namespaces_of_kubernetes_are_never_touched(
    make_namespace: MakeNamespace, label: str, plane: Plane
) -> None:
    made = await install(make_namespace("home"), label)
    system, shop = Namespace("kube-public", plane), make_namespace("shop")
    for kubectl in (system, shop):
        made.select(kubectl)
    untouched, app = create(system, f"web-{label}"), create(shop)
    await eventually("accepted", lambda: reason(app) == "Accepted")
    await asyncio.sleep(1)
    assert "status" not in untouched.pool()
    for kind in ("warmpool", "deployment", "service"):
        system.delete(kind, untouched.name)


def readable(made: Install, kubectl: Namespace) -> float | None:
    """What an install's metrics say of a namespace."""
    page = page_of(made, "metrics")
    line = f'kotatsu_operator_namespace_readable{{namespace="{kubectl.namespace}"}} '
    found = (text.removeprefix(line) for text in page.splitlines() if text.startswith(line))
    return next(map(float, found), None)


def leaves_out(made: Install, kubectl: Namespace) -> bool:
    """Whether an install says that another one serves a namespace."""
    return f"serves: {kubectl.namespace}; nothing is done there" in page_of(made, "readyz")


def page_of(made: Install, path: str) -> str:
    """A page of an install's operator."""
    (pod,) = made.home.items("pods", **{"app.kubernetes.io/component": "operator"})
    host, port = real(pod["status"]["podIP"], 8080)
    return httpx.get(f"http://{host}:{port}/{path}", trust_env=False, timeout=60).text
