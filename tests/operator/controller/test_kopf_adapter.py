"""kopf's events go into the cache and touch the pools they concern; against an API server mock."""

import asyncio
import contextlib
import itertools
import json

import aiohttp
import pytest
import yaml
from rows import each

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.kopf_adapter import (
    BLIND_AFTER,
    MissedEvents,
    PoolWatch,
    operator_settings,
)
from kotatsu_operator.kube.client import PAGE
from tests.operator.cluster import FakeKube, eventually, warm_pool

pytestmark = pytest.mark.timeout(60)

POOLS = "kotatsu.dev/v1beta1/warmpools"
KINDS = {POOLS: "WarmPool"}
KOPFS_OWN = {
    "v1/namespaces": "Namespace",
    "v1/events": "Event",
    "apiextensions.k8s.io/v1/customresourcedefinitions": "CustomResourceDefinition",
}
"""What kopf looks for before it begins; every cluster has them."""
VOICE, FEED = ("demo", "voice"), ("demo", "feed")


class Touches:
    """A planner that notes who is touched."""

    def __init__(self):
        self.keys = []

    def touch(self, key):
        self.keys.append(key)


class Cluster:
    """A mocked API server, and kopf with our handlers connected to it."""

    def __init__(self, kmock):
        self.kmock = kmock
        self.version = 0
        self.cache = Cache()
        self.touches = Touches()
        self.gone = []
        self.watch = PoolWatch(FakeKube(), ["demo"], self.cache, self.touches.touch, self._is_gone)
        for resource, kind in (KINDS | KOPFS_OWN).items():
            kmock.resources[resource] = {
                "kind": kind,
                "singular": kind.lower(),
                "namespaced": kind not in ("Namespace", "CustomResourceDefinition"),
                "verbs": ["get", "list", "watch", "patch", "create", "delete"],
                "shortnames": [],
                "categories": [],
                "subresources": [],
            }

    def seed(self, kind, obj):
        """Something that was there before."""
        self.version += 1
        obj["metadata"] |= {"resourceVersion": str(self.version)}
        obj["metadata"].setdefault("uid", f"uid-{obj['metadata']['name']}")
        self.kmock.objects[kind, "demo", obj["metadata"]["name"]] = obj

    async def kubectl(self, method, kind, obj, name=""):
        """Somebody changes something."""
        self.version += 1
        obj.get("metadata", {})["resourceVersion"] = str(self.version)
        version, _, plural = kind.rpartition("/")
        url = f"/apis/{version}/namespaces/demo/{plural}" + (f"/{name}" if name else "")
        async with (
            aiohttp.ClientSession(str(self.kmock.url)) as session,
            session.request(method, url, json=obj) as response,
        ):
            response.raise_for_status()

    async def create(self, kind, obj):
        obj["metadata"].setdefault("uid", f"uid-{obj['metadata']['name']}")
        await self.kubectl("POST", kind, obj)

    async def change(self, kind, name, **fields):
        await self.kubectl("PATCH", kind, {"metadata": {}, **fields}, name)

    async def delete(self, kind, name):
        await self.kubectl("DELETE", kind, {}, name)

    async def _is_gone(self, pool):
        self.gone.append(pool["metadata"]["name"])

    @contextlib.asynccontextmanager
    async def watched(self):
        stop = asyncio.Event()
        running = asyncio.create_task(self.watch.run("test", stop))
        try:
            await eventually(lambda: self.watch.has_begun)
            yield
        finally:
            stop.set()
            await asyncio.gather(running, return_exceptions=True)

    async def touched(self, *keys):
        """Wait until exactly these pools have been touched since the last time."""
        await eventually(lambda: set(keys) <= set(self.touches.keys))
        assert set(self.touches.keys) == set(keys)
        self.touches.keys.clear()


@pytest.fixture
def cluster(kmock, tmp_path, monkeypatch):
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "mock",
        "contexts": [{"name": "mock", "context": {"cluster": "mock", "user": "mock"}}],
        "clusters": [{"name": "mock", "cluster": {"server": str(kmock.url)}}],
        "users": [{"name": "mock", "user": {}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(path))
    made = Cluster(kmock)
    made.seed(POOLS, warm_pool("voice"))
    made.seed(POOLS, warm_pool("feed"))
    return made


async def test_every_pool_there_is_is_shown(cluster):
    async with cluster.watched():
        await cluster.touched(VOICE, FEED)
    assert cluster.watch.shown == {"pool-voice", "pool-feed"}


async def test_a_pool_that_has_been_listed_is_shown_and_looked_at_by_nobody(cluster):
    cluster.cache.keep_pool(cluster.kmock.objects[POOLS, "demo", "voice"])
    async with cluster.watched():
        await eventually(lambda: len(cluster.watch.shown) == 2)
        await cluster.touched(FEED)


@contextlib.asynccontextmanager
async def calm(cluster):
    """A watched cluster whose pools have all been looked at. (kopf would end a fixture's task.)"""
    async with cluster.watched():
        await cluster.touched(VOICE, FEED)
        await asyncio.sleep(0.2)
        cluster.touches.keys.clear()
        yield cluster


async def test_a_pool_that_changes_is_looked_at(cluster):
    async with calm(cluster):
        await cluster.change(POOLS, "voice", spec={"suspend": True})
        await cluster.touched(VOICE)
        assert cluster.cache.pools[VOICE]["spec"]["suspend"]


async def test_of_a_pool_only_the_used_fields_are_kept(cluster):
    async with calm(cluster):
        meta = {"annotations": {"of/others": "x" * 250_000}, "labels": {"team": "pet"}}
        await cluster.kubectl("PATCH", POOLS, {"metadata": meta}, "voice")
        await cluster.touched(VOICE)
        assert len(json.dumps(cluster.cache.pools[VOICE])) < 1000


def test_kopf_holds_few_objects_at_a_time():
    """An object can have 1.5 MB."""
    settings = operator_settings()
    assert settings.watching.chunk_size == PAGE
    assert settings.queueing.idle_timeout <= 0.1


async def test_what_is_known_already_is_looked_at_by_nobody(cluster):
    """A write of ours comes back: the answer to it has been kept, and is no news."""
    async with calm(cluster):
        written = {**cluster.cache.pools[VOICE], "status": {"phase": "Warm"}}
        written["metadata"] = {**written["metadata"], "resourceVersion": "100"}
        cluster.cache.keep_pool(written)
        await cluster.change(POOLS, "voice", status={"phase": "Warm"})
        await cluster.change(POOLS, "feed", spec={"suspend": True})
        await cluster.touched(FEED)


async def test_a_deleted_pool_is_forgotten_told_of_and_looked_at_a_last_time(cluster):
    async with calm(cluster):
        await cluster.delete(POOLS, "voice")
        await cluster.touched(VOICE)
        assert cluster.gone == ["voice"]
        assert cluster.watch.shown == {"pool-feed"}
        assert list(cluster.cache.pools) == [FEED]


async def test_nothing_is_written_to_what_is_watched(cluster):
    async with cluster.watched():
        await cluster.touched(VOICE, FEED)
    assert {request.method.value for request in cluster.kmock} <= {"GET"}


def test_no_watch_is_trusted_for_long():
    """A stream can go silent without closing (kopf issues 585, 810, 847, 860)."""
    settings = operator_settings()
    assert 0 < settings.watching.server_timeout < settings.watching.client_timeout <= 600
    assert 0 < settings.watching.inactivity_timeout <= 30
    assert not settings.posting.enabled


def test_the_api_server_is_asked_again_soon_however_long_it_was_away():
    """Each request counts its tries anew, and none of them is the last."""
    backoffs = operator_settings().networking.error_backoffs
    for _ in range(2):
        tries = list(itertools.islice(iter(backoffs), 1000))
        assert len(tries) == 1000
        assert max(tries) <= 2


# --- what kopf has missed ---


PAGE_OF = [str(n) for n in range(100)]


@each(
    "why, comparisons, is_blind",
    [
        ("it has its time to show them", ["ab"] * (BLIND_AFTER - 1), False),
        ("and is blind after it", ["ab"] * BLIND_AFTER, True),
        ("also if there are new ones", ["abcdefghij"[: 2 + n] for n in range(BLIND_AFTER)], True),
        ("not if it shows thousands little by little", [PAGE_OF[n:] for n in range(99)], False),
        ("when it has shown all, its time begins anew", [*["a"] * (BLIND_AFTER - 1), "", "b"],
         False),
        ("one that stops half way is", ["abc", "bc", *["c"] * BLIND_AFTER], True),
    ],
)  # fmt: skip
def test_a_watch_is_blind_if_it_does_not_show_what_the_lists_have(why, comparisons, is_blind):
    found = MissedEvents()
    for uids in comparisons:
        found = found.after(set(uids))
    assert found.is_blind is is_blind, why


@pytest.fixture
def compared():
    """A watch of pools whose events the test sends, and the keys that it touches."""
    touches, cache = Touches(), Cache()

    async def gone(_):
        pass

    return PoolWatch(FakeKube(), ["demo"], cache, touches.touch, gone), cache, touches


def test_a_pool_that_the_list_does_not_have_any_more_is_forgotten(compared):
    watch, cache, touches = compared
    cache.keep_pool(warm_pool("voice"))
    assert watch.compare("demo", watch.known("demo"), set())
    assert (list(cache.pools), touches.keys) == ([], [VOICE])


def test_a_pool_that_is_created_after_the_list_is_not_taken_for_a_deleted_one(compared):
    watch, cache, touches = compared
    before = watch.known("demo")
    cache.keep_pool(warm_pool("voice"))
    assert watch.compare("demo", before, set())
    assert (list(cache.pools), touches.keys) == ([VOICE], [])


def test_a_pool_that_is_created_again_under_its_name_meanwhile_stays(compared):
    watch, cache, touches = compared
    cache.keep_pool(warm_pool("voice"))
    before = watch.known("demo")
    cache.keep_pool(warm_pool("voice", uid="another"))
    assert watch.compare("demo", before, set())
    assert (list(cache.pools), touches.keys) == ([VOICE], [])
