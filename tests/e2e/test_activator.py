"""The activator's own life: crashes and updates send nobody to the wrong place."""

import asyncio
import json

import httpx
import pytest
from e2e.kit import acted_once, eventually, gather_ok, hits, kill_containers
from e2e.stream import Stream

pytestmark = pytest.mark.e2e


async def test_a_crashed_activator_never_sends_one_pools_clients_to_another(
    make_app, home, on_node, http
):
    if not on_node:
        pytest.skip("killing a container from outside needs the node's processes on this machine")
    apps = [await make_app(f"crash{i}", idleAfter="4s") for i in range(2)]
    for app in apps:
        await app.asleep()
    activators = home.items("pods", **{"app.kubernetes.io/component": "activator"})
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
    restarted = home.items("pods", **{"app.kubernetes.io/component": "activator"})
    assert {p["metadata"]["uid"] for p in restarted} == {p["metadata"]["uid"] for p in activators}


async def test_a_rolling_update_of_the_activator_loses_no_request(make_app, home, recorder):
    app = await make_app("roll", idleAfter="60s", maxReplicas=1)
    other = await make_app("rollheld", idleAfter="4s", maxReplicas=1)
    await other.asleep()
    async with Stream(app) as stream, httpx.AsyncClient(timeout=60, trust_env=False) as http:
        home("rollout", "restart", "deployment/kotatsu-activator-0")
        await asyncio.sleep(1)
        await gather_ok([other.send(http) for _ in range(20)])
        await asyncio.to_thread(
            home, "rollout", "status", "deployment/kotatsu-activator-0", "--timeout=180s"
        )
        await other.asleep()
        await gather_ok([other.send(http) for _ in range(20)])
    assert not stream.failures, stream.failures[:5]
    await acted_once(app, recorder)
    await acted_once(other, recorder)


def slow_to_start(app, seconds):
    """Let the app's next pods take this long before they serve."""
    command = ["/bin/sh", "-c", f"sleep {seconds}; exec python3 /app/app.py"]
    containers = [{"name": "app", "command": command}]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    app.kubectl("patch", "deployment", app.name, "--type=strategic", "-p", json.dumps(patch))


async def test_requests_held_while_the_activators_are_replaced_are_all_answered(
    make_app, home, recorder
):
    """The old activators finish what they hold: the update ends after the slow wake has."""
    app = await make_app("slow", idleAfter="60s", maxReplicas=1)
    await app.asleep()
    slow_to_start(app, 15)
    async with httpx.AsyncClient(timeout=90, trust_env=False) as http:
        held = [asyncio.create_task(app.send(http)) for _ in range(50)]
        await eventually("waking", lambda: app.replicas() == 1)
        home("rollout", "restart", "deployment/kotatsu-activator-0")
        await asyncio.sleep(5)
        held += [asyncio.create_task(app.send(http)) for _ in range(50)]
        await gather_ok(held)
    await asyncio.to_thread(
        home, "rollout", "status", "deployment/kotatsu-activator-0", "--timeout=180s"
    )
    await acted_once(app, recorder)


async def test_a_killed_activator_loses_what_it_held_and_nothing_else(
    make_app, home, recorder, on_node
):
    """Its clients see their connection close, at once; the Service goes on with the other one."""
    if not on_node:
        pytest.skip("killing a container from outside needs the node's processes on this machine")
    app = await make_app("killed", idleAfter="60s", maxReplicas=1)
    await app.asleep()
    slow_to_start(app, 15)
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=90, trust_env=False, limits=limits) as http:
        held = [asyncio.create_task(app.send(http)) for _ in range(200)]
        await eventually("waking", lambda: app.replicas() == 1)
        await asyncio.sleep(1)
        (first, _) = home.items("pods", **{"app.kubernetes.io/component": "activator"})
        assert kill_containers(first)
        done, _ = await asyncio.wait(held, timeout=3)
        lost = [task for task in done if isinstance(task.exception(), httpx.TransportError)]
        assert 0 < len(lost) < 200
        # Whoever tries again is served, by the other activator or by the one that is back.
        again = 0
        while again < 20:
            try:
                await app.send(http)
                again += 1
            except httpx.TransportError:
                await asyncio.sleep(0.1)
        kept = await asyncio.gather(*(task for task in held if task not in lost))
        assert {answer.status_code for answer in kept} == {200}
    async with httpx.AsyncClient(timeout=10, trust_env=False) as http:
        counted = await hits(http, recorder)
    assert max(counted.get(sent, 0) for sent in app.sent) == 1
    await eventually("both activators serve again", lambda: both_ready(home), within=60)


def both_ready(home):
    status = home.get("deployment", "kotatsu-activator-0")["status"]
    return status.get("readyReplicas") == status.get("replicas") == 2
