"""Each way in which the watch of WarmPools can end or hang, with kopf itself, over HTTP.

All times are a fortieth of what they are.
"""

import asyncio
import contextlib
import json
import os
import signal
import time

import pytest
import yaml

from kotatsu_operator.controller import kopf_adapter, pool_watch
from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.pool_watch import PoolWatch
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.runtime import loop as loop_module
from tests.operator.cluster import VOICE, eventually, served, warm_pool
from tests.operator.kube.test_client import connected

pytestmark = pytest.mark.timeout(60)

FACTOR = 1 / 40
SERVER = kopf_adapter.WATCH_SECONDS * FACTOR
"""Seconds until the API server ends a watch."""
CLIENT = SERVER + kopf_adapter.LATE_SECONDS * FACTOR
"""Seconds until kopf ends one that the API server does not end."""
FORMER = 30 * FACTOR
"""Seconds without an event after which kopf ended one once (`inactivity_timeout`)."""


def _kind(plural, kind):
    verbs = ["get", "list", "watch", "patch", "create", "delete"]
    return {"name": plural, "kind": kind, "singularName": kind.lower(), "namespaced": True,
            "verbs": verbs}  # fmt: skip


GROUPS = {
    "apiextensions.k8s.io": ("v1", _kind("customresourcedefinitions", "CustomResourceDefinition")),
    "kotatsu.dev": ("v1beta1", _kind("warmpools", "WarmPool")),
}
CORE = [_kind("namespaces", "Namespace"), _kind("events", "Event")]


class ApiServer:
    """An API server with WarmPools; `odd` has what it sends in the place of its next watches."""

    def __init__(self):
        self.pools, self.changes, self.version = {}, [], 0
        self.groups = dict(GROUPS)
        self.odd = []
        """Async generators that send what they want, one for each watch."""
        self.hides = False
        """Whether watches go on and show nothing new."""
        self.ends_in_time = True
        self.watches = 0
        self._news = asyncio.Event()

    def edit(self, name="voice", **spec):
        self.version += 1
        pool = self.pools[name] = warm_pool(name, **spec)
        pool["metadata"]["resourceVersion"] = str(self.version)
        self._note("MODIFIED", pool)

    def remove(self, name="voice"):
        self.version += 1
        pool = self.pools.pop(name)
        pool["metadata"]["resourceVersion"] = str(self.version)
        self._note("DELETED", pool)

    def _note(self, change, pool):
        self.changes.append((self.version, {"type": change, "object": pool}))
        self._news.set()
        self._news = asyncio.Event()

    def __call__(self, request):
        path = request.path
        if path == "/api":
            return 200, {"versions": ["v1"]}
        if path == "/api/v1":
            return 200, {"resources": CORE}
        if path == "/apis":
            return 200, {"groups": [_group(name, v) for name, (v, _) in self.groups.items()]}
        for name, (version, kind) in self.groups.items():
            if path == f"/apis/{name}/{version}":
                return 200, {"resources": [kind]}
        if not path.endswith("/warmpools") or "kotatsu.dev" not in self.groups:
            return 404, "404 page not found\n"
        if "watch" not in request.params:
            return self._list("PartialObjectMetadataList" in request.headers["Accept"])
        self.watches += 1
        if self.odd:
            return self.odd.pop(0)(self)
        return self._watch(
            int(request.params["resourceVersion"]), float(request.params["timeoutSeconds"])
        )

    def _list(self, is_metadata):
        meta = {"resourceVersion": str(self.version)}
        if not is_metadata:
            return 200, {"metadata": meta, "items": list(self.pools.values())}
        items = [{"metadata": _metadata(pool)} for pool in self.pools.values()]
        answer = {"kind": "PartialObjectMetadataList", "metadata": meta, "items": items}
        return 200, json.dumps(answer, separators=(",", ":"))

    async def _watch(self, since, seconds):
        clock = asyncio.get_running_loop().time
        until = clock() + seconds if self.ends_in_time else clock() + 3600
        while (left := until - clock()) > 0:
            news = self._news
            for version, change in list(self.changes) if not self.hides else ():
                if version > since:
                    since = version
                    yield _line(change)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), left)
        # The API server sends one before the end.
        if not self.hides:
            meta = {"resourceVersion": str(since)}
            yield _line({"type": "BOOKMARK", "object": {"kind": "WarmPool", "metadata": meta}})


def _group(name, version):
    return {"name": name, "versions": [{"version": version}],
            "preferredVersion": {"version": version}}  # fmt: skip


def _metadata(pool):
    """The uid and the version after each other, as the API server has them."""
    meta = pool["metadata"]
    return {key: meta[key] for key in ("name", "namespace", "uid", "resourceVersion")}


def _line(event):
    return json.dumps(event).encode() + b"\n"


class Watched:
    """An API server, and a watch of its pools."""

    def __init__(self, api, connection):
        self.api, self.cache, self.touches = api, Cache(served()), []
        self.restarts, self.gone = [], []
        self.signals = asyncio.Event()
        kube = Kube(connection, on_restart=lambda kind, times: self.restarts.extend([kind] * times))
        self.watch = PoolWatch(kube, self.cache, self.touches.append, self._is_gone)

    async def _is_gone(self, pool):
        self.gone.append(pool["metadata"]["name"])

    async def acts_on(self, **spec):
        """Edit a pool and wait until the edit has come."""
        self.api.edit(**spec)
        await self.has(**spec)

    async def has(self, **spec):
        await eventually(
            lambda: (
                VOICE in self.cache.pools
                and spec.items() <= self.cache.pools[VOICE]["spec"].items()
            )
        )

    async def restarted(self):
        await eventually(lambda: self.restarts)
        assert set(self.restarts) == {"WarmPool"}
        self.restarts.clear()

    async def is_well(self):
        """It shows everything, and goes on to do so."""
        await eventually(lambda: not self.watch.why_blind and not self.watch._must_restart)
        await self.shows(minReplicas=7)

    async def shows(self, **spec):
        """kopf itself shows an edit."""
        self.api.edit(**spec)
        await eventually(lambda: self.watch.shown.get("pool-voice") == self.api.version)


@pytest.fixture
async def watched(tmp_path, monkeypatch):
    monkeypatch.setattr(pool_watch, "COMPARE_SECONDS", pool_watch.COMPARE_SECONDS * FACTOR)
    monkeypatch.setattr(loop_module, "CHECK_SECONDS", loop_module.CHECK_SECONDS * FACTOR)
    monkeypatch.setattr(loop_module, "AGAIN_SECONDS", loop_module.AGAIN_SECONDS * FACTOR)
    made = kopf_adapter.operator_settings

    def quick():
        settings = made()
        for name in ("server_timeout", "client_timeout", "inactivity_timeout"):
            setattr(settings.watching, name, getattr(settings.watching, name) * FACTOR)
        return settings

    monkeypatch.setattr(kopf_adapter, "operator_settings", quick)
    api = ApiServer()
    api.edit()
    async with connected(api) as connection:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "mock",
            "contexts": [{"name": "mock", "context": {"cluster": "mock", "user": "mock"}}],
            "clusters": [{"name": "mock", "cluster": {"server": connection._server}}],
            "users": [{"name": "mock", "user": {}}],
        }
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        monkeypatch.setenv("KUBECONFIG", str(path))
        yield Watched(api, connection)


@contextlib.asynccontextmanager
async def following(watched, *, is_shown=True):
    """Run the watch beside the block. (It ends with the test: kopf has tasks of its own.)"""
    running = asyncio.create_task(watched.watch.run("test", watched.signals.set))
    try:
        await eventually(lambda: watched.watch.has_begun)
        if is_shown:
            await eventually(lambda: watched.watch.shown and watched.api.watches)
        yield running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def busy(seconds):
    """Use up the turns of the loop, as reconciles of other pools do."""
    for _ in range(8):
        time.sleep(seconds / 8)  # noqa: ASYNC251
        await asyncio.sleep(0)


PHASES = (0.5, 0.8, 0.9, 1.0)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("period", [SERVER, CLIENT, FORMER], ids=["server", "client", "former"])
async def test_an_event_in_a_busy_moment_at_any_phase_of_a_timeout_does_not_end_the_watch(
    watched, period, phase
):
    """kopf gives its own timeouts to whoever reads its events (decision 101)."""
    watched.api.ends_in_time = period == SERVER
    async with following(watched):
        await watched.shows(suspend=True)
        await asyncio.sleep(phase * period)
        watched.api.edit(suspend=False)
        await asyncio.sleep(0)
        await busy(0.4 * period)
        await watched.has(suspend=False)
        await watched.is_well()
        assert watched.restarts == []


def kopfs(name):
    """The tasks of kopf whose names begin so."""
    return [task for task in asyncio.all_tasks() if task.get_name().startswith(name)]


@pytest.mark.parametrize(
    "task",
    ["watcher for warmpools", "multidimensional multitasker", "resource observer", "kopf",
     "daemon killer", "worker for"],
)  # fmt: skip
async def test_a_task_that_is_canceled_by_whatever_runs_again(watched, task):
    async with following(watched):
        await eventually(lambda: watched.watch.shown)
        watched.api.edit(minReplicas=1)
        await eventually(lambda: kopfs(task))
        for one in kopfs(task):
            one.cancel()
        await watched.acts_on(suspend=True)
        await watched.is_well()


async def test_other_tasks_go_on_while_it_is_started_again(watched):
    """kopf would cancel all that were made after its own."""
    async with following(watched):
        other = asyncio.create_task(asyncio.Event().wait())
        kopfs("kopf")[0].cancel()
        await watched.restarted()
        await watched.is_well()
        assert not other.done()
        other.cancel()


async def test_a_signal_is_the_operators_also_after_it_was_started_again(watched):
    async with following(watched):
        kopfs("kopf")[0].cancel()
        await watched.restarted()
        await watched.is_well()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(watched.signals.wait(), 10)
        await watched.shows(suspend=True)


HALF = _line({"type": "MODIFIED", "object": warm_pool()})[:60]


async def silent(_):
    """The connection stays, and nothing comes."""
    await asyncio.sleep(3600)
    yield b""


async def half_an_object(_):
    yield HALF
    await asyncio.sleep(3600)


async def half_an_object_and_the_end(_):
    yield HALF


async def drop_by_drop(_):
    """An object that never ends."""
    while True:
        yield b'{"type":'
        await asyncio.sleep(0.05)


async def too_old(_):
    yield _line({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}})


async def broken(_):
    yield _line({"type": "ERROR", "object": {"kind": "Status", "code": 500, "reason": "Internal"}})


async def no_event(_):
    yield b"<html>\n"


async def another_shape(_):
    yield _line({"type": "MODIFIED", "object": 7})


ODD = (
    silent, half_an_object, half_an_object_and_the_end, drop_by_drop, too_old, broken, no_event,
    another_shape,
)  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
async def test_whatever_a_watch_says_an_edit_is_acted_on_and_it_is_well_again(watched, odd):
    async with following(watched):
        await eventually(lambda: watched.watch.shown)
        watched.api.odd = [odd] * 2
        await eventually(lambda: not watched.api.odd)
        await watched.acts_on(suspend=True)
        await watched.is_well()


async def test_what_an_api_server_never_shows_is_read_and_the_process_is_not_ready(watched):
    async with following(watched):
        await watched.shows(minReplicas=1)
        watched.api.hides = True
        await watched.acts_on(suspend=True)
        await watched.restarted()
        assert watched.watch.why_blind
        watched.api.hides = False
        await watched.is_well()


async def test_a_deletion_that_is_not_shown_is_acted_on(watched):
    async with following(watched):
        await watched.shows(minReplicas=1)
        watched.api.hides = True
        watched.api.remove()
        await eventually(lambda: watched.gone == ["voice"])
        assert not watched.cache.pools
        watched.api.hides = False
        watched.api.edit()
        await watched.is_well()


async def test_a_crd_that_is_created_later_is_found(watched):
    """kopf asks once which kinds there are, and waits."""
    group = watched.api.groups.pop("kotatsu.dev")
    async with following(watched, is_shown=False):
        await asyncio.sleep(0.1)
        watched.api.groups["kotatsu.dev"] = group
        await watched.has()
        await watched.restarted()
        await watched.is_well()


async def test_pools_that_change_all_the_time_raise_no_alarm(watched):
    async with following(watched):
        await watched.shows(minReplicas=1)
        until = asyncio.get_running_loop().time() + 8 * pool_watch.COMPARE_SECONDS
        while asyncio.get_running_loop().time() < until:
            watched.api.edit(minReplicas=2)
            await asyncio.sleep(0.002)
        assert watched.restarts == []
        assert not watched.watch.why_blind


async def test_pools_are_known_all_the_time_while_it_is_started_again(watched):
    async with following(watched):
        await eventually(lambda: watched.cache.pools)
        lost = []
        watched.cache.tell(lambda key, pool: lost.append(key) if pool is None else None)
        kopfs("kopf")[0].cancel()
        await watched.restarted()
        await watched.is_well()
        assert lost == []
        assert watched.watch.has_begun


async def test_kopf_that_does_not_end_ends_the_process(watched, monkeypatch):
    monkeypatch.setattr(loop_module, "END_SECONDS", 0.05)

    async def deaf(*_):
        while not watched.signals.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await watched.signals.wait()

    monkeypatch.setattr(kopf_adapter, "follow", deaf)
    running = asyncio.create_task(watched.watch.run("test", lambda: None))
    await asyncio.sleep(0.05)
    kopfs("kopf")[0].cancel()
    watched.watch._must_restart = True
    with pytest.raises(ExceptionGroup) as raised:
        await running
    assert isinstance(raised.value.exceptions[0], loop_module.StuckError)
    watched.signals.set()
    await asyncio.sleep(0)
