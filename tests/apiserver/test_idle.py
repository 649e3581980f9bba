"""How long a pool stays warm: after its last request, during one, and by an override."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from apiserver.kit import eventually
from e2e.kit import acted_once

pytestmark = pytest.mark.apiserver


async def test_idle_counts_from_the_last_request(make_app, http):
    app = await make_app("idle", idleAfter="3s")
    for _ in range(3):
        await app.send(http)
        await asyncio.sleep(1)
    last = datetime.now(UTC)
    await app.send(http)
    await eventually("scale at 0", lambda: app.replicas() == 0)
    assert datetime.now(UTC) - last >= timedelta(seconds=3)


async def test_a_warm_override_keeps_replicas_until_it_ends(make_app, platform):
    app = await make_app("override", idleAfter="1s")
    await app.asleep()
    until = datetime.now(UTC) + timedelta(seconds=5)
    override = {"mode": "Warm", "replicas": 2, "until": until.isoformat()}
    platform.patch("warmpool", app.name, {"spec": {"override": override}})
    await eventually("warm", lambda: len(app.ready_pods()) == 2)
    assert app.status()["reason"] == "Override"
    await app.asleep()
    assert datetime.now(UTC) > until


async def test_a_long_request_keeps_its_pod_until_it_is_answered(make_app, http, recorder):
    app = await make_app("long", idleAfter="1s")
    await app.send(http, ms=4_000)
    assert app.replicas() == 1
    await app.asleep()
    await acted_once(app, recorder)
