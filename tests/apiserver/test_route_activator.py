"""Route Activator: the pool takes the selector of its Service over, and gives it back."""

import asyncio

import httpx
import pytest
import yaml
from apiserver.conftest import MakeApp, MakeNamespace, install_platform
from apiserver.kit import Namespace, asked_all_the_time, eventually
from e2e.kit import App, pool, workload
from lightkube import KubeConfig

from kotatsu_operator.core.protocol import OPERATOR, ROUTE_LABEL
from kotatsu_operator.jobs.uninstall import Uninstall
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.connection import Connection

pytestmark = pytest.mark.apiserver


@pytest.fixture(scope="module")
def platform(platform: Namespace, make_namespace: MakeNamespace) -> Namespace:
    """A namespace that operator and activator of another one serve: of theirs none is taken."""
    return make_namespace("team", home=platform)


LONG = {"idleAfter": "10m"}
QUICK = {"idleAfter": "1s"}


def selector(app: App) -> dict[str, str]:
    return app.kubectl.get("service", app.name)["spec"]["selector"]


def accepted(app: App) -> dict[str, str]:
    return app.conditions().get("Accepted", {"reason": "", "status": ""})


async def running(platform: Namespace, name: str) -> App:
    """An app that has no pool yet; its pods answer."""
    deployment, service = workload(name)
    deployment["spec"]["replicas"] = 2
    platform.apply(deployment, service)
    app = App(name, platform, address=f"{name}.{platform.namespace}")
    await eventually("pods answer", lambda: len(app.endpoints()["pods"]) == 2)
    return app


async def led_by_activators(app: App) -> None:
    await eventually("activators alone answer", lambda: only(app, "activator"))


async def led_by_pods(app: App) -> None:
    await eventually("pods alone answer", lambda: only(app, "pods"))


def only(app: App, kind: str) -> bool:
    found = app.endpoints()
    return bool(found.pop(kind)) and not any(found.values())


async def test_under_traffic_the_selector_is_taken_over_and_given_back_and_no_request_is_lost(
    platform: Namespace, http: httpx.AsyncClient
) -> None:
    app = await running(platform, "taken")
    before = selector(app)
    async with asked_all_the_time(app, http):
        platform.apply(pool(app.name, route="Activator", **LONG))
        await led_by_activators(app)
        await asyncio.sleep(1)
        assert app.status()["internal"]["takenService"] == app.name
        platform.delete("warmpool", app.name)
        await led_by_pods(app)
        await asyncio.sleep(1)
    assert selector(app) == before
    assert app.replicas() == 2


async def test_a_sleeping_pool_that_is_deleted_under_traffic_leaves_a_service_with_pods(
    make_app: MakeApp, platform: Namespace, http: httpx.AsyncClient
) -> None:
    app = await make_app("asleep", route="Activator", **QUICK)
    before = {"app": app.name}
    await app.asleep()
    await led_by_activators(app)
    async with asked_all_the_time(app, http):
        platform.delete("warmpool", app.name)
        await led_by_pods(app)
    assert selector(app) == before


async def test_a_selector_that_a_program_applies_is_refused_with_the_line_for_its_manifest(
    platform: Namespace,
) -> None:
    app = await running(platform, "gitops")
    service = workload(app.name)[1]
    by = ("apply", "--server-side", "--force-conflicts", "--field-manager=argocd-controller")
    platform(*by, "-f", "-", stdin=yaml.safe_dump(service))
    platform.apply(pool(app.name, route="Activator", **LONG))
    await eventually("refused", lambda: accepted(app)["reason"] == "SelectorContested")
    assert f"add `{ROUTE_LABEL}: Activator` to spec.selector" in accepted(app)["message"]
    assert not app.endpoints()["activator"]
    service["spec"]["selector"] = {**service["spec"]["selector"], ROUTE_LABEL: "Activator"}
    platform(*by, "-f", "-", stdin=yaml.safe_dump(service))
    await eventually("accepted", lambda: accepted(app)["status"] == "True")
    await led_by_activators(app)


async def test_the_uninstall_gives_the_selector_back_and_no_request_is_lost(
    make_namespace, http: httpx.AsyncClient
) -> None:
    kubectl = make_namespace("uninstalled")
    await asyncio.to_thread(asyncio.run, install_platform(kubectl))
    team = make_namespace("left", home=kubectl)
    app = await running(team, "left")
    team.apply(pool(app.name, route="Activator", **QUICK))
    await app.asleep()
    kube = Kube(Connection(KubeConfig.from_file(kubectl.plane.kubeconfig).get(), OPERATOR))
    said: list[str] = []
    async with asked_all_the_time(app, http):
        job = Uninstall(kube, kubectl.namespace, 60, said.append)
        await job.run()
        assert only(app, "pods"), said
    assert selector(app) == {"app": app.name}
    assert app.ready_pods()
    await kube.close()
