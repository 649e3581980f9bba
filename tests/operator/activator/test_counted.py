"""A pool whose connections in the activators count as its demand: the pods have no gauge."""

import pytest

from kotatsu_operator.activator.http.answers import PROBE_OK
from kotatsu_operator.activator.proxy import registry as activity
from tests.operator.activator.in_process import ActivatorFixture
from tests.operator.activator.test_always import GET, Keeper, keeper, one
from tests.operator.cluster import eventually, warm_pool

pytestmark = pytest.mark.timeout(60)

PROBE = b"GET /healthz HTTP/1.1\r\n\r\n"


def pool(phase="Warm", counted=True):
    route = {"target": "Activator", "epoch": 1, "counted": counted}
    return warm_pool(status={"phase": phase, "route": route})


@pytest.fixture
async def activator():
    activator = ActivatorFixture()
    activator.see("WarmPool", pool())
    await activator.start()
    yield activator
    await activator.close()


async def test_a_client_of_a_warm_pool_stays_where_it_is_seen(activator):
    made = await keeper(activator)
    reader, writer = await activator.send(b"")
    for _ in range(3):
        await one(reader, writer)
    assert made.requests == [GET] * 3


async def test_a_client_of_a_metered_pool_is_led_straight_to_the_pods(activator):
    activator.see("WarmPool", pool(counted=False))
    made = await keeper(activator)
    await one(*await activator.send(b""))
    assert b"Connection: close" in made.requests[0]


async def test_probes_reach_the_pods_of_a_warm_pool_and_are_no_use(activator):
    made = await keeper(activator)
    await one(*await activator.send(b""), PROBE)
    assert made.requests
    assert activator.connections.count_active() == 0
    activator.see("WarmPool", pool("Asleep"))
    reader, _ = await activator.send(PROBE)
    assert await reader.read() == PROBE_OK


async def test_bytes_of_a_quiet_connection_on_the_way_down_are_announced_first(
    activator, monkeypatch
):
    monkeypatch.setattr(activity, "MOVING_FOR", 0.0)
    made: Keeper = await keeper(activator)
    reader, writer = await activator.send(b"")
    await one(reader, writer)
    activator.see("WarmPool", pool("Draining"))
    writer.write(GET)
    await eventually(lambda: activator.announcements)
    await reader.readuntil(b"ok")
    assert len(made.requests) == 2
