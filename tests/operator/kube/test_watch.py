"""A watch of the whole cluster shows the namespaces in use, and those that come into use."""

import asyncio
import contextlib

import pytest

from kotatsu_operator.kube.client import EVERYWHERE
from kotatsu_operator.kube.informer import Feed, Watch
from kotatsu_operator.kube.objects import Pod, key_of
from tests.operator.cluster import FakeKube, eventually, pod

pytestmark = pytest.mark.timeout(30)


def pod_in(namespace, name):
    made = pod(name)
    made["metadata"]["namespace"] = namespace
    return made


class Shown:
    """What a watch of pods shows; `used` has the namespaces in use."""

    def __init__(self):
        self.kube = FakeKube(pod_in("a", "a-1"), pod_in("b", "b-1"))
        self.used, self.pods = {"a"}, {}
        self.feed = Feed(Pod, self.keep, self.forget, self.known)
        self.watch = Watch(
            self.kube, Pod, EVERYWHERE, self.change, keeps=lambda o: key_of(o)[0] in self.used
        )

    def keep(self, obj):
        self.pods[key_of(obj)] = obj["metadata"]["resourceVersion"]
        return ()

    def forget(self, key):
        self.pods.pop(key, None)
        return ()

    def known(self, namespace):
        return [key for key in self.pods if namespace in (EVERYWHERE, key[0])]

    async def change(self, namespace, change, obj):
        for _ in self.feed.steps(namespace, change, obj):
            pass

    @property
    def names(self):
        return {name for _, name in self.pods}


@pytest.fixture
async def shown(monkeypatch):
    monkeypatch.setattr("kotatsu_operator.kube.informer.FIRST_PAUSE", 0.01)
    made = Shown()
    running = asyncio.create_task(made.watch.run())
    await eventually(lambda: made.pods)
    yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_objects_of_other_namespaces_are_not_shown(shown):
    shown.kube.put(pod_in("b", "b-2"))
    shown.kube.put(pod_in("a", "a-2"))
    await eventually(lambda: shown.names == {"a-1", "a-2"})


async def test_a_namespace_that_comes_into_use_is_shown_whole_and_then_followed(shown):
    shown.used.add("b")
    await shown.watch.enter("b")
    assert shown.names == {"a-1", "b-1"}
    shown.kube.put(pod_in("b", "b-2"))
    await eventually(lambda: shown.names == {"a-1", "b-1", "b-2"})


async def test_a_change_during_the_list_is_shown_after_it(shown):
    shown.used.add("b")
    going_on = asyncio.Event()
    shown.kube.on("listed", lambda _: going_on.wait())
    entering = asyncio.create_task(shown.watch.enter("b"))
    await eventually(lambda: shown.kube.called("listed"))
    shown.kube.put(pod_in("b", "b-2"))  # the list has it, or the change shows it
    shown.kube.remove("Pod", "b/b-1")
    await asyncio.sleep(0.05)
    assert shown.names == {"a-1"}
    going_on.set()
    await entering
    assert shown.names == {"a-1", "b-2"}


async def test_a_change_that_is_older_than_the_list_undoes_nothing(shown):
    shown.used.add("b")
    listed = shown.kube.listed

    async def listed_late(*args, **more):
        old = shown.kube.stored("Pod", "b/b-1")
        shown.kube.put(pod_in("b", "b-1"))
        answer = await listed(*args, **more)
        shown.kube._tell("Pod", "DELETED", old)
        await asyncio.sleep(0.05)
        return answer

    shown.kube.listed = listed_late
    await shown.watch.enter("b")
    assert shown.names == {"a-1", "b-1"}
    assert (
        shown.pods["b", "b-1"] == shown.kube.stored("Pod", "b/b-1")["metadata"]["resourceVersion"]
    )


async def test_a_list_of_everything_meanwhile_makes_it_list_the_namespace_again(shown):
    shown.used.add("b")

    async def anew(_):
        shown.kube.end_watches("Pod")
        await eventually(lambda: len(shown.kube.called("follow")) == 2)

    shown.kube.on("listed", anew, times=1)
    await shown.watch.enter("b")
    assert len(shown.kube.called("listed")) == 2
    assert shown.names == {"a-1", "b-1"}


async def test_a_list_that_fails_is_tried_again(shown):
    shown.used.add("b")
    shown.kube.on("listed", OSError("the API server is away"), times=1)
    await shown.watch.enter("b")
    assert shown.names == {"a-1", "b-1"}


async def test_a_namespace_that_is_left_is_empty(shown):
    shown.used.discard("a")
    await shown.watch.leave("a")
    shown.kube.put(pod_in("a", "a-2"))
    await asyncio.sleep(0.05)
    assert shown.names == set()
