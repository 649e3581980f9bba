"""The activator as a whole: it watches, publishes, wakes, and leaves in order."""

import asyncio
import logging
from unittest.mock import Mock

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from kotatsu_operator.activator import app, publisher
from kotatsu_operator.activator.app import Activator
from kotatsu_operator.activator.connections import Connections
from kotatsu_operator.activator.metrics import ActivatorMetrics
from kotatsu_operator.activator.pool import PodIdentity
from kotatsu_operator.activator.slices import slice_name
from tests.operator.cluster import (
    FakeKube,
    activator_pod,
    deployment,
    eventually,
    native_slice,
    pod,
    service,
    warm_pool,
)

pytestmark = pytest.mark.timeout(60)

ME = PodIdentity("demo", "activator-1", "uid-activator-1", ("127.0.0.1",), "node-a")
NATIVE = native_slice(True)["metadata"]["name"]
NAME = slice_name("voice", ME, "IPv4")
ACCEPTED = [{"type": "Accepted", "status": "True"}]
ASLEEP = {
    "phase": "Asleep",
    "route": {"target": "Activator", "epoch": 1},
    "conditions": ACCEPTED,
}


class RunningActivator:
    """A running activator in a namespace with one sleeping pool."""

    def __init__(self):
        self.kube = FakeKube(
            warm_pool(status=ASLEEP), deployment(replicas=0), service(), activator_pod()
        )
        self.registry = CollectorRegistry()
        self.activator = Activator(self.kube, ME, ActivatorMetrics(self.registry))
        self.stop = asyncio.Event()
        self.task = None
        self.pod_server = None
        self.writers = []
        self.answering = asyncio.Event()
        self.answering.set()

    async def start(self, drain_timeout=10.0):
        self.task = asyncio.create_task(self.activator.run(self.stop, drain_timeout))
        await eventually(lambda: not self.activator.why_not_ready())

    async def answer(self, reader, writer):
        self.writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        await self.answering.wait()
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nwarm")
        writer.close()

    async def pod_starts_when_raised(self):
        self.pod_server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        port = self.pod_server.sockets[0].getsockname()[1]
        self.kube.on("raise_scale", lambda _: self.kube.put(pod(port=port, ready=True)))

    @property
    def room(self):
        return self.activator.rooms["demo"]

    @property
    def slice(self):
        return self.kube.stored("EndpointSlice", NAME)

    async def ask(self, request=b"GET / HTTP/1.1\r\n\r\n"):
        port = self.slice["ports"][0]["port"]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self.writers.append(writer)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer

    async def close(self):
        for writer in self.writers:
            writer.transport.abort()
        if self.pod_server is not None:
            self.pod_server.close()
        if self.task is not None and not self.task.done():
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        for record in self.room.publisher.published.values():
            for listener in record.listeners:
                listener.server.close()
        await asyncio.sleep(0.01)


def series(registry):
    """The names of all that is told of the pool voice."""
    found = (s for family in registry.collect() for s in family.samples)
    return {s.name for s in found if s.labels.get("name") == "voice"}


@pytest.fixture
async def running(monkeypatch):
    monkeypatch.setattr(app, "QUIET_FOR", 0.05)
    running = RunningActivator()
    yield running
    await running.close()


async def test_a_request_to_a_sleeping_pool_is_answered_by_the_pod_it_wakes(running):
    await running.start()
    await running.pod_starts_when_raised()
    answers = await asyncio.gather(*(running.ask() for _ in range(10)))
    assert {a.partition(b"\r\n\r\n")[2] for a in answers} == {b"warm"}
    assert len(running.kube.called("raise_scale")) == 1


async def test_no_secret_of_a_request_is_in_a_log_or_a_metric(running, caplog):
    secret = b"demo-canary-0123456789"
    caplog.set_level(logging.DEBUG)
    await running.start()
    await running.pod_starts_when_raised()
    for request in (
        b"GET /token?code=%b HTTP/1.1\r\nAuthorization: %b\r\n\r\n" % (secret, secret),
        b"GET /token?code=%b HTTP/9.9\r\nbroken\r\n\r\n" % secret,
        b"%b\r\n\r\n" % secret,
    ):
        await running.ask(request)
    assert running.kube.called("raise_scale")
    assert caplog.messages
    assert secret.decode() not in caplog.text
    assert secret not in generate_latest(running.registry)


async def test_a_pool_is_counted_from_0_on_before_anybody_comes(running):
    def count(name, **labels):
        return running.registry.get_sample_value(
            name, {"namespace": "demo", "name": "voice", **labels}
        )

    await running.start()
    for reason in ("full", "timeout", "budget"):
        assert count("kotatsu_activator_refused_total", reason=reason) == 0
    assert count("kotatsu_activator_wakes_total") == 0
    await running.pod_starts_when_raised()
    await running.ask()
    assert count("kotatsu_activator_wakes_total") == 1
    assert count("kotatsu_activator_wake_duration_seconds_count") == 1
    assert count("kotatsu_activator_splice_bytes_total", direction="up") > 0


async def test_pools_on_which_another_one_depends_are_raised_before_it(running):
    accepted = {"conditions": [{"type": "Accepted", "status": "True"}]}
    running.kube.put(warm_pool("auth", status=ASLEEP | accepted))
    running.kube.put(deployment("auth", replicas=0))
    needs = {"dependsOn": ["auth", "no-such-pool"]}
    running.kube.edit("WarmPool", "voice", spec=needs, status=accepted)
    await running.start()
    asking = asyncio.create_task(running.ask())
    await eventually(lambda: running.kube.called("raise_scale"))
    await asyncio.sleep(0.1)
    assert running.kube.called("raise_scale") == [("raise_scale", "auth")]
    await running.pod_starts_when_raised()
    running.kube.edit("WarmPool", "voice", spec={"dependsOn": ["no-such-pool"]})
    assert (await asking).endswith(b"warm")


async def test_it_is_not_ready_before_it_has_read_the_namespace_and_published(running):
    assert running.activator.why_not_ready() == "still reading the namespace"
    running.kube.on("create", Mock(side_effect=OSError("no")))
    running.task = asyncio.create_task(running.activator.run(running.stop, 1.0))
    await eventually(lambda: running.kube.called("create"))
    assert running.activator.why_not_ready() == "some slices are not published yet"
    running.kube.on("create", None)
    await eventually(lambda: not running.activator.why_not_ready())
    assert running.slice["endpoints"]


async def test_nothing_is_published_before_every_kind_has_been_listed(running):
    gate = asyncio.Event()

    async def wait(kind):
        if kind == "Pod":
            await gate.wait()

    running.kube.on("follow", wait)
    running.task = asyncio.create_task(running.activator.run(running.stop, 1.0))
    await eventually(lambda: len(running.room.view.synced) == 5)
    await asyncio.sleep(0.02)
    assert running.kube.writes == []
    gate.set()
    await eventually(lambda: not running.activator.why_not_ready())
    assert running.slice["endpoints"]


async def test_a_watch_that_fails_for_good_ends_the_process(running):
    """Rather that than to go on with a view of the past."""

    def fail(kind):
        if kind == "Pod":
            raise RuntimeError("nobody foresaw this")

    running.kube.on("follow", fail)
    running.task = asyncio.create_task(running.activator.run(running.stop, 1.0))
    with pytest.raises(RuntimeError, match="nobody foresaw this"):
        async with asyncio.timeout(5):
            await running.task


async def test_a_pod_is_used_at_once_though_the_publisher_waits_for_the_api_server(running):
    await running.start()
    await running.pod_starts_when_raised()
    never = asyncio.Event()
    running.kube.on("replace", lambda *_: never.wait())
    running.kube.edit("WarmPool", "voice", status={"route": {"epoch": 2}})
    await eventually(lambda: running.kube.called("replace"))
    assert (await running.ask()).endswith(b"warm")


async def test_it_says_that_it_ends_before_it_deletes_its_slices(running):
    await running.start()
    running.stop.set()
    await eventually(lambda: not running.slice["endpoints"][0]["conditions"]["ready"])
    assert running.slice["endpoints"][0]["conditions"]["serving"]
    assert running.activator.why_not_ready() == "ending"
    running.kube.put(native_slice(True))
    await running.task
    assert [s["metadata"]["name"] for s in running.kube.all("EndpointSlice")] == [NATIVE]
    assert running.kube.writes[-1] == "delete"


async def test_it_finishes_what_it_holds_before_it_ends(running):
    await running.start()
    waiting = asyncio.create_task(running.ask())
    await eventually(lambda: running.kube.called("raise_scale"))
    running.stop.set()
    await asyncio.sleep(0.1)
    assert not running.task.done()
    running.kube.edit("Deployment", "voice", spec={"replicas": 0})
    await running.pod_starts_when_raised()
    assert (await waiting).endswith(b"warm")
    running.kube.put(native_slice(True))
    await running.task


async def test_it_finishes_what_it_has_joined_to_a_pod_before_it_ends(running):
    await running.start()
    await running.pod_starts_when_raised()
    running.answering.clear()
    waiting = asyncio.create_task(running.ask())
    await eventually(lambda: running.writers and running.kube.called("raise_scale"))
    running.stop.set()
    await asyncio.sleep(0.1)
    assert not running.task.done()
    running.answering.set()
    assert (await waiting).endswith(b"warm")
    running.kube.put(native_slice(True))
    await running.task


async def test_it_ends_at_the_latest_after_the_drain_timeout(running):
    await running.start(drain_timeout=0.2)
    waiting = asyncio.create_task(running.ask())
    await eventually(lambda: running.kube.called("raise_scale"))
    running.stop.set()
    async with asyncio.timeout(5):
        await running.task
    assert running.kube.all("EndpointSlice") == []
    waiting.cancel()


@pytest.mark.parametrize(
    ("query", "noted"),
    [
        ("name[]=kotatsu_activator_held&looks=", set()),
        ("looks=voice&looks=web", {"voice"}),
        ("looks=web", set()),
        ("name[]=kotatsu_activator_held", {"voice", "feed"}),
        ("", {"voice", "feed"}),
    ],
    ids=["about none", "about this", "about another", "an older operator", "Prometheus"],
)
async def test_a_question_counts_for_the_pools_it_names_or_for_all(running, query, noted):
    for name in ("voice", "feed"):
        running.room._connections(name)._announcements._asked = False
    running.activator.asked(query)
    assert noted == {n for n, c in running.room.connections.items() if c._announcements._asked}


async def test_connections_are_looked_after_once_in_a_while(running, monkeypatch):
    monkeypatch.setattr(app, "PATIENCE", 0.0)
    monkeypatch.setattr(app, "SWEEP_EVERY", 0.01)
    looked = asyncio.Event()
    monkeypatch.setattr(Connections, "look_after", lambda self: looked.set())
    await running.start()
    await running.pod_starts_when_raised()
    await running.ask()
    running.kube.put(native_slice(True))
    async with asyncio.timeout(5):
        await looked.wait()


async def test_a_deleted_pools_series_are_dropped_with_its_last_listener(running, monkeypatch):
    monkeypatch.setattr(app, "SWEEP_EVERY", 0.0)
    monkeypatch.setattr(publisher, "PORT_REST", 0.0)
    await running.start()
    await running.pod_starts_when_raised()
    await running.ask()
    assert series(running.registry)
    running.kube.put(native_slice(True))
    running.kube.remove("WarmPool", "voice")
    await eventually(lambda: not series(running.registry))
