"""A pod whose requests were reduced gets them back, whenever the operator ends or is behind."""

from dataclasses import fields

from protocol.explore import Explored, explore
from protocol.parking_model import ParkingModel, Rules, State, broken
from rows import each


def explored(rules: Rules | None = None, faults: int = 2) -> Explored[State]:
    return explore(State(faults=faults), ParkingModel(rules).moves, broken)


def is_small(state: State) -> bool:
    return state.phase == "Warm" and state.small


def test_no_order_of_steps_leaves_a_warm_pool_with_a_small_pod() -> None:
    seen = explored()
    assert seen.broken is None, str(seen.broken)
    assert seen.stuck(is_small, lambda step: not step.startswith("FAULT")) == []


@each("left_out", [f.name for f in fields(Rules)])
def test_without_one_of_its_parts_a_pod_stays_small_and_no_operator_knows(left_out: str) -> None:
    seen = explored(Rules(**{left_out: False}))
    assert seen.broken is not None
    assert seen.broken.rule == "a small pod without a record"
