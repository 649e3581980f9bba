"""The activator as a whole: it watches, publishes, wakes, and leaves in order."""

import asyncio
import logging
from functools import partial

import pytest
from prometheus_client import generate_latest

from kotatsu_operator.activator import app, publisher
from kotatsu_operator.activator.connections import Connections
from tests.operator.activator.in_process import ME
from tests.operator.activator.running import ASLEEP, RunningActivator
from tests.operator.cluster import (
    activator_pod,
    deployment,
    eventually,
    native_slice,
    pool_view,
    service,
    warm_pool,
)

pytestmark = pytest.mark.timeout(60)

NATIVE = native_slice(True)["metadata"]["name"]


def series(registry):
    """The names of all that is told of the pool voice."""
    found = (s for family in registry.collect() for s in family.samples)
    return {s.name for s in found if s.labels.get("name") == "voice"}


@pytest.fixture
async def running(monkeypatch):
    """In a namespace with one sleeping pool."""
    monkeypatch.setattr(app, "QUIET_FOR", 0.05)
    asleep = warm_pool(status=ASLEEP), deployment(replicas=0), service()
    read = partial(pool_view, settle=0.05)
    running = RunningActivator(ME, activator_pod(), *asleep, read=read)
    yield running
    await running.close()


async def test_a_request_to_a_sleeping_pool_is_answered_by_the_pod_it_wakes(running):
    await running.start()
    await running.pods_start_when_raised()
    answers = await asyncio.gather(*(running.ask() for _ in range(10)))
    assert set(answers) == {b"warm"}
    assert len(running.kube.called("raise_scale")) == 1


async def test_no_secret_of_a_request_is_in_a_log_or_a_metric(running, caplog):
    secret = b"demo-canary-0123456789"
    caplog.set_level(logging.DEBUG)
    await running.start()
    await running.pods_start_when_raised()
    for request in (
        b"GET /token?code=%b HTTP/1.1\r\nAuthorization: %b\r\n\r\n" % (secret, secret),
        b"GET /token?code=%b HTTP/9.9\r\nbroken\r\n\r\n" % secret,
        b"%b\r\n\r\n" % secret,
    ):
        await running.ask(request=request)
    assert running.kube.called("raise_scale")
    assert caplog.messages
    assert secret.decode() not in caplog.text
    assert secret not in generate_latest(running.registry)


async def test_a_pool_is_counted_from_0_on_before_anybody_comes(running):
    await running.start()
    for reason in ("full", "timeout", "budget"):
        assert running.count("kotatsu_activator_refused_total", reason=reason) == 0
    assert running.count("kotatsu_activator_wakes_total") == 0
    await running.pods_start_when_raised()
    await running.ask()
    assert running.count("kotatsu_activator_wakes_total") == 1
    assert running.count("kotatsu_activator_wake_duration_seconds_count") == 1
    assert running.count("kotatsu_activator_splice_bytes_total", direction="up") > 0


async def test_pools_on_which_another_one_depends_are_raised_before_it(running):
    running.kube.put(warm_pool("auth", status=ASLEEP))
    running.kube.put(deployment("auth", replicas=0))
    running.kube.edit("WarmPool", "voice", spec={"dependsOn": ["auth", "no-such-pool"]})
    await running.start()
    asking = asyncio.create_task(running.ask())
    await eventually(lambda: running.kube.called("raise_scale"))
    await asyncio.sleep(0.1)
    assert running.kube.called("raise_scale") == [("raise_scale", "auth")]
    await running.pods_start_when_raised()
    running.kube.edit("WarmPool", "voice", spec={"dependsOn": ["no-such-pool"]})
    assert (await asking).endswith(b"warm")


async def test_it_is_not_ready_before_it_has_read_the_cluster_and_published(running):
    assert running.activator.why_not_ready() == "still reading the cluster"
    running.kube.on("create", OSError("no"))
    running.run()
    await eventually(lambda: running.kube.called("create"))
    assert running.activator.why_not_ready() == "some slices are not published yet"
    running.kube.on("create", None)
    await eventually(lambda: not running.activator.why_not_ready())
    assert running.slice()["endpoints"]


async def test_nothing_is_published_before_every_kind_has_been_listed(running):
    gate = asyncio.Event()

    async def wait(kind):
        if kind == "Pod":
            await gate.wait()

    running.kube.on("follow", wait)
    running.run()
    await eventually(lambda: running.activator.rooms)
    await eventually(lambda: len(running.activator.rooms["demo"].view.synced) == 5)
    await asyncio.sleep(0.02)
    assert running.kube.writes == []
    gate.set()
    await eventually(lambda: not running.activator.why_not_ready())
    assert running.slice()["endpoints"]


async def test_a_watch_that_fails_for_good_ends_the_process(running):
    """Rather that than to go on with a view of the past."""

    def fail(kind):
        if kind == "Pod":
            raise RuntimeError("nobody foresaw this")

    running.kube.on("follow", fail)
    running.run()
    with pytest.raises(RuntimeError, match="nobody foresaw this"):
        async with asyncio.timeout(5):
            await running.task


async def test_a_pod_is_used_at_once_though_the_publisher_waits_for_the_api_server(running):
    await running.start()
    await running.pods_start_when_raised()
    never = asyncio.Event()
    running.kube.on("replace", lambda *_: never.wait())
    running.edit("demo", route={"epoch": 2})
    await eventually(lambda: running.kube.called("replace"))
    assert (await running.ask()).endswith(b"warm")


async def test_it_says_that_it_ends_before_it_deletes_its_slices(running):
    await running.start()
    running.stop.set()
    await eventually(lambda: not running.slice()["endpoints"][0]["conditions"]["ready"])
    assert running.slice()["endpoints"][0]["conditions"]["serving"]
    assert running.activator.why_not_ready() == "ending"
    running.kube.put(native_slice(True))
    await running.task
    assert [s["metadata"]["name"] for s in running.kube.all("EndpointSlice")] == [NATIVE]
    assert running.kube.writes[-1] == "delete"


@pytest.mark.parametrize("is_joined", [False, True])
async def test_it_finishes_what_it_holds_or_has_joined_to_a_pod_before_it_ends(running, is_joined):
    await running.start()
    running.answering.clear()
    if is_joined:
        await running.pods_start_when_raised()
    waiting = asyncio.create_task(running.ask())
    await eventually(lambda: running.kube.called("raise_scale"))
    running.stop.set()
    await asyncio.sleep(0.1)
    assert not running.task.done()
    if not is_joined:
        running.kube.edit("Deployment", "voice", spec={"replicas": 0})
        await running.pods_start_when_raised()
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


async def test_connections_are_looked_after_once_in_a_while(running, monkeypatch):
    monkeypatch.setattr(app, "PATIENCE", 0.0)
    monkeypatch.setattr(app, "SWEEP_EVERY", 0.01)
    looked = asyncio.Event()
    monkeypatch.setattr(Connections, "look_after", lambda self: looked.set())
    await running.start()
    await running.pods_start_when_raised()
    await running.ask()
    running.kube.put(native_slice(True))
    async with asyncio.timeout(5):
        await looked.wait()


async def test_a_deleted_pools_series_are_dropped_with_its_last_listener(running, monkeypatch):
    monkeypatch.setattr(app, "SWEEP_EVERY", 0.01)
    monkeypatch.setattr(publisher, "PORT_REST", 0.0)
    await running.start()
    await running.pods_start_when_raised()
    await running.ask()
    assert series(running.registry)
    running.kube.put(native_slice(True))
    running.kube.remove("WarmPool", "voice")
    await eventually(lambda: not series(running.registry))
