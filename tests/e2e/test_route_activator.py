"""Route Activator: a workload that tells nothing of itself, behind a Service without a selector."""

import asyncio
import uuid

import pytest
from e2e.conftest import cluster_ip
from e2e.kit import (
    App,
    acted_once,
    config_map,
    gather_ok,
    pool,
    workload,
)

pytestmark = pytest.mark.e2e


@pytest.fixture
async def make_routed(team, recorder):
    made = []

    async def make(**spec):
        name = f"routed-{uuid.uuid4().hex[:4]}"
        made.append(name)
        deployment, service = workload(name)
        del service["spec"]["selector"]
        # Like anybody's image: nothing of ours is asked to say goodbye, it just waits a little.
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": 6}}}
        team.apply(config_map(), deployment, service, pool(name, route="Activator", **spec))
        app = App(name, team)
        await app.asleep()
        app.address = cluster_ip(team, name)
        return app

    yield make
    for name in made:
        team("delete", "warmpool", name, "--wait=false")
        team("delete", "deployment,service", name, "--wait=false")


async def test_it_wakes_from_zero_stays_awake_in_use_and_sleeps_when_idle(
    make_routed, http, recorder
):
    app = await make_routed(idleAfter="15s")
    await gather_ok([app.send(http) for _ in range(20)])
    for _ in range(4):
        await asyncio.sleep(3)
        await app.send(http)
    assert (app.phase(), app.status()["route"]["target"]) == ("Warm", "Activator")
    assert app.endpoints()["pods"] == set()
    assert len(app.endpoints()["activator"]) == 2
    await app.asleep()
    await acted_once(app, recorder)
