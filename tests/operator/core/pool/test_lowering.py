"""A step down ends no pod with a request: against controllers of the test's own."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_operator.core.pool.lowering import (
    LIMIT,
    Candidate,
    Lowering,
    Removal,
    Uses,
    lowering,
)
from tests.operator.core.values import SECOND, examples, t

NOW = t("10:00")
READY = (1, 1, 1)


def removal(*names, marked=(), rank=READY, **how):
    pods = tuple(Candidate(name, rank, name in marked) for name in names)
    return Removal(pods, **{"is_known": True} | how)


def ordinals(*numbers, marked=()):
    pods = (Candidate(f"db-{n}", (-n,), f"db-{n}" in marked) for n in numbers)
    return Removal(tuple(pods), is_known=True, by_mark=False)


def step(of, uses, replicas, wanted, *, drains=False, since=None, now=NOW):
    return lowering(of, Uses(uses, drains), replicas, wanted, since, now)


# --- a gauge: the pods to end are those without a request ---


def test_a_quiet_pool_is_lowered_at_once_and_no_pod_is_marked():
    found = step(removal("a", "b", "c"), {"a": 0, "b": 0, "c": 0}, 3, 1)
    assert (found.replicas, found.marks, found.since) == (1, frozenset(), None)


def test_of_a_busy_pool_the_quiet_pods_are_marked_first():
    of = removal("a", "b", "c")
    found = step(of, {"a": 1, "b": 0, "c": 0}, 3, 1)
    assert (found.replicas, found.marks, found.since) == (None, {"b", "c"}, NOW)
    assert found.waits == "lowering to 1 waits for requests in flight, until 10:10 UTC at most"
    found = step(removal("a", "b", "c", marked="bc"), {"a": 1, "b": 0, "c": 0}, 3, 1)
    assert (found.replicas, found.ends) == (1, {"b", "c"})


def test_it_comes_down_as_far_as_pods_are_quiet():
    found = step(removal("a", "b", "c", marked="c"), {"a": 1, "b": 2, "c": 0}, 3, 1, since=NOW)
    assert (found.replicas, found.since) == (2, NOW)


def test_a_marked_pod_that_got_a_request_is_left_and_another_one_marked():
    found = step(removal("a", "b", "c", marked="c"), {"a": 1, "b": 0, "c": 1}, 3, 2)
    assert (found.replicas, found.marks) == (None, {"b"})


def test_pods_whose_requests_are_unknown_count_as_busy():
    assert step(removal("a", "b"), {"a": 1}, 2, 1).replicas is None


def test_after_the_limit_it_is_lowered_nevertheless():
    of, uses = removal("a", "b"), {"a": 1, "b": 1}
    soon = step(of, uses, 2, 1, since=NOW - LIMIT + SECOND)
    late = step(of, uses, 2, 1, since=NOW - LIMIT)
    assert (soon.replicas, soon.forced) == (None, False)
    assert (late.replicas, late.forced, late.ends) == (1, True, None)


# --- through activators: marked pods drain ---


def test_the_pods_that_go_are_marked_and_end_once_all_activators_report_none():
    of = removal("a", "b", "c")
    found = step(of, {}, 3, 1, drains=True)
    assert (found.replicas, len(found.marks)) == (None, 2)
    marked = removal("a", "b", "c", marked=found.marks)
    for uses in ({}, {"a": 0}, dict.fromkeys(found.marks, 0) | {min(found.marks): 1}):
        kept = step(marked, uses, 3, 1, drains=True, since=NOW)
        assert (kept.replicas, kept.marks) == (None, found.marks)
    assert step(marked, dict.fromkeys(found.marks, 0), 3, 1, drains=True).replicas == 1


@each("marked, uses", [
    ("b", {"b": 0, "a": 0}),  # an activator that knows other marks may give b a connection
    ("ab", {"a": 0, "b": 0}),  # with all of them marked it avoids none
])  # fmt: skip
def test_it_waits_until_just_the_pods_that_go_are_marked_for_all(marked, uses):
    found = step(removal("a", "b", marked=marked), uses, 2, 1, drains=True)
    assert (found.replicas, len(found.marks)) == (None, 1)


def test_what_drains_is_never_ended_with_a_connection_in_use():
    of = removal("a", "b", marked="b")
    found = step(of, {"b": 1}, 2, 1, drains=True, since=NOW - timedelta(days=1))
    assert (found.replicas, found.waits) == (None, "lowering to 1 waits for requests in flight")


def test_activators_that_never_acknowledge_do_not_keep_the_pods_for_ever():
    assert step(removal("a", "b", marked="b"), {}, 2, 1, drains=True, since=NOW - LIMIT).forced


# --- what is wanted again, and what is left ---


@each("wanted", [None, 3, 4])
def test_what_is_not_lowered_has_no_marks(wanted):
    of = removal("a", "b", "c", marked="c")
    assert step(of, {}, 3, wanted, since=NOW) == Lowering(wanted)


def test_marks_stay_until_the_controller_has_ended_the_pods():
    assert step(removal("a", "b", "c", marked="bc"), {}, 1, None).marks == {"b", "c"}


# --- a StatefulSet, and what has no known order ---


def test_a_statefulset_ends_its_highest_ordinals_and_waits_for_these():
    of, uses = ordinals(0, 1, 2), {"db-0": 0, "db-1": 0, "db-2": 1}
    found = step(of, uses, 3, 1)
    assert (found.replicas, found.marks) == (None, frozenset())
    assert step(of, uses | {"db-2": 0, "db-0": 1}, 3, 1).replicas == 1
    assert step(of, uses | {"db-2": 0, "db-1": 1}, 3, 1).replicas == 2


def test_a_statefulset_that_lacks_a_pod_ends_all_that_are_above():
    assert ordinals(0, 1, 3).may_end(4, 2) == {"db-3"}
    assert ordinals(0, 1, 3, 4).may_end(5, 2) == {"db-3", "db-4"}
    assert Removal(is_known=True, by_mark=False).may_end(5, 2) == frozenset()


def test_where_the_order_is_not_known_all_pods_must_be_quiet():
    of = removal("a", "b", is_known=False)
    found = step(of, {"a": 0, "b": 1}, 2, 1)
    assert (found.replicas, found.marks) == (None, frozenset())
    assert step(of, {"a": 0, "b": 0}, 2, 1).replicas == 1


# --- the controllers of this test ---


@st.composite
def pods(draw):
    """Some pods, by name: what their controller knows of each, and its requests."""
    count = draw(st.integers(1, 6))
    known = st.tuples(*[st.integers(0, 1)] * 3, st.booleans(), st.integers(0, 2))
    return {f"p{n}": draw(known) for n in range(count)}


def ends(there, number):
    """The pods that a ReplicaSet controller may end: less than `number` come before each."""

    def before(one, other):
        for a, b in zip(one[:3], other[:3], strict=True):
            if a != b:
                return a < b
        return one[3] and not other[3]

    return {
        name
        for name, pod in there.items()
        if sum(before(other, pod) for other in there.values()) < number
    }


@given(there=pods(), missing=st.integers(0, 2), data=st.data(), drains=st.booleans())
@examples(400)
def test_no_step_ends_a_pod_with_a_request_and_marks_lead_to_it(there, missing, data, drains):
    replicas = len(there) + missing
    wanted = data.draw(st.integers(1, replicas))
    since, steps = None, 0
    # Marks are seen with the next look; the requests stay as they are, or those of marked pods end.
    while steps < 8 and replicas > wanted:
        steps += 1
        of = Removal(tuple(Candidate(n, p[:3], p[3]) for n, p in there.items()), is_known=True)
        uses = {n: p[4] for n, p in there.items() if p[3] or not drains}
        found = step(of, uses, replicas, wanted, drains=drains, since=since)
        since = found.since
        assert not found.forced
        if found.replicas is not None:
            ended = ends(there, len(there) - found.replicas)
            assert not any(there[name][4] for name in ended)
            assert ended <= found.ends
            some = sorted(ended)[: max(len(there) - found.replicas, 0)]
            there = {n: p for n, p in there.items() if n not in some}
            replicas = found.replicas
            continue
        there = {
            n: (*p[:3], n in found.marks, 0 if drains and n in found.marks else p[4])
            for n, p in there.items()
        }
    busy_first = any(there[name][4] for name in ends(there, max(len(there) - wanted, 0)))
    assert replicas == wanted or (not drains and busy_first)
