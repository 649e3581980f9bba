"""Steps 1, 3 and 4 of parked pods as a machine of states: a pod's requests, and their record.

One pod, which is Ready all the time; what requests do is in sleep_model.py. The operator decides on
what its watch has shown, which may be old. A resize may be rejected. The operator may end or stand
still between a write of the status and the resizes.

One assumption about time: SHOWN_AFTER lasts until the watch has shown every resize before it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Rules:
    """The parts of the protocol; each can be left out."""

    records_first: bool = True
    """Step 1: the status says `reduced` before the first resize."""
    keeps_the_record: bool = True
    """Step 4: `reduced` stays until the pod has its full requests."""
    waits_until_shown: bool = True
    """Step 4: it stays until the watch must have shown every resize."""
    checks_the_lead: bool = True
    """An operator that stood still notices before it writes that another one leads."""


class State(NamedTuple):
    """The pod, the status, and what the operator knows."""

    phase: str = "Warm"
    reduced: bool = False
    small: bool = False
    """Whether the pod has the requests of a parked one."""
    seen: bool = False
    """The same as the operator's watch has shown it."""
    is_shown: bool = True
    """Whether SHOWN_AFTER is over since the phase began."""
    step: str = ""
    """Of the operator: '' (deciding), reducing, restoring or restored."""
    ghost: str = ""
    """Of an operator that stood still while another took over."""
    faults: int = 0
    """How many faults may still happen."""


class ParkingModel:
    """The steps of parking under some rules."""

    def __init__(self, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()

    def moves(self, s: State) -> Iterator[tuple[str, State]]:
        """Every step that can be taken next."""
        yield from self._operator(s)
        if s.ghost and self.rules.checks_the_lead:
            yield "ghost stops", s._replace(ghost="")
        elif s.ghost:
            yield "ghost resizes", s._replace(ghost="", small=s.ghost == "reducing")
        if s.seen != s.small:
            yield "the watch shows the pod", s._replace(seen=s.small)
        elif not s.is_shown:
            yield "SHOWN_AFTER is over", s._replace(is_shown=True)
        if s.faults:
            less = s._replace(faults=s.faults - 1, seen=s.small, step="")
            yield "FAULT another operator starts", less
            if s.step in ("reducing", "restoring"):
                yield (
                    "FAULT another operator starts, and this one goes on",
                    less._replace(ghost=s.step),
                )

    def _operator(self, s: State) -> Iterator[tuple[str, State]]:
        if s.step == "":
            yield from self._decide(s)
        elif s.step == "reducing":
            yield from _resize(s, small=True, then="" if s.reduced else "reduced")
        elif s.step == "reduced":
            yield "operator writes Parked", _parked(s)._replace(step="")
        elif s.step == "restoring":
            yield from _resize(s, small=False, then="restored" if s.phase == "Parked" else "")
        else:
            kept = s.reduced and self.rules.keeps_the_record
            warm = s._replace(phase="Warm", reduced=kept, is_shown=False, step="")
            yield "operator writes Warm", warm

    def _decide(self, s: State) -> Iterator[tuple[str, State]]:
        if s.phase == "Parked":
            yield (
                "operator restores the pod",
                s._replace(step="restoring" if s.seen else "restored"),
            )
            if not s.seen:
                yield "operator reduces what is left", s._replace(step="reducing")
            return
        if self.rules.records_first:
            yield "operator writes Parked", _parked(s)._replace(step="reducing")
        else:
            yield "operator parks the pod", s._replace(step="reducing")
        if s.reduced and s.seen:
            yield "operator restores what is left", s._replace(step="restoring")
        elif s.reduced and (s.is_shown or not self.rules.waits_until_shown):
            yield "operator closes the record", s._replace(reduced=False)


def _parked(s: State) -> State:
    return s._replace(phase="Parked", reduced=True, is_shown=False)


def _resize(s: State, *, small: bool, then: str) -> Iterator[tuple[str, State]]:
    """The answer to a resize has the pod: it need not wait for the watch."""
    yield "the pod is resized", s._replace(small=small, seen=small, step=then)
    yield "a resize is rejected", s._replace(step=then)
    yield "a resize is not answered", s._replace(small=small, step=then)


def broken(s: State) -> str:
    """The rule that a state breaks, or ''."""
    return "a small pod without a record" if s.small and not s.reduced else ""
