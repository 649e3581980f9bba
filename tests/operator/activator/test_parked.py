"""A parked pool: its pods serve at once, and the operator learns of the request meanwhile."""

import asyncio

import pytest

from kotatsu_operator.activator import registry as activity
from kotatsu_operator.activator import wake
from tests.operator.activator.in_process import (
    BY_ACTIVATOR,
    GET,
    ActivatorFixture,
    Keeper,
    one,
    pool,
)
from tests.operator.cluster import eventually

pytestmark = pytest.mark.timeout(60)

NO_GAUGE = {"lacks": True}


@pytest.fixture
async def activator():
    async with ActivatorFixture() as activator:
        running = activator.kube.edit("Deployment", "voice", spec={"replicas": 1})
        activator.see("Deployment", running)
        activator.see("WarmPool", pool("Parked"))
        yield activator


async def written(activator, number):
    await activator.announced(number)
    await eventually(lambda: activator.connections._announcements.task.done())


# --- requests ---


async def test_a_request_is_served_before_its_announcement_begins_and_before_it_is_written(
    activator, monkeypatch
):
    made = await activator.new_pod(ready=True)
    gate = activator.hold_announcements()
    assert (await activator.ask()).endswith(b"voice-1")
    await activator.announced(1)
    assert (await activator.ask()).endswith(b"voice-1")
    assert (len(made.requests), activator.raises) == (2, 0)
    gate.release()
    await written(activator, 1)
    monkeypatch.setattr(wake, "ANNOUNCE_AFTER", 60.0)
    activator.see("WarmPool", pool("Warm"))
    activator.see("WarmPool", pool("Parked"))
    assert (await activator.ask()).endswith(b"voice-1")
    assert len(activator.announcements) == 1


async def test_the_next_connection_of_its_client_goes_straight_to_a_pod(activator):
    made = await activator.new_pod(of=Keeper, ready=True)
    await one(*await activator.send(b""))
    assert b"Connection: close" in made.requests[0]


async def test_one_announcement_is_enough_for_many_requests(activator):
    await activator.new_pod(ready=True)
    await asyncio.gather(*(activator.ask() for _ in range(30)))
    await activator.announced(1)
    activator.connections.asked()  # no check: a question only means that the operator is there
    await activator.ask()
    assert len(activator.announcements) == 1


async def test_it_is_repeated_while_the_pool_stays_parked(activator, monkeypatch):
    await activator.new_pod(ready=True)
    monkeypatch.setattr(wake, "COVERS_FOR", 0.0)
    await activator.ask()
    await written(activator, 1)
    await activator.ask()
    await activator.announced(2)


@pytest.mark.parametrize("how", [{}, NO_GAUGE, BY_ACTIVATOR])
async def test_each_parking_is_announced_anew(activator, how):
    """The epoch of a pool whose connections count stays as it is."""
    await activator.new_pod(ready=True)
    activator.see("WarmPool", pool("Parked", **how))
    await activator.ask()
    await written(activator, 1)
    activator.see("WarmPool", pool("Warm", **how))
    await activator.ask()
    activator.see("WarmPool", pool("Parked", **how))
    await activator.ask()
    await activator.announced(2)


async def test_an_announcement_that_fails_is_written_again_though_no_client_waits(activator):
    await activator.new_pod(ready=True)
    activator.kube.down = True
    await activator.ask()
    await eventually(lambda: activator.announcements)
    activator.see("WarmPool", pool("Parked", maxReplicas=3))  # any other change
    activator.kube.down = False
    await eventually(lambda: "demand" in activator.kube.stored("WarmPool", "voice")["status"])


@pytest.mark.parametrize("phase", ["Warm", "Draining", "Asleep"])
async def test_an_announcement_that_fails_is_given_up_when_the_pool_is_parked_no_more(
    activator, phase
):
    await activator.new_pod(ready=True)
    activator.kube.down = True
    await activator.ask()
    await eventually(lambda: activator.announcements)
    activator.see("WarmPool", pool(phase))
    tried = len(activator.announcements)
    await eventually(lambda: activator.connections._announcements.task.done())
    assert len(activator.announcements) == tried


async def test_the_first_request_on_the_way_down_waits_for_an_announcement_of_its_own(activator):
    made = await activator.new_pod(ready=True)
    await activator.ask()
    await written(activator, 1)
    activator.see("WarmPool", pool("Draining", epoch=2))
    gate = activator.hold_announcements()
    waiting = activator.hold()
    await activator.announced(2)
    assert len(made.requests) == 1
    gate.release()
    await waiting


async def test_without_a_ready_pod_a_request_is_held_and_the_scale_is_left_alone(activator):
    made = await activator.new_pod(ready=False)
    made.ready = False
    waiting = activator.hold()
    await activator.announced(1)
    await activator.held(1)
    made.ready = True
    assert (await waiting).endswith(b"voice-1")
    assert activator.raises == 0


async def test_a_target_at_zero_is_raised(activator):
    activator.kube.edit("Deployment", "voice", spec={"replicas": 0})
    await activator.starts_on_raise(ready=True)
    assert (await activator.ask()).endswith(b"voice-1")
    assert activator.raises == 1


# --- connections that stay here ---


@pytest.mark.parametrize("how", [NO_GAUGE, BY_ACTIVATOR])
async def test_a_client_whose_connection_counts_stays_here(activator, how):
    activator.see("WarmPool", pool("Parked", **how))
    made = await activator.new_pod(of=Keeper, ready=True)
    reader, writer = await activator.send(b"")
    for _ in range(3):
        await one(reader, writer)
    assert made.requests == [GET] * 3
    await activator.announced(1)


@pytest.mark.parametrize("how", [NO_GAUGE, BY_ACTIVATOR])
async def test_bytes_of_a_quiet_connection_are_announced_and_pass_at_once(
    activator, monkeypatch, how
):
    monkeypatch.setattr(activity, "BUSY_FOR", 0.0)
    activator.see("WarmPool", pool("Warm", **how))
    made = await activator.new_pod(of=Keeper, ready=True)
    reader, writer = await activator.send(b"")
    await one(reader, writer)
    activator.see("WarmPool", pool("Parked", **how))
    gate = activator.hold_announcements()
    await one(reader, writer)
    await activator.announced(1)
    assert made.requests == [GET] * 2
    gate.release()


# --- pools that depend on it ---


async def test_a_parked_pool_that_another_one_needs_is_announced_once_and_not_raised(activator):
    await activator.new_pod(ready=True)
    assert activator.connections.need()
    assert activator.connections.need()
    await activator.announced(1)
    assert activator.raises == 0
