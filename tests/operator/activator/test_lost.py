"""Activators that are lost: the others take their endpoints back, and somebody always answers."""

from itertools import product

import pytest
from rows import each

from kotatsu_operator.activator import slices
from kotatsu_operator.activator.slices import is_ready, may_serve, may_take_back, slice_name
from kotatsu_operator.kube.views import pod_view
from tests.operator.activator.published import ME, OTHER, pool
from tests.operator.cluster import (
    FakeKube,
    activator_pod,
    crashed,
    native_slice,
    service,
    was_ready,
)

UIDS = ("activator-1", "activator-2")
MINE, THEIRS = (slice_name("voice", me, "IPv4") for me in (ME, OTHER))


# --- who may ---


def steps(seen, ready, native):
    """What each of three activators may do next: whose endpoint is ready after it.

    `seen[i][j]`: whether i takes j's pod for lost.
    """
    pods = {False: pod_view(activator_pod()), True: pod_view(was_ready(activator_pod()))}
    views = [[pods[is_lost] for is_lost in s] for s in seen]
    for i, j in product(range(len(seen)), repeat=2):
        mine, theirs = views[i][i], views[i][j]
        if i != j:
            may = ready[j] and may_take_back(
                theirs, mine, mine_is_ready=ready[i], native_ready=native
            )
        else:
            others = any(ready[k] and not views[i][k].lost for k in range(len(seen)) if k != i)
            may = not ready[i] and may_serve(
                mine, mine_is_ready=False, others_answer=others or native > 0
            )
        if may:
            yield (*ready[:j], i == j, *ready[j + 1 :])


@each("truth, native", product(product([False, True], repeat=3), [0, 1]))
def test_from_every_state_three_activators_come_to_rest_and_somebody_answers(truth, native):
    """All of them see the same pods; what has come before, with other views, may be anything."""
    seen = [truth] * 3
    for began in product([False, True], repeat=3):
        paths = [[began]]
        while paths:
            path = paths.pop()
            assert len(path) == len(set(path)), "they undo each other's writes"
            after = set(steps(seen, path[-1], native))
            if any(began) or native:
                assert all(any(ready) or native for ready in after), "nobody answers"
            if not after:
                assert any(path[-1]) or native
                if not all(truth):
                    wrong = [r for r, is_lost in zip(path[-1], truth, strict=True) if r and is_lost]
                    assert wrong == [], "a lost one is still an endpoint"
            paths += [[*path, ready] for ready in after]


@pytest.mark.parametrize("native", [0, 1])
def test_two_that_take_each_other_for_lost_leave_both_endpoints(native):
    """A partition: each sees its own pod as the API server has it, that is not Ready."""
    after = set(steps([(True, True)] * 2, (True, True), native))
    assert after == (set() if not native else {(False, True), (True, False)})


# --- what they do ---


class Pair:
    """Two activators of a namespace, with watches that tell at once."""

    def __init__(self, make_activator):
        self.kube = FakeKube(*(activator_pod(name) for name in UIDS))
        self.first, self.second = (make_activator(self.kube, me) for me in (ME, OTHER))
        self.activators = (self.first, self.second)
        for name in UIDS:
            self.tell(activator_pod(name))

    def tell(self, obj, *only):
        """Let a pod be so, and (only some of) the watches tell of it."""
        self.kube.put(obj)
        for activator in only or self.activators:
            activator.see("Pod", obj)

    def see(self, kind, obj):
        for activator in self.activators:
            activator.see(kind, obj)

    async def sync(self, *pools):
        for activator in self.activators:
            await activator.sync(*pools)

    async def settle(self):
        """Let both go on until neither writes."""
        for _ in range(10):
            before = len(self.kube.writes)
            await self.sync()
            if len(self.kube.writes) == before:
                return
        raise AssertionError("their writes chase each other")

    def ready(self):
        return [is_ready(self.kube.stored("EndpointSlice", name)) for name in (MINE, THEIRS)]

    def conditions(self, name=THEIRS):
        return self.kube.stored("EndpointSlice", name)["endpoints"][0]["conditions"]


@pytest.fixture
async def pair(make_activator, monkeypatch):
    monkeypatch.setattr(slices, "ENDS_WITHIN", 0.0)
    pair = Pair(make_activator)
    await pair.sync(pool())
    await pair.settle()
    assert pair.ready() == [True, True]
    return pair


LOST = {
    "not Ready": was_ready(activator_pod("activator-2")),
    "unknown": was_ready(activator_pod("activator-2"), "Unknown"),
    "crash loop": crashed(activator_pod("activator-2", ready=False)),
    "ending": was_ready(activator_pod("activator-2", terminating=True)),
    "evicted": activator_pod("activator-2", ready=False, phase="Failed"),
}


@pytest.mark.parametrize("dead", LOST.values(), ids=LOST)
async def test_a_lost_activators_endpoint_is_no_longer_ready(pair, dead):
    before, port = len(pair.kube.writes), pair.second.port(THEIRS)
    pair.tell(dead, pair.first)
    await pair.first.sync()
    assert pair.second.port(THEIRS) == port, "it stays remembered"
    assert pair.ready() == [True, False]
    assert pair.conditions() == {"ready": False, "serving": False, "terminating": False}
    assert len(pair.kube.writes) == before + 1


async def test_one_that_ends_has_its_time_to_say_so_and_still_serves_where_nothing_else_is_ready(
    pair, monkeypatch
):
    pair.tell(activator_pod("activator-2", terminating=True), pair.first)
    monkeypatch.setattr(slices, "ENDS_WITHIN", 60.0)
    await pair.first.sync()
    assert pair.ready() == [True, True]
    monkeypatch.setattr(slices, "ENDS_WITHIN", 0.0)
    pair.first.publisher._due.clear()
    pair.first.publisher._news.add("voice")
    await pair.first.sync()
    assert pair.conditions() == {"ready": False, "serving": True, "terminating": True}


async def test_one_that_starts_is_an_endpoint_before_it_is_ready(pair):
    pair.tell(activator_pod("activator-2", ready=False))
    await pair.settle()
    assert pair.ready() == [True, True]


async def test_the_lost_one_does_not_undo_it_and_serves_again_once_its_pod_is_ready(pair):
    pair.tell(LOST["not Ready"])
    await pair.settle()
    assert pair.ready() == [True, False]
    assert pair.second.is_complete, "or its pod would never be Ready again"
    pair.tell(activator_pod("activator-2"))
    await pair.settle()
    assert pair.ready() == [True, True]


async def test_a_new_epoch_is_told_in_a_slice_that_was_taken_back_too(pair):
    pair.tell(LOST["not Ready"])
    await pair.settle()
    await pair.sync(pool(epoch=2))
    assert pair.ready() == [True, False]
    said = [s["metadata"]["annotations"] for s in pair.kube.all("EndpointSlice")]
    assert [a["kotatsu.dev/epoch"] for a in said] == ["2", "2"]


@pytest.mark.parametrize("route_mode", ["Auto", "Activator"])
async def test_of_two_that_are_lost_both_stay_endpoints(pair, route_mode):
    """On route Activator pods are no reason to take the last one: the Service selects none."""
    if route_mode == "Activator":
        pair.see("EndpointSlice", native_slice(True))
    await pair.sync(pool(route_mode=route_mode))
    for name in UIDS:
        pair.tell(was_ready(activator_pod(name)))
    await pair.settle()
    assert pair.ready() == [True, True]


async def test_the_last_one_serves_again_whatever_is_said_of_its_pod(pair):
    pair.tell(LOST["not Ready"])
    await pair.settle()
    pair.tell(was_ready(activator_pod("activator-1")))
    await pair.settle()
    assert pair.ready()[1]


async def test_where_pods_answer_both_leave_and_come_back_when_none_does(pair):
    pair.see("EndpointSlice", native_slice(True))
    for name in UIDS:
        pair.tell(was_ready(activator_pod(name)))
    await pair.settle()
    assert pair.ready() == [False, False]
    pair.see("EndpointSlice", native_slice(False))
    await pair.settle()
    assert any(pair.ready())


async def test_an_activator_whose_own_slice_is_emptied_takes_back_where_pods_answer(pair):
    pair.see("EndpointSlice", native_slice(True))
    await pair.first.sync(pool("Native"))
    pair.first.later(10)
    await pair.first.sync()
    assert pair.ready() == [False, True]
    pair.tell(LOST["crash loop"], pair.first)
    await pair.first.sync()
    assert pair.ready() == [False, False]


async def test_the_api_server_is_asked_before_a_silent_watch_is_believed(pair):
    pair.first.see("Pod", LOST["not Ready"])
    await pair.first.sync()
    assert pair.kube.called("get") == [("get", "Pod", "activator-2")]
    assert pair.ready() == [True, True]


async def test_for_all_pools_the_pod_is_read_once(pair):
    pair.see("Service", service("feed"))
    await pair.sync(pool(name="feed"))
    await pair.settle()
    pair.tell(LOST["not Ready"], pair.first)
    await pair.first.sync()
    assert pair.kube.called("get") == [("get", "Pod", "activator-2")]
    slices = pair.kube.all("EndpointSlice")
    assert [is_ready(s) for s in slices].count(False) == 2


async def test_two_that_see_its_pod_otherwise_do_not_chase_each_others_writes(pair):
    """The watch of pods of the one that is lost is silent: it serves again, at once."""
    pair.tell(LOST["not Ready"], pair.first)
    await pair.settle()
    assert pair.ready() == [True, True]
    assert pair.kube.writes.count("replace") == 2


async def test_of_two_that_take_it_back_one_is_late_and_stays_ready(make_activator, pair):
    def meanwhile(*_):
        pair.kube.edit("EndpointSlice", THEIRS, metadata={"labels": {"some": "edit"}})

    pair.tell(LOST["not Ready"], pair.first)
    pair.kube.on("replace", meanwhile, times=1)
    await pair.first.sync()
    assert pair.first.is_complete
    assert pair.ready() == [True, True]
    for activator in pair.activators:
        activator.publisher._due.clear()
        activator.publisher._news.add("voice")
    await pair.first.sync()
    assert pair.ready() == [True, False]


async def test_an_activator_that_ends_takes_nothing_back(pair):
    pair.first.view.leaving = True
    pair.tell(LOST["not Ready"], pair.first)
    await pair.first.sync()
    assert pair.ready() == [False, True]
