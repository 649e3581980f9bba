"""The activator's own life: crashes and updates send nobody to the wrong place."""

import asyncio

import httpx
import pytest
from e2e.kit import Stream, acted_once, eventually, gather_ok, kill_containers

pytestmark = pytest.mark.e2e


async def test_a_crashed_activator_never_sends_one_pools_clients_to_another(
    make_app, platform, on_node, http
):
    if not on_node:
        pytest.skip("killing a container from outside needs the node's processes on this machine")
    apps = [await make_app(f"crash{i}", scaling={"idleAfter": "4s"}) for i in range(2)]
    for app in apps:
        await app.asleep()
    activators = platform.items("pods", **{"app.kubernetes.io/component": "activator"})
    for pod in activators:
        assert kill_containers(pod)
    # `send` fails when another app answers; refused connections are the crash itself.
    answered = 0
    for _ in range(60):
        for app in apps:
            try:
                await app.send(http)
                answered += 1
            except httpx.TransportError:
                await asyncio.sleep(0.2)
        if answered > 20:
            break
    assert answered > 20
    restarted = platform.items("pods", **{"app.kubernetes.io/component": "activator"})
    assert {p["metadata"]["uid"] for p in restarted} == {p["metadata"]["uid"] for p in activators}


async def test_a_rolling_update_of_the_activator_loses_no_request(make_app, platform, recorder):
    app = await make_app("roll", scaling={"idleAfter": "60s", "maxReplicas": 1})
    other = await make_app("rollheld", scaling={"idleAfter": "4s", "maxReplicas": 1})
    await other.asleep()
    async with Stream(app) as stream, httpx.AsyncClient(timeout=60, trust_env=False) as http:
        platform("rollout", "restart", "deployment/kotatsu-activator")
        await asyncio.sleep(1)
        await gather_ok([other.send(http) for _ in range(20)])
        await asyncio.to_thread(
            platform, "rollout", "status", "deployment/kotatsu-activator", "--timeout=180s"
        )
        await other.asleep()
        await gather_ok([other.send(http) for _ in range(20)])
    assert not stream.failures, stream.failures[:5]
    await acted_once(app, recorder)
    await acted_once(other, recorder)


async def test_the_slices_of_a_deleted_activator_go_with_it(platform, make_app):
    app = await make_app("sweep", scaling={"idleAfter": "4s"})
    await app.asleep()
    platform(
        *("delete", "pod", "-l", "app.kubernetes.io/component=activator"),
        *("--grace-period=0", "--force", "--wait=false"),
    )

    def only_living():
        pods = platform.items("pods", **{"app.kubernetes.io/component": "activator"})
        living = {
            p["status"].get("podIP") for p in pods if "deletionTimestamp" not in p["metadata"]
        }
        serving = app.endpoints()["activator"]
        return serving and serving <= living

    await eventually("only living activators are endpoints", only_living, within=60)
