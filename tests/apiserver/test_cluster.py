"""Installs in one cluster: which namespaces each serves, and what it leaves alone."""

import asyncio
from collections import Counter
from typing import Any

import aiohttp
import httpx
import pytest
from apiserver.conftest import MakeNamespace, install_platform
from apiserver.keeper import Plane
from apiserver.kit import Namespace, asked_all_the_time, eventually
from apiserver.network import real
from apiserver.programs import Fate
from e2e.kit import App, pool, workload

from kotatsu_operator.core.protocol import INSTALL_LABEL, LEASE_NAME

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(300)]


def select(kubectl: Namespace, home: Namespace | None) -> None:
    """Let the install of a namespace serve another one, or none."""
    labels = {INSTALL_LABEL: home.namespace if home else "nobody"}
    kubectl.patch("namespace", kubectl.namespace, {"metadata": {"labels": labels}})


class Counted(Fate):
    """What the operator asks the API server, beside kopf's watch of WarmPools."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[str] = []

    def is_met_by(self, request: aiohttp.ClientRequest, content: bytes) -> bool:
        self.requests.append(f"{request.method} {request.url.path_qs}")
        return False


async def install(make_namespace: MakeNamespace, *settings: str, **how: Any) -> Namespace:
    """The chart's operator and activators in a namespace of their own."""
    home = make_namespace("home", **how)
    await install_platform(home, *settings)
    return home


def create(kubectl: Namespace, name: str = "web", **spec: object) -> App:
    kubectl.apply(*workload(name), pool(name, **spec))
    return App(name, kubectl, address=f"{name}.{kubectl.namespace}")


def reason(app: App) -> str:
    """Why a pool is accepted, or why not."""
    return str(app.conditions().get("Accepted", {}).get("reason", ""))


async def test_a_pool_works_where_it_is_created_until_its_namespace_is_not_served_any_more(
    make_namespace: MakeNamespace, http: httpx.AsyncClient
) -> None:
    home = await install(make_namespace)
    shop, other = make_namespace("shop", home=home), make_namespace("other")
    app, left = create(shop, idleAfter="1s"), create(other, idleAfter="1s")
    await eventually("accepted", lambda: reason(app) == "Accepted")
    assert app.status()["internal"]["activators"] == f"{home.namespace}/0"
    assert left.replicas() == 1

    await eventually("asleep", lambda: app.phase() == "Asleep")
    await app.send(http)
    await eventually("asleep", lambda: app.phase() == "Asleep" and app.replicas() == 0)

    select(shop, None)
    await eventually("left", lambda: reason(app) == "NamespaceNotSelected")
    assert app.replicas() == 1
    assert app.ready_pods()
    assert app.status().keys() <= {"conditions", "cost", "internal"}
    await eventually("only its pods", lambda: len(shop.endpoints("web")) == 1)

    select(shop, home)
    await eventually("asleep again", lambda: app.phase() == "Asleep" and app.replicas() == 0)
    assert "status" not in left.pool()


VERSIONS = "warmpools?resourceVersion=0"
"""How a list ends that is compared with what the watch has shown."""


async def test_at_rest_the_operator_keeps_its_lease_and_watches_and_lists_versions_alone(
    make_namespace: MakeNamespace,
) -> None:
    counted = Counted()
    home = await install(make_namespace, fate=counted)
    shop = make_namespace("shop", home=home)
    app = create(shop, idleAfter="1s")
    await eventually("asleep", lambda: app.phase() == "Asleep" and not app.pods())
    lease = f"/namespaces/{home.namespace}/leases/kotatsu-operator"

    ours = (f"/namespaces/{home.namespace}/", f"/namespaces/{shop.namespace}/")

    def asked() -> list[str]:
        """Of other tests' pools it tells that nobody serves them: that is no rest."""
        return [
            request
            for request in counted.requests
            if "watch=true" not in request and lease not in request
            if not request.endswith(VERSIONS)
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
    assert 1 <= sum(r.endswith(VERSIONS) for r in counted.requests) <= 3


async def test_one_install_takes_over_from_another_as_the_label_says(
    make_namespace: MakeNamespace, http: httpx.AsyncClient
) -> None:
    first, second = await install(make_namespace), await install(make_namespace)
    shop = make_namespace("shop", home=first)
    app = create(shop, idleAfter="1s")
    await eventually("asleep", lambda: app.phase() == "Asleep" and app.replicas() == 0)
    for home in (second, first):
        async with asked_all_the_time(app, http, clients=1, pause=2):
            select(shop, home)
            await eventually("theirs", lambda of=home: is_served(app, f"{of.namespace}/0"))
        await eventually("asleep", lambda: app.phase() == "Asleep" and app.replicas() == 0)
    assert readable(first, shop) == 1
    assert readable(second, shop) is None  # it does not have to be, so nobody is alerted


async def test_what_an_install_has_left_is_taken_over_once_its_lease_is_gone(
    make_namespace: MakeNamespace, http: httpx.AsyncClient
) -> None:
    first, second = await install(make_namespace), await install(make_namespace)
    shop = make_namespace("shop", home=first)
    app = create(shop, idleAfter="1s")
    await eventually("asleep", lambda: app.phase() == "Asleep" and app.replicas() == 0)
    for program in ("operator", "activator-0"):
        first.delete("deployment", f"kotatsu-{program}")
    select(shop, second)
    await asyncio.sleep(3)
    assert is_named(app, f"{first.namespace}/0"), "its Lease is there"
    first.delete("lease", LEASE_NAME)
    await eventually("theirs", lambda: is_served(app, f"{second.namespace}/0"))
    await eventually("asleep", lambda: app.phase() == "Asleep" and app.replicas() == 0)
    assert (await app.send(http)).status_code == 200


async def test_activators_of_a_namespace_and_shared_ones_take_over_from_each_other(
    make_namespace: MakeNamespace, http: httpx.AsyncClient
) -> None:
    home = await install(make_namespace)
    shop = make_namespace("shop", home=home)
    app = create(shop, idleAfter="1s")
    await eventually("asleep", lambda: app.phase() == "Asleep" and app.replicas() == 0)
    own = f"activator.own.{shop.namespace}"
    for given, theirs in (
        (f"{own}.replicas=1", f"{home.namespace}/own/{shop.namespace}"),
        (f"{own}.leaving=true", f"{home.namespace}/0"),
    ):
        async with asked_all_the_time(app, http, clients=1, pause=2):
            await install_platform(home, given)
            await eventually("taken over", lambda of=theirs: is_served(app, of))
        await eventually("asleep", lambda: app.phase() == "Asleep" and app.replicas() == 0)


def is_named(app: App, activators: str) -> bool:
    """Whether the status names these activators."""
    return bool(app.inner().get("activators", "") == activators)


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
    return is_named(app, activators) and sets <= {activators}


async def test_the_namespaces_of_kubernetes_are_never_touched(
    make_namespace: MakeNamespace, plane: Plane
) -> None:
    home = await install(make_namespace)
    system, shop = Namespace("kube-public", plane), make_namespace("shop", home=home)
    select(system, home)
    untouched, app = create(system, f"web-{home.namespace}"), create(shop)
    await eventually("accepted", lambda: reason(app) == "Accepted")
    await asyncio.sleep(1)
    assert "status" not in untouched.pool()
    for kind in ("warmpool", "deployment", "service"):
        system.delete(kind, untouched.name)


def readable(home: Namespace, kubectl: Namespace) -> float | None:
    """What an install's metrics say of a namespace."""
    page = page_of(home, "metrics")
    line = f'kotatsu_operator_namespace_readable{{namespace="{kubectl.namespace}"}} '
    found = (text.removeprefix(line) for text in page.splitlines() if text.startswith(line))
    return next(map(float, found), None)


def page_of(home: Namespace, path: str) -> str:
    """A page of an install's operator."""
    (pod,) = home.items("pods", **{"app.kubernetes.io/component": "operator"})
    host, port = real(pod["status"]["podIP"], 8080)
    return httpx.get(f"http://{host}:{port}/{path}", trust_env=False, timeout=60).text
