"""A step down through activators as a machine of states: two pods of which one goes, and requests.

Two activators, whose watches lag, give requests to pods. The operator asks them, decides on what
its own watch has shown, marks, and lowers. Then the controller ends a pod:
a marked one, or any if the pods are equal. Demand may ask for both pods at any moment, and ask for
one again. The operator and the activators may end at any step, and an operator that stood still may
go on while another one leads.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

PODS = (0, 1)
Marks = tuple[bool, bool]
"""Of each pod."""
NONE: Marks = (False, False)
ALL: Marks = (True, True)


@dataclass(frozen=True)
class Rules:
    """The parts of the protocol; each can be left out."""

    marks: bool = True
    """The pod that goes is marked; if not, the operator expects one, and the controller chooses."""
    avoids: bool = True
    """An activator gives no new request to a marked pod while there is another one."""
    acknowledges: bool = True
    """A pod counts as free only where an activator knows its mark."""
    agrees: bool = True
    """Each activator knows just the mark that there is: with both pods marked, it avoids none."""
    asks: bool = True
    """It is free only if it has no request."""
    asks_all: bool = True
    """All activators are asked."""
    keeps_the_mark: bool = True
    """A mark stays until the controller has ended a pod."""
    checks_the_lead: bool = True
    """An operator that stood still notices before it writes that another one leads."""


class State(NamedTuple):
    """The cluster, and what the programs know of it."""

    marks: Marks = NONE
    shown: tuple[Marks, Marks, Marks] = (NONE, NONE, NONE)
    """The marks as the watches of both activators and of the operator have shown them."""
    requests: tuple[tuple[int, int] | str, ...] = ("", "")
    """Each is to come, is in a pod (activator, pod), or is done."""
    wanted: int = 1
    step: int = 0
    """How many activators the operator has asked; LOWERS if it has decided to lower."""
    free: Marks = ALL
    """The pods that are free by all answers so far."""
    known: Marks | None = None
    """The marks that all of these know; None: nobody was asked, or they differ."""
    ghost: bool = False
    """Whether an operator stands still that has decided to lower."""
    scale: int = 2
    ended: int | None = None
    turns: int = 1
    """How often demand may still turn."""
    faults: int = 0
    """How many faults may still happen."""


LOWERS = 3
OPERATOR = 2


class LowerModel:
    """The steps of lowering under some rules."""

    def __init__(self, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()

    def moves(self, s: State) -> Iterator[tuple[str, State]]:
        """Every step that can be taken next."""
        if s.ended is not None:
            return
        yield from self._requests(s)
        yield from self._operator(s)
        yield from self._controller(s)
        for watch, shown in enumerate(s.shown):
            if shown != s.marks:
                yield f"watch {watch} shows the marks", _shows(s, watch)
        if s.turns and s.scale == 2:
            yield "demand turns", s._replace(wanted=3 - s.wanted, turns=s.turns - 1)
        if s.faults:
            yield from _faults(s)

    def _requests(self, s: State) -> Iterator[tuple[str, State]]:
        for n, request in enumerate(s.requests):
            if request == "":
                for activator in (0, 1):
                    for pod in self._choices(s.shown[activator]):
                        name = f"activator {activator} gives request {n} to pod {pod}"
                        yield name, _at(s, n, (activator, pod))
            elif request != "done":
                yield f"request {n} is answered", _at(s, n, "done")

    def _choices(self, known: Marks) -> list[int]:
        others = [pod for pod in PODS if not known[pod]]
        return others if others and self.rules.avoids else list(PODS)

    def _operator(self, s: State) -> Iterator[tuple[str, State]]:
        asks = 2 if self.rules.asks_all else 1
        if s.step < asks:
            answer, known = self._answer(s, s.step), s.shown[s.step]
            free = (s.free[0] and answer[0], s.free[1] and answer[1])
            after = s._replace(step=s.step + 1, free=free)
            is_same = s.step == 0 or s.known == known
            yield f"activator {s.step} answers", after._replace(known=known if is_same else None)
        elif s.step == LOWERS:
            yield "the operator lowers the scale", _again(s)._replace(scale=1)
        else:
            yield from self._decide(s)

    def _answer(self, s: State, activator: int) -> Marks:
        known = s.shown[activator] if self.rules.acknowledges and self.rules.marks else ALL
        used = {where[1] for where in s.requests if where[:1] == (activator,)}
        is_free = [known[pod] and not (self.rules.asks and pod in used) for pod in PODS]
        return is_free[0], is_free[1]

    def _decide(self, s: State) -> Iterator[tuple[str, State]]:
        again = _again(s)
        known = s.shown[OPERATOR]
        do_agree = (s.known == known != ALL) or not self.rules.agrees
        if s.scale == 1 or s.wanted == 2:
            is_kept = s.scale == 1 and self.rules.keeps_the_mark
            if known == NONE or is_kept:
                yield "the operator leaves all as it is", again
            else:
                for pod in PODS:
                    if known[pod]:
                        yield (
                            f"the operator takes the mark of pod {pod}",
                            _marked(again, pod, False),
                        )
            return
        if not self.rules.marks:
            yield (
                "the operator expects pod 1",
                s._replace(step=LOWERS) if s.free[1] else again,
            )
            return
        if do_agree and all(s.free[pod] for pod in _may_end(known)):
            yield "the operator decides to lower", s._replace(step=LOWERS)
            return
        chosen = [pod for pod in PODS if known[pod]][:1] or list(PODS)
        for pod in chosen:
            after = _marked(again, pod, True)
            yield f"the operator marks pod {pod}", after
            if known[1 - pod]:
                yield f"and takes the other mark than {pod}", _marked(after, 1 - pod, False)

    def _controller(self, s: State) -> Iterator[tuple[str, State]]:
        if s.scale == 1:
            for pod in _may_end(s.marks):
                yield f"the controller ends pod {pod}", s._replace(ended=pod)
        if s.ghost and self.rules.checks_the_lead:
            yield "the ghost stops", s._replace(ghost=False)
        elif s.ghost:
            yield "the ghost lowers the scale", s._replace(ghost=False, scale=1)


def _faults(s: State) -> Iterator[tuple[str, State]]:
    less = s._replace(faults=s.faults - 1)
    fresh = _again(_shows(less, OPERATOR))
    yield "FAULT another operator starts", fresh
    if s.step == LOWERS:
        yield "FAULT another operator starts, and this one goes on", fresh._replace(ghost=True)
    for activator in (0, 1):
        cut = tuple("done" if where[:1] == (activator,) else where for where in s.requests)
        yield (
            f"FAULT activator {activator} starts again",
            _shows(less._replace(requests=cut), activator),
        )


def _again(s: State) -> State:
    """The operator asks anew."""
    return s._replace(step=0, free=ALL, known=None)


def _may_end(marks: Marks) -> list[int]:
    """The pods that a controller may end: the marked ones first, any of equal ones."""
    return [pod for pod in PODS if marks[pod]] or list(PODS)


def _marked(s: State, pod: int, mark: bool) -> State:
    return s._replace(marks=(mark, s.marks[1]) if pod == 0 else (s.marks[0], mark))


def _shows(s: State, watch: int) -> State:
    shown = tuple(s.marks if n == watch else known for n, known in enumerate(s.shown))
    return s._replace(shown=(shown[0], shown[1], shown[2]))


def _at(s: State, n: int, where: tuple[int, int] | str) -> State:
    return s._replace(requests=tuple(where if m == n else r for m, r in enumerate(s.requests)))


def broken(s: State) -> str:
    """The rule that a state breaks, or ''."""
    is_cut = any(where[1:] == (s.ended,) for where in s.requests)
    return "a pod ended with a request" if is_cut else ""
