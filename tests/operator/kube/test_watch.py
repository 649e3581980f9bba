"""A watch of the whole cluster shows the namespaces in use, and those that come into use."""

import asyncio
import contextlib

import pytest

from kotatsu_operator.kube import informer
from kotatsu_operator.kube.client import EVERYWHERE, RENEWED
from kotatsu_operator.kube.informer import Feed, Watch
from kotatsu_operator.kube.objects import Pod, key_of
from kotatsu_operator.runtime import loop
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


async def test_a_namespace_that_comes_into_use_is_kept_page_by_page(shown):
    """All its pods at once may take more memory than there is."""
    shown.used.add("b")
    seen = []

    async def in_pages(*_):
        for name in ("b-1", "b-2", "b-3"):
            seen.append(shown.names)
            made = pod_in("b", name)
            made["metadata"]["resourceVersion"] = "1"
            yield [made], 1

    shown.kube.listed = in_pages
    shown.pods["b", "b-0"] = "0"
    await shown.watch.enter("b")
    assert seen == [{"a-1", "b-0"}, {"a-1", "b-0", "b-1"}, {"a-1", "b-0", "b-1", "b-2"}]
    assert shown.names == {"a-1", "b-1", "b-2", "b-3"}


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
        async for page in listed(*args, **more):
            shown.kube._tell("Pod", "DELETED", old)
            await asyncio.sleep(0.05)
            yield page

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


# --- a watch that stops ---


def tasks_of(watch):
    """The tasks that follow a kind."""
    return [task for task in asyncio.all_tasks() if task.get_name() == f"watch {watch}"]


@pytest.fixture
def soon(monkeypatch):
    """Stopped is known within a tenth of a second."""
    monkeypatch.setattr(loop, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(loop, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(informer, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(informer, "STOPPED_SECONDS", 0.1)


async def goes_on(shown):
    """A pod that is made now is shown, and the watch has been restarted once."""
    shown.kube.put(pod_in("a", "a-9"))
    await eventually(lambda: "a-9" in shown.names)
    await eventually(lambda: not shown.watch.is_stopped)
    assert shown.kube.restarts == {"Pod": 1}


async def test_a_watch_whose_task_is_canceled_begins_anew(soon, shown):
    (task,) = tasks_of("Pod")
    task.cancel()
    await eventually(lambda: shown.kube.restarts["Pod"])
    await goes_on(shown)


async def test_a_watch_that_does_not_take_a_change_is_stopped_and_begins_anew(soon, shown):
    change, stuck = shown.watch._on_change, asyncio.Event()

    async def hang(*_):
        await stuck.wait()

    shown.watch._on_change = hang
    shown.kube.put(pod_in("a", "a-2"))
    await eventually(lambda: shown.watch.is_stopped)
    shown.watch._on_change = change
    await goes_on(shown)
    assert shown.names == {"a-1", "a-2", "a-9"}


async def test_a_quiet_watch_that_is_renewed_has_not_stopped(soon, shown):
    for _ in range(20):
        shown.kube._tell("Pod", RENEWED, pod_in("a", "a-1"))
        await asyncio.sleep(0.02)
    assert shown.kube.restarts == {"Pod": 0}
    await eventually(lambda: shown.kube.restarts["Pod"] == 1)


async def test_a_list_may_take_its_time(soon, monkeypatch):
    made = Shown()
    going_on = asyncio.Event()
    made.kube.on("follow", lambda _: going_on.wait())
    running = asyncio.create_task(made.watch.run())
    await asyncio.sleep(0.3)
    assert made.kube.restarts == {"Pod": 0}
    going_on.set()
    await eventually(lambda: made.pods)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
