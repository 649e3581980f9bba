"""The floor of a Knative target: which Revision's min-scale says what, and what is remembered."""

from dataclasses import replace
from itertools import product

import pytest
from rows import each

from kotatsu_operator.core.budget.limit import Allowed
from kotatsu_operator.core.decide.decide import decide
from kotatsu_operator.core.pool.memory import Memory, Phase, Reason, Route
from kotatsu_operator.core.pool.spec import OnExhausted
from kotatsu_operator.core.report.record import SavedMinScale
from kotatsu_operator.features.knative.min_scale import (
    Defaults,
    MinScalePlan,
    Patch,
    Revision,
    course,
    observe,
    refuse,
    share,
    trouble,
)
from kotatsu_operator.features.knative.target import KnativeStep
from tests.operator.core.values import MINUTE, SECOND, once, override, pool_spec, t

TARGET = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "voice"}


def rev(name="a", min_scale=None, **more):
    return Revision(name, f"version-of-{name}", min_scale, **({"ready": True} | more))


def by_name(*revisions):
    return {r.name: r for r in revisions}


# --- which patches ---


KEPT = (SavedMinScale("a", "1"),)


@each("why, floor, traffic, there, kept", [
    ("one that is gone is forgotten", 0, {}, [], KEPT),
    ("a higher min-scale stays", 2, {"a": 100}, [rev("a", "5")], ()),
    ("so does one in the older spelling", 2, {"a": 100}, [rev("a", other_min_scale=5)], ()),
    ("a mere tag gets no pods", 5, {"a": 100, "b": 0}, [rev("a", "5"), rev("b")], ()),
    ("one that never was Ready is not touched", 2, {"a": 100}, [rev("a", ready=False)], ()),
])  # fmt: skip
def test_nothing_is_written(why, floor, traffic, there, kept):
    assert course(floor, traffic, by_name(*there), kept) == MinScalePlan(), why


def test_a_floor_that_ends_is_lowered_to_what_others_asked_for():
    lowered = course(2, {"a": 100}, by_name(rev("a", "7")), (SavedMinScale("a", "5", ("7",)),))
    assert lowered.patches == (Patch("a", "version-of-a", "5"),)


def test_split_traffic_splits_the_floor_and_rounds_up():
    planned = course(5, {"a": 90, "b": 10}, by_name(rev("a"), rev("b")), ())
    assert [p.min_scale for p in planned.patches] == ["5", "1"]
    assert [share(4, p) for p in (50, 25, 1, 0)] == [2, 1, 1, 0]


def test_one_that_is_not_ready_for_a_while_keeps_its_floor():
    kept = (SavedMinScale("a", None, ("2",)),)
    planned = course(2, {"a": 100}, by_name(rev("a", "2", ready=False)), kept)
    assert planned == MinScalePlan(kept, ())


@each("floor, before", product(range(6), [None, "0", "2", "9", "many"]))
def test_whatever_the_floor_was_the_original_comes_back(floor, before):
    there, kept = by_name(rev("a", before)), ()
    for wanted in (floor, 4, floor, 0, 0):
        planned = course(wanted, {"a": 100}, there, kept)
        kept = planned.kept
        there |= {p.name: replace(there[p.name], min_scale=p.min_scale) for p in planned.patches}
    assert there["a"].min_scale == before
    assert course(0, {"a": 100}, there, kept) == MinScalePlan()


# --- only what is still ours is taken back ---


def test_a_floor_that_changes_is_known_by_both_values_until_the_new_one_is_seen():
    """A crash between the record and the patch leaves either of them."""
    kept = (SavedMinScale("a", None, ("3",)),)
    planned = course(5, {"a": 100}, by_name(rev("a", "3")), kept)
    assert planned.kept == (SavedMinScale("a", None, ("3", "5")),)
    for there in ("3", "5"):
        after = course(0, {"a": 100}, by_name(rev("a", there)), planned.kept)
        assert after.patches == (Patch("a", "version-of-a", None),)
    seen = course(5, {"a": 100}, by_name(rev("a", "5")), planned.kept)
    assert seen == MinScalePlan((SavedMinScale("a", None, ("5",)),), ())


# --- the cluster's defaults, and Knative's own limits ---


@each("floor, default, own", product(range(5), range(5), [None, "0", "1", "3"]))
def test_no_floor_lowers_what_is_in_effect(floor, default, own):
    defaults = Defaults(min_scale=default)
    there = rev("a", own)
    in_effect = default if own is None else int(own)
    planned = course(floor, {"a": 100}, by_name(there), (), defaults)
    for patch in planned.patches:
        assert int(patch.min_scale) > in_effect
    assert bool(planned.patches) == (floor > in_effect)


def test_the_older_spelling_and_what_is_no_number_count_as_knative_counts_them():
    defaults = Defaults(min_scale=2)
    assert course(1, {"a": 100}, by_name(rev("a", other_min_scale=0)), (), defaults).patches
    assert not course(2, {"a": 100}, by_name(rev("a", "many")), (), defaults).patches


def test_a_floor_stops_at_the_clusters_max_scale_unless_the_revision_has_its_own():
    defaults = Defaults(max_scale=3)
    planned = course(5, {"a": 100}, by_name(rev("a")), (), defaults)
    assert [p.min_scale for p in planned.patches] == ["3"]
    assert "the cluster's default max-scale allows 3" in planned.limited
    for own in (0, 9):
        free = course(5, {"a": 100}, by_name(rev("a", max_scale=own)), (), defaults)
        assert ([p.min_scale for p in free.patches], free.limited) == (["5"], "")


def test_a_refused_patch_rests_longer_each_time_and_at_most_a_minute():
    patch, known, now, pauses = Patch("a", "1", "5"), None, t("10:00"), []
    for _ in range(6):
        known = refuse(known, patch, "no", now)
        pauses.append((known.again - now).total_seconds())
        now = known.again
    assert pauses == [5, 10, 20, 40, 60, 60]
    assert refuse(known, Patch("a", "2", "4"), "no", now).tries == 1


# --- what is seen ---


def test_ready_is_the_highest_floor_of_which_every_revision_has_its_share():
    one = observe({"a": 100}, by_name(rev("a", actual=3, desired=4)), pods=4)
    assert (one.ready, one.running, one.replicas, one.pods) == (3, 3, 4, 4)
    both = observe({"a": 50, "b": 50}, by_name(rev("a", actual=3), rev("b", actual=1)), pods=4)
    assert (both.ready, both.running) == (2, 4)


@each("floor", range(1, 12))
def test_ready_reaches_a_floor_exactly_when_all_its_shares_are_ready(floor):
    split = {"a": 70, "b": 30}
    full = {name: share(floor, percent) for name, percent in split.items()}
    assert observe(split, by_name(*(rev(n, actual=k) for n, k in full.items())), 0).ready >= floor
    for name in split:
        short = full | {name: full[name] - 1}
        seen = observe(split, by_name(*(rev(n, actual=k) for n, k in short.items())), 0)
        assert seen.ready < floor


def test_without_traffic_nothing_is_ready():
    assert observe({}, by_name(rev("a", actual=3)), pods=3).ready == 0


def test_the_most_a_floor_can_be_is_what_every_revision_can_have_its_share_of():
    limited = by_name(rev("a", max_scale=3), rev("b", activation_scale=2))
    assert observe({"a": 100}, limited, 0).most == 3
    assert observe({"a": 50, "b": 50}, limited, 0).most == 4
    assert observe({"a": 100}, by_name(rev("a")), 0).most is None
    assert observe({"a": 100}, by_name(rev("a")), 0, Defaults(max_scale=2)).most == 2


def test_pods_without_a_floor_that_was_asked_for_do_not_count_for_it():
    refused = {"a": refuse(None, Patch("a", "1", "4"), "no", t("10:00"))}
    seen = observe({"a": 100}, by_name(rev("a", actual=5)), 5, refused=refused)
    assert (seen.ready, seen.running) == (0, 5)
    for higher in (rev("a", "5", actual=5), rev("a", other_min_scale=4, actual=5)):
        assert observe({"a": 100}, by_name(higher), 5, refused=refused).ready == 5


@each("service, traffic, ready, expected", [
    (True, {"a": 100}, True, ""),
    (None, {"a": 100}, True, ""),
    (False, {"a": 100}, True, "the Service is not Ready: Why: so"),
    (True, {"a": 100}, False, "Revision a is not Ready: ContainerMissing: no image"),
    (None, {}, True, "has become Ready yet: Why: so"),
])  # fmt: skip
def test_a_service_is_healthy_when_what_answers_its_requests_is(service, traffic, ready, expected):
    there = by_name(rev("a", ready=ready, trouble="ContainerMissing: no image"))
    said = trouble(service, "Why: so", traffic, there)
    assert said.endswith(expected)
    assert bool(said) == bool(expected)


# --- the phases ---

WINDOW = once("demo", "10:00", "11:00", 2)


class Pool:
    """A pool whose Knative Service shows what the test says."""

    def __init__(self, **spec):
        self.spec = pool_spec(targetRef=TARGET, **spec)
        self.memory = Memory()
        self.notes = []

    def look(self, now, actual=0, desired=None, pods=None, traffic=None):
        wanted = actual if desired is None else desired
        there = by_name(rev("a", actual=actual, desired=wanted), rev("b"))
        exist = max(actual, wanted) if pods is None else pods
        seen = observe(traffic or {"a": 100}, there, exist)
        decision = decide(self.spec, seen, self.memory, t(now), phases=KnativeStep)
        self.memory = decision.memory
        self.notes += [n.reason for n in decision.notes]
        assert decision.replicas is None
        assert not decision.sleep
        assert (self.memory.route.target, self.memory.route.epoch) == (Route.NATIVE, 0)
        assert decision.recheck > t(now)
        return decision

    @property
    def state(self):
        return (self.memory.phase, self.memory.reason)

    def state_at(self, now, **seen):
        self.look(now, **seen)
        return self.state


def test_a_window_from_asleep_to_asleep():
    pool = Pool(windows=[WINDOW], lead="30s")
    assert pool.look("09:00").floor == 0
    assert pool.state == (Phase.ASLEEP, Reason.IDLE)
    assert pool.look("09:59:30").floor == 2
    assert pool.state == (Phase.WARMING, Reason.WINDOW)
    assert pool.state_at("09:59:34", actual=1, desired=2) == (Phase.WARMING, Reason.WINDOW)
    assert pool.state_at("09:59:40", actual=2) == (Phase.WARM, Reason.WINDOW)
    assert pool.state_at("10:30", actual=5) == (Phase.WARM, Reason.WINDOW)
    assert pool.look("11:00", actual=2).floor == 0
    assert pool.state == (Phase.DRAINING, Reason.IDLE)
    assert pool.state_at("11:01:31", actual=0, pods=2) == (Phase.SLEEPING, Reason.IDLE)
    assert pool.state_at("11:01:40", actual=0) == (Phase.ASLEEP, Reason.IDLE)
    assert pool.notes == ["Warming", "Warm", "Draining", "Asleep"]


def test_a_window_that_opens_before_knative_is_ready_is_cold_and_then_late():
    pool = Pool(windows=[WINDOW])
    pool.look("09:50")
    pool.look("09:59", actual=0)
    pool.look("10:00", actual=1, desired=2)
    assert pool.memory.opening.cold
    pool.look("10:00:20", actual=2)
    assert pool.memory.opening.early == -20 * SECOND
    (took,) = pool.memory.warm_ups
    assert (took.seconds, took.replicas) == (80, 2)
    assert pool.notes == ["Warming", "WindowCold", "Warm", "WindowLate"]


def test_requests_outside_of_a_window_are_knatives_and_shown_as_demand():
    pool = Pool()
    pool.look("09:00")
    assert pool.look("09:01", actual=0, desired=1).floor == 0
    assert pool.state == (Phase.WARMING, Reason.DEMAND)
    assert pool.state_at("09:01:03", actual=1) == (Phase.WARM, Reason.DEMAND)
    assert pool.state_at("12:00", actual=3) == (Phase.WARM, Reason.DEMAND)
    assert pool.state_at("12:02", actual=0) == (Phase.ASLEEP, Reason.IDLE)


def test_one_revision_of_several_that_serves_is_warm_enough_without_a_floor():
    pool = Pool()
    assert pool.state_at("09:00", actual=1, traffic={"a": 90, "b": 10}) == (
        Phase.WARM,
        Reason.DEMAND,
    )


def test_pods_that_stay_long_after_the_floor_are_there_for_requests():
    pool = Pool(windows=[WINDOW])
    pool.look("10:30", actual=2)
    pool.look("11:00", actual=2)
    assert pool.state_at("11:04:59", actual=1) == (Phase.DRAINING, Reason.IDLE)
    assert pool.look("11:05", actual=1).recheck <= t("11:05") + MINUTE
    assert pool.state == (Phase.WARM, Reason.DEMAND)


def test_a_window_while_draining_makes_it_warm_again():
    pool = Pool(windows=[WINDOW, once("next", "11:02", "12:00", 2)], lead="10s")
    pool.look("10:30", actual=2)
    pool.look("11:00", actual=2)
    assert pool.memory.phase is Phase.DRAINING
    assert pool.state_at("11:01:50", actual=2) == (Phase.WARM, Reason.WINDOW)


def test_an_asleep_override_takes_the_floor_away_and_leaves_the_rest_to_knative():
    asleep = override("Asleep", t("12:00"))
    pool = Pool(windows=[WINDOW], override=asleep)
    pool.memory = replace(
        pool.memory, phase=Phase.WARM, reason=Reason.WINDOW, since=t("10:00"), last_active=None
    )
    assert pool.look("10:10", actual=2).floor == 0
    assert pool.state == (Phase.DRAINING, Reason.OVERRIDE)
    assert pool.state_at("10:12") == (Phase.ASLEEP, Reason.OVERRIDE)
    assert pool.look("10:20", desired=1).floor == 0
    assert pool.state == (Phase.WARMING, Reason.DEMAND)


def test_a_new_revision_has_to_prove_itself_as_any_new_template():
    pool = Pool(windows=[WINDOW])
    pool.look("10:30", actual=2)
    assert (pool.memory.template.hash, pool.memory.template.proven) == ("a", True)
    pool.look("10:31", actual=2, traffic={"a": 60, "b": 40})
    assert (pool.memory.template.hash, pool.memory.template.proven) == ("a", True)
    pool.look("10:32", actual=2, traffic={"b": 100})
    assert (pool.memory.template.hash, pool.memory.template.proven) == ("b", False)


@pytest.mark.parametrize("policy", [OnExhausted.BLOCK_STARTS, OnExhausted.SLEEP])
def test_a_spent_budget_takes_the_floor_away_and_leaves_requests_to_knative(policy):
    spec = pool_spec(targetRef=TARGET, windows=[once("w", "10:00", "12:00", 2)])
    began = t("10:00") if policy is OnExhausted.SLEEP else t("09:50")
    spent = Allowed(policy, began, t("23:00"), t("23:00"))
    warm = Memory(phase=Phase.WARM, reason=Reason.WINDOW, since=t("09:40"))
    seen = observe({"a": 100}, by_name(rev("a", "2", actual=2)), pods=2)
    going = decide(spec, seen, warm, t("10:30"), spent, KnativeStep)
    assert (going.floor, going.memory.phase) == (0, Phase.DRAINING)
    empty = observe({"a": 100}, by_name(rev("a")), pods=0)
    gone = decide(spec, empty, going.memory, t("10:35"), spent, KnativeStep)
    assert (gone.memory.phase, gone.memory.reason) == (Phase.ASLEEP, Reason.IDLE)
    asked = observe({"a": 100}, by_name(rev("a", actual=1)), pods=1)
    assert (
        decide(spec, asked, gone.memory, t("10:40"), spent, KnativeStep).memory.phase is Phase.WARM
    )
