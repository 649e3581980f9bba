"""kopf's events go into the cache and touch the pools they concern; against an API server mock."""

import asyncio
import contextlib
import itertools
import json

import aiohttp
import pytest
import yaml

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.kopf_adapter import operator_settings
from kotatsu_operator.controller.pool_watch import PoolWatch
from tests.operator.cluster import FakeKube, eventually, served, warm_pool

pytestmark = pytest.mark.timeout(60)

POOLS = "kotatsu.dev/v1beta1/warmpools"
KINDS = {
    POOLS: "WarmPool",
    "v1/namespaces": "Namespace",
    "v1/events": "Event",
    "apiextensions.k8s.io/v1/customresourcedefinitions": "CustomResourceDefinition",
}
"""The pools, and what kopf looks for before it begins; every cluster has that."""
VOICE, FEED = ("demo", "voice"), ("demo", "feed")


def running_on():
    """No signal comes in tests."""


class Cluster:
    """A mocked API server, and kopf with our handlers connected to it."""

    def __init__(self, kmock):
        self.kmock = kmock
        self.version = 0
        self.cache = Cache(served())
        self.touches = []
        self.gone = []
        self.watch = PoolWatch(FakeKube(), self.cache, self.touches.append, self._is_gone)
        for resource, kind in KINDS.items():
            kmock.resources[resource] = {
                "kind": kind,
                "singular": kind.lower(),
                "namespaced": kind not in ("Namespace", "CustomResourceDefinition"),
                "verbs": ["get", "list", "watch", "patch", "create", "delete"],
                "shortnames": [],
                "categories": [],
                "subresources": [],
            }

    def seed(self, pool):
        """Something that was there before."""
        self.version += 1
        pool["metadata"] |= {"resourceVersion": str(self.version)}
        self.kmock.objects[POOLS, "demo", pool["metadata"]["name"]] = pool

    async def kubectl(self, method, name, obj):
        """Somebody changes a pool."""
        self.version += 1
        obj.get("metadata", {})["resourceVersion"] = str(self.version)
        url = f"/apis/kotatsu.dev/v1beta1/namespaces/demo/warmpools/{name}"
        async with (
            aiohttp.ClientSession(str(self.kmock.url)) as session,
            session.request(method, url, json=obj) as response,
        ):
            response.raise_for_status()

    async def change(self, name, **fields):
        await self.kubectl("PATCH", name, {"metadata": {}, **fields})

    async def _is_gone(self, pool):
        self.gone.append(pool["metadata"]["name"])

    @contextlib.asynccontextmanager
    async def watched(self):
        running = asyncio.create_task(self.watch.run("test", running_on))
        try:
            await eventually(lambda: self.watch.has_begun)
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def touched(self, *keys):
        """Wait until exactly these pools have been touched since the last time."""
        await eventually(lambda: set(keys) <= set(self.touches))
        assert set(self.touches) == set(keys)
        self.touches.clear()


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
    made.seed(warm_pool("voice"))
    made.seed(warm_pool("feed"))
    return made


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
        cluster.touches.clear()
        yield cluster


async def test_of_a_pool_only_the_used_fields_are_kept(cluster):
    async with calm(cluster):
        meta = {"annotations": {"of/others": "x" * 250_000}, "labels": {"team": "pet"}}
        await cluster.change("voice", metadata=meta)
        await cluster.touched(VOICE)
        assert len(json.dumps(cluster.cache.pools[VOICE])) < 1000


def test_kopf_holds_few_objects_at_a_time():
    """An object can have 1.5 MB."""
    settings = operator_settings()
    assert settings.watching.chunk_size == 5
    assert settings.queueing.idle_timeout <= 0.1


async def test_what_is_known_already_is_looked_at_by_nobody(cluster):
    """A write of ours comes back: the answer to it has been kept, and is no news."""
    async with calm(cluster):
        written = {**cluster.cache.pools[VOICE], "status": {"phase": "Warm"}}
        written["metadata"] = {**written["metadata"], "resourceVersion": "100"}
        cluster.cache.keep_pool(written)
        await cluster.change("voice", status={"phase": "Warm"})
        await cluster.change("feed", spec={"suspend": True})
        await cluster.touched(FEED)


async def test_a_deleted_pool_is_forgotten_told_of_and_looked_at_a_last_time(cluster):
    async with calm(cluster):
        await cluster.kubectl("DELETE", "voice", {})
        await cluster.touched(VOICE)
        assert cluster.gone == ["voice"]
        assert list(cluster.watch.shown) == ["pool-feed"]
        assert list(cluster.cache.pools) == [FEED]


async def test_nothing_is_written_to_what_is_watched(cluster):
    async with cluster.watched():
        await cluster.touched(VOICE, FEED)
    assert {request.method.value for request in cluster.kmock} <= {"GET"}


def test_no_watch_is_trusted_for_long():
    """A stream can go silent without closing (kopf issues 585, 810, 847, 860)."""
    settings = operator_settings()
    assert 0 < settings.watching.server_timeout < settings.watching.client_timeout
    assert settings.watching.client_timeout + settings.networking.connect_timeout <= 30
    assert not settings.posting.enabled


def test_the_api_server_is_asked_again_soon_however_long_it_was_away():
    """Each request counts its tries anew, and none of them is the last."""
    backoffs = operator_settings().networking.error_backoffs
    for _ in range(2):
        tries = list(itertools.islice(iter(backoffs), 1000))
        assert len(tries) == 1000
        assert max(tries) <= 2
