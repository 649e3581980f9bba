"""What there is beside the pools gets into the cache, and the pools it concerns are looked at."""

import asyncio
import contextlib

import pytest

from kotatsu_operator.controller.app import feeds_of
from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.kube import informer as turns_module
from kotatsu_operator.kube.informer import Feed, Informer
from kotatsu_operator.kube.objects import Pod
from kotatsu_operator.runtime import loop
from tests.operator.cluster import (
    MINE,
    VOICE,
    FakeKube,
    activator_pod,
    deployment,
    eventually,
    horizontal_pod_autoscaler,
    native_slice,
    pod,
    published,
    served,
    service,
    turns_of_others,
    warm_pool,
)

pytestmark = pytest.mark.timeout(60)

FEED = ("demo", "feed")


class Followed:
    """A world with two pools, and the informer that fills it."""

    def __init__(self):
        self.kube = FakeKube(
            *(deployment(name) for name in ("voice", "feed")),
            *(service(name) for name in ("voice", "feed")),
            pod("voice-1"),
            activator_pod(),
            native_slice(True),
            published("activator-1", 3),
            horizontal_pod_autoscaler(),
        )
        self.cache = Cache(served())
        for name in ("voice", "feed"):
            self.cache.keep_pool(warm_pool(name, status=MINE))
        self.touched, self.anew = [], []
        self.informer = Informer(
            self.kube, feeds_of(self.cache), self.touched.append, lambda: self.anew.append(True)
        )

    async def concerns(self, *keys):
        """Wait until exactly these pools have been touched since the last time."""
        await eventually(lambda: set(keys) <= set(self.touched))
        assert set(self.touched) == set(keys)
        self.touched.clear()


@contextlib.asynccontextmanager
async def synced(informer):
    running = asyncio.create_task(informer.run())
    async with asyncio.timeout(10):
        await informer.synced()
    yield
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def followed():
    made = Followed()
    async with synced(made.informer):
        made.touched.clear()
        yield made


async def test_everything_has_been_listed_before_it_says_so(followed):
    cache = followed.cache
    counts = map(len, (cache.workloads, cache.pods["demo"], cache.services, cache.autoscalers))
    assert (*counts, len(cache.activators.slices)) == (2, 2, 2, 1, 1)
    assert followed.informer.missing == []


async def test_what_changes_concerns_its_pools(followed):
    kube, cache = followed.kube, followed.cache
    kube.edit("Deployment", "feed", spec={"replicas": 2})
    await followed.concerns(FEED)
    kube.put(pod("voice-2", ready=True))
    await followed.concerns(VOICE)
    kube.remove("Pod", "voice-1")
    await followed.concerns(VOICE)
    kube.put(activator_pod("activator-1", ready=False))
    await followed.concerns(VOICE, FEED)
    kube.put(activator_pod("activator-2"))
    await followed.concerns(VOICE, FEED)
    kube.put(published("activator-2", 3, pool="feed"))
    await followed.concerns(FEED)
    kube.remove("Service", "voice")
    await followed.concerns(VOICE)
    kube.remove("HorizontalPodAutoscaler", "voice")
    await followed.concerns(VOICE)
    assert set(cache.pods["demo"]) == {"voice-2", "activator-1", "activator-2"}


async def test_what_is_nobodys_concerns_nobody(followed):
    followed.kube.put(pod("db-1", app="db"))
    followed.kube.put(deployment("db"))
    followed.kube.put(native_slice(True, of="db"))
    await eventually(lambda: ("demo", "db") in followed.cache.workloads)
    await eventually(lambda: "db-1" in followed.cache.pods["demo"])
    assert followed.touched == []


async def begin_anew(followed, kind):
    """The stream of a kind breaks off."""
    followed.kube.end_watches(kind)
    await eventually(lambda: followed.anew)


async def test_what_is_not_listed_any_more_is_gone_though_nobody_told(followed):
    del followed.kube._objects["Pod", "voice-1"]
    await begin_anew(followed, "Pod")
    await followed.concerns(VOICE)
    assert set(followed.cache.pods["demo"]) == {"activator-1"}
    assert len(followed.cache.departed(VOICE)) == 1
    assert followed.anew == [True]


async def test_a_stream_that_begins_anew_with_the_same_things_concerns_nobody(followed):
    await begin_anew(followed, "Deployment")
    assert followed.touched == []


async def test_a_list_of_many_pages_is_one_list():
    cache = Cache(served())
    (feed,) = (feed for feed in feeds_of(cache) if feed.kind is Pod)

    def take(change, **obj):
        for _ in feed.steps("demo", change, obj):
            pass

    take("LIST", items=[pod("voice-1"), pod("gone")])
    take("PART", items=[pod("voice-1"), pod("voice-2")])
    assert set(cache.pods["demo"]) == {"voice-1", "voice-2", "gone"}
    before = [{"metadata": {"namespace": "demo", "name": f"voice-{n}"}} for n in (1, 2)]
    take("LIST", items=[pod("voice-3")], before=before)
    assert set(cache.pods["demo"]) == {"voice-1", "voice-2", "voice-3"}


async def test_what_cannot_be_read_is_left_out_and_told_of(caplog):
    kube, touched = FakeKube(pod("odd"), pod("voice-1")), []

    def keep(obj):
        if obj["metadata"]["name"] == "odd":
            raise KeyError("containers")
        return [VOICE]

    feed = Feed(Pod, keep, lambda _: (), lambda _: ())
    async with synced(Informer(kube, [feed], touched.append)):
        assert touched == [VOICE]
    assert "cannot read Pod demo/odd" in caplog.text


def test_what_is_still_waited_for_has_a_name():
    feed = Feed(Pod, lambda _: (), lambda _: (), lambda _: ())
    assert Informer(FakeKube(), [feed], lambda _: None).missing == ["Pod"]


async def test_a_long_list_leaves_others_their_turns(monkeypatch):
    monkeypatch.setattr(turns_module, "TURN", 0.0)
    kube, cache = FakeKube(*(pod(f"voice-{n}") for n in range(300))), Cache(served())
    (feed,) = (feed for feed in feeds_of(cache) if feed.kind is Pod)
    with turns_of_others() as turns:
        async with synced(Informer(kube, [feed], lambda _: None)):
            assert len(cache.pods["demo"]) == 300
            assert turns() > 250


async def test_a_kind_whose_watch_has_stopped_is_named_until_it_is_listed_again(
    followed, monkeypatch
):
    monkeypatch.setattr(loop, "AGAIN_SECONDS", 0.05)
    assert followed.informer.stopped == []
    (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "watch Service")
    task.cancel()
    await eventually(lambda: followed.informer.stopped == ["Service"])
    assert followed.informer.missing == [], "what was listed stays known"
    await eventually(lambda: followed.informer.stopped == [])
    assert followed.anew == [True], "deletions may have been missed"
    assert followed.kube.restarts["Service"] == 1
