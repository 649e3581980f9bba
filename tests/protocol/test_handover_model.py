"""A pool goes from one set of activators to another in every order of events.

No request is lost, and the pool does not sleep under one that was passed on. See docs/protocol.md,
"From one set of activators to another".
"""

from dataclasses import fields

import pytest
from protocol.explore import Explored, explore
from protocol.handover_model import (
    Activator,
    HandoverModel,
    HandoverRules,
    Pool,
    State,
    broken,
    has_endpoint,
    is_handed_over,
)
from rows import each

WARM = State()

DOWN = Pool(0, "Asleep", 1)
ASLEEP = State(
    pool=DOWN,
    pod="none",
    replicas=0,
    proxy=1,
    activators=(
        Activator(pool=DOWN, pod=False, slice="ready", epoch=1),
        Activator(pool=DOWN, pod=False, other=True),
    ),
)

ALL_PASS = State(
    selects=False,
    proxy=1,
    activators=(Activator(pod=False, slice="ready", epoch=0), Activator(pod=False, other=True)),
)
"""Warm, and all connections pass the activator of set 0."""


def explored(start: State, rules: HandoverRules | None = None) -> Explored[State]:
    return explore(start, HandoverModel(rules).moves, broken)


def is_no_fault(step: str) -> bool:
    return not step.startswith("FAULT")


def needs_nobody(step: str) -> bool:
    """Whether a step happens also if an activator that was killed never comes back."""
    return is_no_fault(step) and not step.endswith("is back")


def is_left(s: State) -> bool:
    """Whether the former set is in front, although the pool's own could be."""
    return not is_handed_over(s) and s.activators[s.pool.set].life == "up"


def assert_holds(start: State) -> None:
    seen = explored(start)
    assert seen.broken is None, str(seen.broken)
    assert seen.stuck(lambda s: s.request == "held", is_no_fault) == []
    assert seen.stuck(lambda s: not has_endpoint(s), is_no_fault) == []
    assert seen.stuck(is_left, needs_nobody) == [], "the former set stays in front for ever"


def test_a_sleeping_pool_is_given_to_another_set() -> None:
    assert_holds(ASLEEP)


@pytest.mark.slow
@pytest.mark.parametrize("start", [WARM, ALL_PASS], ids=["warm", "all pass"])
def test_a_pool_is_given_to_another_set_at_any_moment_of_a_way_down(start: State) -> None:
    assert_holds(start)


@pytest.mark.slow
def test_the_former_activators_may_end_before_the_pool_is_given_to_others() -> None:
    """As when an upgrade deletes their Deployment."""
    assert_holds(ASLEEP._replace(ends=True))


@pytest.mark.slow
def test_one_fault_while_a_sleeping_pool_is_handed_over() -> None:
    """An activator of either set is killed, another operator leads, or the pod starts again."""
    assert_holds(ASLEEP._replace(faults=1))


@pytest.mark.soak
@pytest.mark.parametrize("start", [WARM, ALL_PASS], ids=["warm", "all pass"])
def test_one_fault_while_a_pool_is_handed_over_at_any_moment(start: State) -> None:
    assert_holds(start._replace(faults=1))


@pytest.mark.soak
@pytest.mark.parametrize("start", [WARM, ASLEEP, ALL_PASS], ids=["warm", "asleep", "all pass"])
def test_a_pool_is_given_to_another_set_and_back(start: State) -> None:
    assert_holds(start._replace(changes=2))


BREAKS = {
    "stays_until_replaced": ("R1", ASLEEP),
    "ends_when_replaced": ("R1", ASLEEP._replace(ends=True)),
    "withdraws_only_replaced": ("R1", ASLEEP._replace(faults=1)),
    "withdraws_only_lost": ("step 5", ALL_PASS),
    "waits_for_the_front": ("step 5", ALL_PASS),
    "asks_owners": ("step 5", ALL_PASS),
    "keeps_the_record": ("step 5", ALL_PASS),
    "leaves_after_settling": ("R1", ASLEEP._replace(changes=2)),
    "hears_in_time": ("R1", ASLEEP._replace(changes=2)),
}


@pytest.mark.slow
@each("left_out, breaks", BREAKS.items())
def test_without_one_of_its_parts_a_handover_breaks_a_rule(
    left_out: str, breaks: tuple[str, State]
) -> None:
    rule, start = breaks
    seen = explored(start, HandoverRules(**{left_out: False}))
    assert seen.broken is not None
    assert seen.broken.rule.startswith(rule)


@pytest.mark.slow
def test_unless_the_operator_withdraws_it_the_slice_of_a_lost_activator_stays_in_front() -> None:
    seen = explored(ASLEEP._replace(faults=1), HandoverRules(withdraws=False))
    assert seen.stuck(is_left, needs_nobody)


def test_every_part_of_a_handover_is_left_out_once() -> None:
    assert {f.name for f in fields(HandoverRules)} == BREAKS.keys() | {"withdraws"}
