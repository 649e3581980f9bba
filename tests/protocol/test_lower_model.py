"""A step down ends no request, whichever program ends or is behind."""

from dataclasses import fields

import pytest
from protocol.explore import Explored, explore
from protocol.lower_model import LowerModel, Rules, State, broken
from rows import each


def explored(rules: Rules | None = None, faults: int = 0) -> Explored[State]:
    return explore(State(faults=faults), LowerModel(rules).moves, broken)


def waits(state: State) -> bool:
    return state.wanted == 1 and state.ended is None


def test_no_order_of_steps_ends_a_pod_with_a_request_and_each_leads_to_one_pod() -> None:
    seen = explored()
    assert seen.broken is None, str(seen.broken)
    assert seen.stuck(waits, lambda step: not step.startswith("FAULT")) == []


@pytest.mark.slow
def test_nor_with_two_faults() -> None:
    seen = explored(faults=2)
    assert seen.broken is None, str(seen.broken)
    assert seen.stuck(waits, lambda step: not step.startswith("FAULT")) == []


@pytest.mark.slow
@each("left_out", [f.name for f in fields(Rules)])
def test_without_one_of_its_parts_a_request_is_cut(left_out: str) -> None:
    seen = explored(Rules(**{left_out: False}), faults=left_out == "checks_the_lead")
    assert seen.broken is not None
