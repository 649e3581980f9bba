"""Sharing a target with a HorizontalPodAutoscaler: what minReplicas is, and who moves replicas."""

from dataclasses import replace

import pytest

from kotatsu_operator.core.decide.decide import decide, own_steps, remember_original, wanted_minimum
from kotatsu_operator.core.pool.decision import Autoscaler, Demand, Observation
from kotatsu_operator.core.pool.memory import Memory, Original, Phase, Route, Routing
from tests.operator.core.values import once, override, pool_spec, t

HPA = Autoscaler("voice", min_replicas=2, max_replicas=6)
WAS = Original("voice", 2)
WINDOW = pool_spec(windows=[once("pitch", "10:00", "12:00", 4)], prewarm={"lead": "0s"})


# --- what is given back ---


def test_what_people_set_is_what_is_given_back() -> None:
    assert remember_original(HPA, None) == WAS


def test_what_the_operator_raised_it_to_is_not() -> None:
    assert remember_original(replace(HPA, min_replicas=5, ours=True), WAS) == WAS


def test_who_edits_it_while_it_is_raised_has_said_what_it_should_be() -> None:
    assert remember_original(replace(HPA, min_replicas=3), WAS) == Original("voice", 3)


def test_another_autoscaler_begins_anew_and_one_that_is_gone_is_forgotten() -> None:
    assert remember_original(replace(HPA, name="new", ours=True), WAS) == Original("new", 2)
    assert remember_original(None, WAS) is None


# --- what it should be ---


@pytest.mark.parametrize(
    ("awake", "floor", "replicas", "released", "wanted"),
    [
        (True, 4, 0, False, 4),
        (True, 1, 4, False, 2),
        (True, 0, 4, False, 2),
        (True, 9, 4, False, 6),
        (False, 0, 3, False, 5),
        (False, 0, 0, False, 2),
        (True, 4, 4, True, 2),
    ],
    ids=[
        "a floor",
        "a floor below what it was",
        "no floor any more",
        "no higher than its maximum",
        "left while going down",
        "given back at 0",
        "given back to a suspended pool's",
    ],
)
def test_the_minimum_follows_the_floor(awake, floor, replicas, released, wanted) -> None:
    now = replace(HPA, min_replicas=5, ours=True)
    found = wanted_minimum(now, WAS, awake=awake, floor=floor, replicas=replicas, released=released)
    assert found == wanted


def test_an_autoscaler_that_may_go_to_zero_may_not_end_or_start_the_pods_of_a_pool() -> None:
    none = Original("voice", 0)
    assert wanted_minimum(HPA, none, awake=True, floor=0, replicas=1, released=False) == 1
    assert wanted_minimum(HPA, none, awake=False, floor=0, replicas=0, released=False) == 1


def test_its_minimum_of_zero_is_what_is_given_back() -> None:
    none = Original("voice", 0)
    assert remember_original(replace(HPA, min_replicas=0), None) == none
    assert wanted_minimum(HPA, none, awake=False, floor=0, replicas=0, released=True) == 0


@pytest.mark.parametrize(
    ("wanted", "floor", "replicas", "moved"),
    [
        (4, 4, 0, 4),
        (4, 4, 2, 4),
        (4, 4, 5, None),
        (8, 8, 5, 6),
        (8, 8, 6, None),
        (1, 0, 3, None),
        (1, 0, 0, 1),
        (None, 0, 3, None),
    ],
)
def test_replicas_are_moved_only_up_to_the_floor(wanted, floor, replicas, moved) -> None:
    assert own_steps(HPA, wanted, floor, replicas) == moved


# --- in a decision ---


def decided(memory: Memory, at: str, spec=WINDOW, hpa=HPA, **seen: object):
    return decide(spec, Observation(**{"pods": 0} | seen, autoscaler=hpa), memory, t(at))


ASLEEP = Memory(phase=Phase.ASLEEP, since=t("08:00"), route=Routing(Route.ACTIVATOR, 1))
WARM = Memory(phase=Phase.WARM, since=t("10:00"), route=Routing(epoch=1), last_active=t("10:00"))
RAISED = replace(HPA, min_replicas=4, ours=True)


def test_a_window_raises_the_minimum_and_the_scale() -> None:
    decision = decided(ASLEEP, "10:00", replicas=0, ready=0)
    assert (decision.minimum, decision.replicas) == (4, 4)
    assert decision.memory.original == WAS


def test_demand_above_the_floor_is_the_autoscalers_work() -> None:
    busy = Demand(in_flight=50)
    decision = decided(WARM, "11:00", hpa=RAISED, replicas=5, ready=5, demand=busy)
    assert (decision.minimum, decision.replicas) == (4, None)
    assert decision.memory.phase is Phase.WARM


def test_a_pool_that_is_awake_for_requests_is_left_to_the_autoscaler() -> None:
    decision = decided(WARM, "09:00", replicas=3, ready=3, demand=Demand(in_flight=1))
    assert (decision.minimum, decision.replicas) == (2, None)


def test_when_a_window_closes_the_minimum_stays_until_the_scale_is_zero() -> None:
    memory = replace(WARM, original=WAS)
    down = decided(memory, "12:30", hpa=RAISED, replicas=4, ready=4)
    assert (down.memory.phase, down.minimum) == (Phase.DRAINING, 4)
    sleeping = replace(down.memory, phase=Phase.SLEEPING)
    assert decided(sleeping, "12:31", hpa=RAISED, replicas=0, ready=0).minimum == 2


def test_when_a_window_closes_on_a_busy_pool_the_autoscaler_goes_on_from_its_own_minimum() -> None:
    memory = replace(WARM, original=WAS)
    busy = Demand(in_flight=9)
    decision = decided(memory, "12:30", hpa=RAISED, replicas=4, ready=4, demand=busy)
    assert (decision.memory.phase, decision.minimum, decision.replicas) == (Phase.WARM, 2, None)


def test_a_suspended_pool_gives_it_back_and_moves_nothing() -> None:
    spec = replace(WINDOW, suspend=True)
    memory = replace(WARM, original=WAS)
    decision = decided(memory, "11:00", spec, RAISED, replicas=4, ready=4)
    assert (decision.minimum, decision.replicas) == (2, None)


def test_a_floor_above_its_maximum_is_reached_as_far_as_it_goes() -> None:
    spec = pool_spec(override=override("Warm", t("12:00"), replicas=9))
    decision = decided(ASLEEP, "10:00", spec, replicas=0, ready=0)
    assert (decision.floor, decision.minimum, decision.replicas) == (9, 6, 6)
    full = decided(decision.memory, "10:01", spec, replicas=6, ready=6)
    assert full.memory.phase is Phase.WARM


def test_without_an_autoscaler_there_is_nothing_to_set() -> None:
    assert decided(ASLEEP, "10:00", hpa=None, replicas=0, ready=0).minimum is None
