"""Explores every state that a model can reach, breadth first."""

import contextlib
import gc
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

State = TypeVar("State", bound=Hashable)

Moves = Callable[[State], Iterable[tuple[str, State]]]
"""Gives the steps that a state allows, each with its name and the state it leads to."""


@dataclass(frozen=True)
class Broken(Generic[State]):
    """A rule that does not hold, and the shortest way there."""

    rule: str
    steps: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.rule}: " + " → ".join(self.steps)


@dataclass
class Explored(Generic[State]):
    """All states that were reached, and the first rule found broken."""

    came_by: dict[State, tuple[State, str] | None]
    leads_to: dict[State, list[tuple[str, State]]] = field(default_factory=dict)
    depth: int = 0
    is_whole: bool = True
    """Whether every state was reached; False when the depth ended the exploration."""
    broken: Broken[State] | None = None

    def way_to(self, state: State) -> tuple[str, ...]:
        """The names of the steps of a shortest way to a state."""
        steps: list[str] = []
        came = self.came_by[state]
        while came is not None:
            state, step = came
            steps.append(step)
            came = self.came_by[state]
        return tuple(reversed(steps))

    def stuck(self, needs: Callable[[State], bool], counts: Callable[[str], bool]) -> list[State]:
        """States with a need from which no sequence of steps leads to a state without it.

        Only steps that count are taken: a fault is no way out.
        """
        before: dict[State, list[State]] = {}
        for state, moves in self.leads_to.items():
            for step, after in moves:
                if counts(step):
                    before.setdefault(after, []).append(state)
        reached = {state for state in self.leads_to if not needs(state)}
        queue = deque(reached)
        while queue:
            for state in before.get(queue.popleft(), ()):
                if state not in reached:
                    reached.add(state)
                    queue.append(state)
        return [state for state in self.leads_to if state not in reached]


def explore(
    start: State, moves: Moves[State], check: Callable[[State], str], depth: int = 1_000_000
) -> Explored[State]:
    """Take every step from every state. `check` returns the rule that a state breaks, or ''.

    Ends at the first broken rule, or after `depth` steps from the start.
    """
    with _without_garbage_collection():
        return _explore(start, moves, check, depth)


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """All states are kept, so looking for garbage among them only takes time: a third of it."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _explore(
    start: State, moves: Moves[State], check: Callable[[State], str], depth: int
) -> Explored[State]:
    explored = Explored[State]({start: None})
    level = [start]
    while level:
        following: list[State] = []
        for state in level:
            if rule := check(state):
                explored.broken = Broken(rule, explored.way_to(state))
                return explored
            if explored.depth == depth:
                explored.is_whole = False
                continue
            out = explored.leads_to[state] = list(moves(state))
            for step, after in out:
                if after not in explored.came_by:
                    explored.came_by[after] = (state, step)
                    following.append(after)
        level = following
        explored.depth += bool(level)
    return explored
