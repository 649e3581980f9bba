"""Rules R1 to R3 and steps 1 to 7 of docs/protocol.md hold in every order of events.

Each exploration takes every step of operator, activators, kube-proxy and clients from every state.
"Holds" means that it breaks in no order, for that many requests, ways down and faults.
"""

from dataclasses import fields

import pytest
from protocol.explore import Explored, explore
from protocol.sleep_model import (
    FAILED,
    POD,
    Activator,
    Request,
    Rules,
    SleepModel,
    State,
    broken,
    endpoint,
    has_endpoint,
)
from rows import each


def explored(
    rules: Rules | None = None,
    *,
    requests: int = 1,
    ways_down: int = 1,
    faults: int = 0,
    start: State | None = None,
    metered: bool = True,
    parks: bool = False,
) -> Explored[State]:
    start = start or State(requests=(Request(),) * requests, faults=faults)
    model = SleepModel(rules, ways_down, metered=metered, parks=parks)
    return explore(start, model.moves, broken)


def assert_holds(seen: Explored[State]) -> None:
    assert seen.broken is None, str(seen.broken)


def is_no_fault(step: str) -> bool:
    return not step.startswith("FAULT")


LOST, NEW = (
    Activator(
        alive=False, phase="Asleep", route="Activator", epoch=1, pod_ready=False, published=1
    ),
    Activator(phase="Asleep", route="Activator", epoch=1, pod_ready=False),
)
ASLEEP_WITH_A_LOST_ACTIVATOR = State(
    phase="Asleep",
    route="Activator",
    epoch=1,
    settled="settled",
    replicas=0,
    pod="none",
    proxy=endpoint(0),
    activators=(LOST, NEW),
    requests=(Request(),),
)


IN_FRONT = Activator(route="Activator", epoch=1, published=1)
ALL_PASS = State(
    route="Activator",
    epoch=1,
    proxy=endpoint(0) | endpoint(1),
    selects=False,
    activators=(IN_FRONT, IN_FRONT),
    requests=(Request(),),
)
"""Warm, and all connections pass the activators. The next way down is the second epoch."""


ASIDE = IN_FRONT._replace(phase="Parked")
PARKED = ALL_PASS._replace(
    phase="Parked",
    proxy=POD | endpoint(0) | endpoint(1),
    selects=True,
    activators=(ASIDE, ASIDE),
)
"""Parked. The way down from here is the second epoch."""


def parked(*, metered: bool) -> State:
    """A parked pool whose pods are asked, or one whose connections all pass the activators."""
    return PARKED if metered else PARKED._replace(selects=False, proxy=ALL_PASS.proxy)


def waits(state: State) -> bool:
    return state.pod != "failed" and any(r.where == "held" for r in state.requests)


def test_one_request_at_any_moment_of_a_way_down() -> None:
    seen = explored()
    assert_holds(seen)
    assert seen.stuck(waits, is_no_fault) == [], "a request is held for ever"


@pytest.mark.slow
def test_one_request_at_any_moment_of_a_way_down_of_a_pool_whose_connections_all_pass() -> None:
    seen = explored(start=ALL_PASS, ways_down=2, metered=False)
    assert_holds(seen)
    assert seen.stuck(waits, is_no_fault) == []


@pytest.mark.slow
def test_one_request_at_any_moment_while_auto_decides_and_before_the_first_sleep() -> None:
    """What reached the pod before is answered before it is gone."""
    seen = explored(ways_down=2, metered=False)
    assert_holds(seen)
    assert seen.stuck(waits, is_no_fault) == []


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize("start", [ALL_PASS, State(requests=(Request(),))], ids=["all", "decides"])
def test_one_request_and_one_fault_where_all_connections_pass(start: State) -> None:
    seen = explored(start=start._replace(faults=1), ways_down=2, metered=False)
    assert_holds(seen)
    assert seen.stuck(lambda state: not has_endpoint(state), is_no_fault) == []


ALL_PASS_BREAKS = {
    "waits_for_acknowledgement": "step 5",
    "asks_activators": "step 5",
    "announces": "step 5",
    "names_pool_version": "step 5",
}


@each("left_out, rule", ALL_PASS_BREAKS.items())
def test_without_one_of_its_parts_the_protocol_breaks_where_all_connections_pass(
    left_out: str, rule: str
) -> None:
    rules = Rules(**{left_out: False})
    seen = explored(rules, start=ALL_PASS, ways_down=2, metered=False)
    assert seen.broken is not None
    assert seen.broken.rule.startswith(rule)


TAKING_BREAKS = {"takes_once_published": "R1", "sleeps_once_taken": "step 2"}


@pytest.mark.slow
@pytest.mark.parametrize(("left_out", "rule"), TAKING_BREAKS.items())
def test_a_service_that_is_taken_at_another_time_breaks_the_protocol(
    left_out: str, rule: str
) -> None:
    seen = explored(Rules(**{left_out: False}), ways_down=2, metered=False)
    assert seen.broken is not None
    assert seen.broken.rule.startswith(rule)


@pytest.mark.slow
@pytest.mark.parametrize("metered", [True, False])
def test_one_request_at_any_moment_of_a_parked_pool(*, metered: bool) -> None:
    seen = explored(start=parked(metered=metered), ways_down=2, metered=metered, parks=True)
    assert_holds(seen)
    assert seen.stuck(waits, is_no_fault) == []


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.parametrize("metered", [True, False])
def test_one_request_and_one_fault_for_a_parked_pool(*, metered: bool) -> None:
    start = parked(metered=metered)._replace(faults=1)
    seen = explored(start=start, ways_down=2, metered=metered, parks=True)
    assert_holds(seen)
    assert seen.stuck(waits, is_no_fault) == []
    assert seen.stuck(lambda state: not has_endpoint(state), is_no_fault) == []


@pytest.mark.soak
def test_one_request_and_a_pool_that_is_parked_before_it_sleeps() -> None:
    assert_holds(explored(ways_down=2, parks=True))


PARKED_BREAKS = {"drains_when_parked": "step 5", "counts_each_way_down": "step 5"}


@pytest.mark.slow
@pytest.mark.parametrize("metered", [True, False])
@pytest.mark.parametrize(("left_out", "rule"), PARKED_BREAKS.items())
def test_a_parked_pool_that_sleeps_by_a_shorter_way_breaks_the_protocol(
    left_out: str, rule: str, *, metered: bool
) -> None:
    rules = Rules(**{left_out: False})
    start = parked(metered=metered)
    seen = explored(rules, start=start, ways_down=2, metered=metered, parks=True)
    assert seen.broken is not None
    assert seen.broken.rule.startswith(rule)


@pytest.mark.slow
def test_one_request_and_one_fault_at_any_moment() -> None:
    seen = explored(faults=1)
    assert_holds(seen)
    assert seen.stuck(waits, is_no_fault) == []
    assert seen.stuck(lambda state: not has_endpoint(state), is_no_fault) == []


@pytest.mark.slow
def test_one_request_and_a_second_way_down() -> None:
    assert_holds(explored(ways_down=2))


@pytest.mark.soak
def test_two_requests_at_any_moment_of_a_way_down() -> None:
    assert_holds(explored(requests=2))


@pytest.mark.soak
def test_one_request_and_two_faults_at_any_moment() -> None:
    assert_holds(explored(faults=2))


BREAKS_WITH_ONE_REQUEST = {
    "waits_for_acknowledgement": "R1",
    "asks_activators": "step 5",
    "asks_pods": "step 5",
    "asks_activators_first": "step 5",
    "announces": "step 5",
    "names_pool_version": "step 5",
    "raises_from_zero": "R3",
    "pre_stop": "R1",
}
BREAKS_WITH_A_FAULT = {"names_scale_version": "R2", "checks_the_lead": "R1"}
BREAKS_WITH_TWO_REQUESTS = {
    "announces_anew": "step 5",
    "announces_after_a_look": "step 5",
    "counts_looks_from_the_beginning": "step 5",
}


def assert_breaks(left_out: str, rule: str, **size: int) -> None:
    seen = explored(Rules(**{left_out: False}), **size)
    assert seen.broken is not None
    assert seen.broken.rule.startswith(rule)


@pytest.mark.slow
@pytest.mark.parametrize(("left_out", "rule"), BREAKS_WITH_ONE_REQUEST.items())
def test_without_one_of_its_parts_the_protocol_breaks(left_out: str, rule: str) -> None:
    assert_breaks(left_out, rule)


@pytest.mark.slow
@pytest.mark.parametrize(("left_out", "rule"), BREAKS_WITH_A_FAULT.items())
def test_without_one_of_its_parts_a_fault_breaks_the_protocol(left_out: str, rule: str) -> None:
    assert_breaks(left_out, rule, faults=1)


@pytest.mark.slow
@pytest.mark.parametrize(("left_out", "rule"), BREAKS_WITH_TWO_REQUESTS.items())
def test_without_one_of_its_parts_a_second_request_breaks_the_protocol(
    left_out: str, rule: str
) -> None:
    assert_breaks(left_out, rule, requests=2)


def test_the_last_endpoint_of_a_lost_activator_stays_until_another_one_has_published() -> None:
    assert_holds(explored(start=ASLEEP_WITH_A_LOST_ACTIVATOR))
    hasty = Rules(takes_back_what_another_answers=False)
    seen = explored(hasty, start=ASLEEP_WITH_A_LOST_ACTIVATOR)
    assert seen.broken is not None
    assert seen.broken.rule.startswith("R1")


@pytest.mark.slow
def test_an_activator_that_leaves_before_kube_proxy_has_the_pod_leaves_nobody() -> None:
    seen = explored(Rules(leaves_after_settling=False), ways_down=2)
    assert seen.broken is not None
    assert seen.broken.rule.startswith("R1")


WITH_A_FAILED_POD = State(pod="failed", proxy=FAILED)


@pytest.mark.slow
def test_without_publishing_for_a_failed_pod_the_service_stays_without_an_endpoint() -> None:
    def stuck(rules: Rules) -> list[State]:
        seen = explored(rules, start=WITH_A_FAILED_POD)
        return seen.stuck(lambda state: not has_endpoint(state), is_no_fault)

    assert not stuck(Rules())
    assert stuck(Rules(publishes_without_pods=False))


@pytest.mark.soak
def test_the_settle_time_protects_nothing_that_pre_stop_does_not() -> None:
    """It is there so that requests reach the activators before the pods go."""
    assert_holds(explored(Rules(settles=False), faults=1))


def test_every_part_of_the_protocol_is_left_out_once() -> None:
    known = BREAKS_WITH_ONE_REQUEST | BREAKS_WITH_A_FAULT | BREAKS_WITH_TWO_REQUESTS
    known |= PARKED_BREAKS | TAKING_BREAKS
    elsewhere = {
        "settles",
        "leaves_after_settling",
        "publishes_without_pods",
        "takes_back_what_another_answers",
    }
    assert {f.name for f in fields(Rules)} == known.keys() | elsewhere
