"""Route Activator: the activator is the only way in, counts what is in use, and ends it well."""

import asyncio
import contextlib
import time

import httpx
import pytest
import uvicorn
from serving import NO_TLS

from kotatsu_operator.activator import connections, feature, wake
from kotatsu_operator.activator import registry as activity
from kotatsu_operator.activator.head import PROBE_OK
from kotatsu_operator.core.protocol import COST, MARK
from tests.operator.activator.in_process import (
    BY_ACTIVATOR,
    GET,
    READYZ,
    ActivatorFixture,
    Keeper,
    one,
    pool,
)
from tests.operator.cluster import activator_pod, eventually, pod, service

pytestmark = pytest.mark.timeout(60)

LONG = b"GET /long HTTP/1.1\r\n\r\n"
PROBE = b"GET /healthz HTTP/1.1\r\n\r\n"


@pytest.fixture
async def activator(monkeypatch):
    """A warm pool on route Activator: its Service selects nothing."""
    monkeypatch.setattr(wake, "LOOK_EVERY", 0.02)
    async with ActivatorFixture() as activator:
        selectorless = service()
        del selectorless["spec"]["selector"]
        activator.see("Service", selectorless)
        activator.see("Deployment", activator.kube.stored("Deployment", "voice"))
        activator.see("WarmPool", pool("Warm", **BY_ACTIVATOR))
        yield activator


# --- the way in ---


async def test_a_warm_pool_is_reached_through_the_activator_and_its_connections_stay_open(
    activator,
):
    made = await activator.new_pod(of=Keeper, ready=True)
    reader, writer = await activator.send(b"")
    for _ in range(3):
        await one(reader, writer)
    assert made.requests == [GET] * 3
    assert activator.kube.writes == []


async def test_connections_are_spread_over_the_ready_pods_by_the_fewest(activator):
    for name in ("voice-1", "voice-2", "voice-3"):
        await activator.new_pod(name, ready=True)
    for _ in range(9):
        reader, _ = await activator.send(LONG)
        await reader.readuntil(b"\r\n\r\n")
    assert [len(p.requests) for p in activator.pods] == [3, 3, 3]


# --- activity ---


async def test_a_request_under_way_is_active_and_an_idle_connection_is_not(activator, monkeypatch):
    monkeypatch.setattr(activity, "BUSY_FOR", 60.0)
    await activator.new_pod(of=Keeper, ready=True)
    reader, writer = await activator.send(b"")
    assert activator.count("kotatsu_activator_active") == 0
    await one(reader, writer)
    assert activator.count("kotatsu_activator_active") == 1
    monkeypatch.setattr(activity, "BUSY_FOR", 0.0)
    assert activator.count("kotatsu_activator_active") == 0
    assert activator.count("kotatsu_activator_spliced") == 1
    await one(reader, writer)  # what it says next passes at once


async def test_the_last_byte_is_remembered_when_its_connection_has_gone(activator):
    name = "kotatsu_activator_last_activity_timestamp_seconds"
    await activator.new_pod(ready=True)
    assert activator.count(name) == 0
    await activator.ask()
    await eventually(lambda: activator.connections.busy == 0)
    assert 0 <= time.time() - activator.count(name) < 5


@pytest.mark.parametrize(
    "of", [pool("Warm", **BY_ACTIVATOR), pool("Parked")], ids=["warm", "parked"]
)
async def test_a_probe_reaches_a_pod_announces_nothing_and_keeps_nobody_awake(activator, of):
    activator.see("Service", service())
    activator.see("WarmPool", of)
    made = await activator.new_pod(of=Keeper, ready=True)
    assert (await activator.ask(PROBE)).endswith(b"ok")
    assert made.requests == [b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n"]
    assert activator.kube.writes == []
    assert activator.count("kotatsu_activator_active") == 0
    assert activator.count("kotatsu_activator_last_activity_timestamp_seconds") == 0


async def test_what_follows_a_probe_that_cannot_be_the_last_of_its_connection_counts(activator):
    """A client of Java asks for HTTP/2 with the first request of a connection."""
    await activator.new_pod(of=Keeper, ready=True)
    upgrade = b"GET /healthz HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    reader, writer = await activator.send(b"")
    await one(reader, writer, upgrade)
    await one(reader, writer)
    assert activator.count("kotatsu_activator_active") == 1
    assert activator.count("kotatsu_activator_last_activity_timestamp_seconds") > 0


@pytest.mark.parametrize("phase", ["Draining", "Asleep"])
async def test_a_probe_of_any_other_is_answered_here(activator, phase):
    activator.see("WarmPool", pool(phase, **BY_ACTIVATOR))
    made = await activator.new_pod(of=Keeper, ready=True)
    assert await activator.ask(PROBE) == PROBE_OK
    assert made.requests == []


# --- on the way down ---


@pytest.mark.parametrize(
    ("how", "ends"), [(BY_ACTIVATOR, False), (BY_ACTIVATOR, True), ({"lacks": True}, False)]
)
async def test_what_a_quiet_connection_says_on_the_way_down_is_announced_first(
    activator, monkeypatch, how, ends
):
    """The operator has counted it as idle: unannounced, its pod could be taken from it."""
    monkeypatch.setattr(activity, "BUSY_FOR", 0.02)
    if how is not BY_ACTIVATOR:
        activator.see("Service", service())
        activator.see("WarmPool", pool("Warm", **how))
    made = await activator.new_pod(of=Keeper, ready=True)
    reader, writer = await activator.send(b"")
    await one(reader, writer)
    await asyncio.sleep(0.05)
    gate = activator.hold_announcements()
    activator.see("WarmPool", pool("Draining", **how))
    writer.write(GET)
    if ends:
        writer.write_eof()
    await activator.announced(1)
    await asyncio.sleep(0.05)
    assert made.requests == [GET]
    gate.release()
    await reader.readuntil(b"ok")
    assert len(made.requests) == 2


async def test_a_question_finds_a_quiet_connection_in_use_before_it_passes_on_what_it_says(
    activator, monkeypatch
):
    """Nothing is announced that a question from now on finds."""
    monkeypatch.setattr(activity, "BUSY_FOR", 0.02)
    activator.see("Pod", activator_pod())
    made = await activator.new_pod(of=Keeper, ready=True)
    reader, writer = await activator.send(b"")
    await one(reader, writer)
    activator.see("WarmPool", pool("Draining", **BY_ACTIVATOR))
    await activator.ask()
    await asyncio.sleep(0.05)
    active = []
    is_asked = feature.Context.is_asked.fget

    def noted(context):
        active.append(activator.count("kotatsu_activator_active"))
        return is_asked(context)

    monkeypatch.setattr(feature.Context, "is_asked", property(noted))
    await one(reader, writer)
    assert (active, len(activator.announcements), len(made.requests)) == ([1], 1, 3)


@pytest.mark.parametrize("why", ["the pool goes down", "its pod goes", "the activator ends"])
async def test_an_open_connection_is_ended_with_the_answer_to_its_next_request(activator, why):
    made = await activator.new_pod(of=Keeper, ready=True)
    reader, writer = await activator.send(b"")
    await one(reader, writer)
    if why == "the pool goes down":
        activator.see("WarmPool", pool("Draining", **BY_ACTIVATOR))
    elif why == "its pod goes":
        await activator.new_pod("voice-2", of=Keeper, ready=True)
        activator.see_pod(made, ready=True, terminating=True)
    else:
        activator.view.leaving = True
    writer.write(GET)
    assert (await reader.read()).endswith(b"ok")
    assert b"Connection: close" in made.requests[-1]


@pytest.mark.slow
async def test_twenty_keep_alive_clients_lose_nothing_over_ten_changes_of_the_pod(activator):
    """A plain uvicorn that knows nothing of all this, a client that never tries twice."""
    served = []

    async def app(scope, receive, send):
        if scope["type"] == "http":
            while (await receive()).get("more_body"):
                pass
            served.append(scope["query_string"])
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"ok"})

    class Server:
        def __init__(self, number):
            self.name = f"voice-{number}"
            config = uvicorn.Config(app, port=0, log_config=None, lifespan="off", ws="none")
            self.server = uvicorn.Server(config)
            self.server.capture_signals = contextlib.nullcontext  # they are pytest's
            self.task = activator.keep(asyncio.create_task(self.server.serve()))

        async def ready(self):
            await eventually(lambda: self.server.started)
            self.port = self.server.servers[0].sockets[0].getsockname()[1]
            activator.see_pod(self, ready=True)

        async def leave(self):
            activator.see_pod(self, ready=True, terminating=True)
            # Its preStop lasts until every connection has ended by itself.
            await eventually(lambda: not self.server.server_state.connections)
            self.server.should_exit = True
            await self.task

    stop, asked = False, 0

    async def client(number):
        nonlocal asked
        async with httpx.AsyncClient(trust_env=False, verify=NO_TLS) as http:
            while not stop:
                query = f"{number}.{asked}"
                asked += 1
                url = f"http://127.0.0.1:{activator.port}/?{query}"
                answer = await http.post(url, content=b"x")
                assert answer.text == "ok"
                await asyncio.sleep(0.01)

    current = Server(0)
    await current.ready()
    clients = [activator.keep(asyncio.create_task(client(number))) for number in range(20)]
    for number in range(1, 11):
        following = Server(number)
        await following.ready()
        await eventually(lambda number=number: asked > 31 * number)
        await current.leave()
        current = following
    stop = True
    await asyncio.gather(*clients)
    await current.leave()
    assert asked > 300
    assert len(served) == len(set(served)) == asked


# --- those who do not come to the point ---


async def test_connections_that_say_nothing_are_bounded_and_push_nobody_out(activator, monkeypatch):
    monkeypatch.setattr(connections, "MOST_SILENT", 5)
    activator.hold_at_most(2)
    activator.see("WarmPool", pool("Warm", **BY_ACTIVATOR))
    await activator.new_pod(of=Keeper, ready=True)
    silent = [(await activator.send(b""))[0] for _ in range(8)]
    await eventually(lambda: sum(c.transport is None for c in activator.clients) == 3)
    assert [await reader.read() for reader in silent[:3]] == [b""] * 3
    reader, writer = await activator.send(b"")
    await one(reader, writer)


# --- pods that go with the next step down ---


MARKED_USES = "kotatsu_activator_marked_pod_connections"


def mark(activator, made, *, marked=True):
    """Let the watch tell of the operator's mark."""
    obj = pod(made.name, port=made.port, ready=True, readinessProbe=READYZ)
    obj["metadata"]["annotations"] = {COST: MARK} if marked else {}
    activator.see("Pod", obj)


async def test_a_marked_pod_gets_no_new_connection_unless_no_other_answers(activator):
    first, second = [await activator.new_pod(f"voice-{n}", of=Keeper, ready=True) for n in (1, 2)]
    mark(activator, first)
    for _ in range(3):
        await one(*await activator.send(b""))
    assert (len(first.requests), len(second.requests)) == (0, 3)
    activator.see("Pod", pod("voice-2"), "DELETED")
    await one(*await activator.send(b""))
    assert len(first.requests) == 1


async def test_a_kept_connection_to_a_marked_pod_ends_with_its_next_request(activator):
    made = await activator.new_pod(of=Keeper, ready=True)
    reader, writer = await activator.send(b"")
    await one(reader, writer)
    mark(activator, made)
    await one(reader, writer)
    assert b"Connection: close" not in made.requests[0]
    assert b"Connection: close" in made.requests[1]


async def test_connections_in_use_to_marked_pods_are_told_and_those_in_progress(
    activator, monkeypatch
):
    monkeypatch.setattr(activity, "BUSY_FOR", 0.0)
    made = await activator.new_pod(of=Keeper, ready=True)
    assert activator.count(MARKED_USES, pod="voice-1") is None
    mark(activator, made)
    assert activator.count(MARKED_USES, pod="voice-1") == 0
    await one(*await activator.send(b""))
    assert activator.count(MARKED_USES, pod="voice-1") == 0, "it is idle"
    long = await activator.new_pod("voice-2")
    mark(activator, long)
    activator.see("Pod", pod("voice-1"), "DELETED")
    reader, _ = await activator.send(LONG)
    await reader.readuntil(b"\r\n\r\n")
    assert activator.count(MARKED_USES, pod="voice-2") == 1
    activator.connections._load["uid-voice-2"] += 1  # one that is being connected
    assert activator.count(MARKED_USES, pod="voice-2") == 2
    activator.connections._load["uid-voice-2"] -= 1
    mark(activator, long, marked=False)
    assert activator.count(MARKED_USES, pod="voice-2") is None
