"""kopf's events go into the world and touch the pools they concern; against an API server mock."""

import asyncio
import contextlib
import itertools

import aiohttp
import kopf
import pytest
import yaml

from kotatsu_operator.handlers import operator_settings, register
from kotatsu_operator.world import World
from tests.operator.cluster import (
    activator_pod,
    deployment,
    eventually,
    horizontal_pod_autoscaler,
    native_slice,
    pod,
    service,
    warm_pool,
)
from tests.operator.test_world import published

pytestmark = pytest.mark.timeout(60)

POOLS = "kotatsu.dev/v1alpha1/warmpools"
DEPLOYMENTS = "apps/v1/deployments"
PODS = "v1/pods"
SLICES = "discovery.k8s.io/v1/endpointslices"
SERVICES = "v1/services"
AUTOSCALERS = "autoscaling/v2/horizontalpodautoscalers"
KINDS = {
    POOLS: "WarmPool",
    DEPLOYMENTS: "Deployment",
    PODS: "Pod",
    SLICES: "EndpointSlice",
    SERVICES: "Service",
    AUTOSCALERS: "HorizontalPodAutoscaler",
}
KOPFS_OWN = {
    "v1/namespaces": "Namespace",
    "v1/events": "Event",
    "apiextensions.k8s.io/v1/customresourcedefinitions": "CustomResourceDefinition",
}
"""What kopf looks for before it begins; every cluster has them."""
VOICE, FEED = ("demo", "voice"), ("demo", "feed")


class Touches:
    """A planner that notes who is touched, and what the world was like the first time."""

    def __init__(self, world):
        self.world = world
        self.keys = []
        self.known_at_first = None

    def touch(self, key):
        if self.known_at_first is None:
            world = self.world
            self.known_at_first = (
                len(world.pools),
                len(world.deployments),
                sum(map(len, world.pods.values())),
                len(world.slices),
                len(world.services),
                len(world.autoscalers),
            )
        self.keys.append(key)


class Cluster:
    """A mocked API server, and kopf with our handlers connected to it."""

    def __init__(self, kmock):
        self.kmock = kmock
        self.version = 0
        self.world = World()
        self.touches = Touches(self.world)
        self.gone = []
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
        group = "api/" if kind in (PODS, SERVICES) else "apis/"
        version, _, plural = kind.rpartition("/")
        url = f"/{group}{version}/namespaces/demo/{plural}" + (f"/{name}" if name else "")
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

    @contextlib.asynccontextmanager
    async def watched(self):
        async def on_pool_gone(pool):
            self.gone.append(pool["metadata"]["name"])

        stop, ready = asyncio.Event(), asyncio.Event()
        running = asyncio.create_task(
            kopf.operator(
                registry=register(self.world, self.touches, on_pool_gone),
                settings=operator_settings(),
                namespaces=["demo"],
                standalone=True,
                identity="test",
                stop_flag=stop,
                ready_flag=ready,
            )
        )
        try:
            async with asyncio.timeout(30):
                await ready.wait()
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
    made.seed(DEPLOYMENTS, deployment("voice"))
    made.seed(DEPLOYMENTS, deployment("feed"))
    made.seed(PODS, pod("voice-1"))
    made.seed(PODS, activator_pod())
    made.seed(SLICES, native_slice(True))
    made.seed(SLICES, published("activator-1", 3))
    made.seed(SERVICES, service("voice"))
    made.seed(AUTOSCALERS, horizontal_pod_autoscaler("voice"))
    return made


async def test_no_pool_is_judged_before_every_kind_has_been_listed(cluster):
    async with cluster.watched():
        await eventually(lambda: {VOICE, FEED} <= set(cluster.touches.keys))
    assert cluster.touches.known_at_first == (2, 2, 2, 1, 1, 1)
    assert cluster.world.acknowledged(VOICE) == 3


async def test_what_changes_is_seen_and_touches_the_pools_it_concerns(cluster):
    async with cluster.watched():
        await cluster.touched(VOICE, FEED)
        await asyncio.sleep(0.2)
        cluster.touches.keys.clear()

        await cluster.change(POOLS, "voice", spec={"suspend": True})
        await cluster.touched(VOICE)
        assert cluster.world.pools[VOICE]["spec"]["suspend"]

        await cluster.change(DEPLOYMENTS, "feed", spec={"replicas": 2})
        await cluster.touched(FEED)
        assert cluster.world.deployments[FEED]["spec"]["replicas"] == 2

        await cluster.create(PODS, pod("voice-2", ready=True))
        await cluster.touched(VOICE)
        assert cluster.world.pods["demo"]["voice-2"].ready

        await cluster.delete(PODS, "voice-1")
        await cluster.touched(VOICE)
        assert "voice-1" not in cluster.world.pods["demo"]

        await cluster.create(PODS, activator_pod("activator-2"))
        await cluster.touched(VOICE, FEED)

        await cluster.create(SLICES, published("activator-2", 3, pool="feed"))
        await cluster.touched(FEED)

        await cluster.delete(SLICES, published("activator-1", 3)["metadata"]["name"])
        await cluster.touched(VOICE)
        assert cluster.world.acknowledged(VOICE) == 0


async def test_services_and_autoscalers_are_seen_and_touch_the_pools_they_concern(cluster):
    async with cluster.watched():
        await cluster.touched(VOICE, FEED)
        await asyncio.sleep(0.2)
        cluster.touches.keys.clear()

        await cluster.delete(SERVICES, "voice")
        await cluster.touched(VOICE)
        assert VOICE not in cluster.world.services

        await cluster.create(SERVICES, service("feed"))
        await cluster.touched(FEED)
        assert cluster.world.services[FEED]["spec"]["selector"] == {"app": "feed"}

        await cluster.create(AUTOSCALERS, horizontal_pod_autoscaler("second", "feed"))
        await cluster.touched(FEED)
        assert [a["metadata"]["name"] for a in cluster.world.autoscalers_of(FEED)] == ["second"]

        await cluster.delete(AUTOSCALERS, "voice")
        await cluster.touched(VOICE)
        assert cluster.world.autoscalers_of(VOICE) == []


async def test_an_autoscaler_that_leaves_a_pool_concerns_it_too(cluster):
    async with cluster.watched():
        await cluster.touched(VOICE, FEED)
        hpa = {"name": "voice", "minReplicas": 1}
        await cluster.change(POOLS, "voice", status={"hpa": hpa})
        await eventually(lambda: cluster.world.pools[VOICE].get("status"))
        await asyncio.sleep(0.2)
        cluster.touches.keys.clear()
        target = {"kind": "Deployment", "name": "feed"}
        await cluster.change(AUTOSCALERS, "voice", spec={"scaleTargetRef": target})
        await cluster.touched(VOICE, FEED)


async def test_a_pod_of_a_knative_service_touches_its_pool(cluster):
    target = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "talk"}
    async with cluster.watched():
        await cluster.touched(VOICE, FEED)
        await asyncio.sleep(0.2)
        cluster.touches.keys.clear()
        await cluster.create(POOLS, warm_pool("knative", targetRef=target))
        await cluster.touched(("demo", "knative"))
        labels = {"serving.knative.dev/service": "talk"}
        await cluster.create(PODS, pod("talk-1", labels=labels))
        await cluster.touched(("demo", "knative"))


async def test_a_deleted_pool_is_forgotten_told_of_and_looked_at_a_last_time(cluster):
    async with cluster.watched():
        await cluster.touched(VOICE, FEED)
        await asyncio.sleep(0.2)
        cluster.touches.keys.clear()
        await cluster.delete(POOLS, "voice")
        await cluster.touched(VOICE)
        assert cluster.gone == ["voice"]
        assert list(cluster.world.pools) == [FEED]

        await cluster.delete(DEPLOYMENTS, "feed")
        await cluster.touched(FEED)
        assert list(cluster.world.deployments) == [VOICE]


async def test_what_is_nobodys_touches_nobody(cluster):
    async with cluster.watched():
        await cluster.touched(VOICE, FEED)
        await asyncio.sleep(0.2)
        cluster.touches.keys.clear()
        await cluster.create(PODS, pod("db-1", app="db"))
        await cluster.create(DEPLOYMENTS, deployment("db"))
        await cluster.create(SLICES, native_slice(True, of="db"))
        await eventually(lambda: ("demo", "db") in cluster.world.deployments)
        await eventually(lambda: "db-1" in cluster.world.pods["demo"])
        await asyncio.sleep(0.2)
        assert cluster.touches.keys == []


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
