"""What `make bench` measures, as rows of one table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One measured thing, with its goal and the command that measures it again.

    `median` and `spread` are for people and carry their units ("1.02 s", "0.98 to 1.10 s"); both
    say it in words where there is no median. `ratio` is what the goal is about where the goal is
    a ratio: two things measured in the same run, since absolute times differ between machines.
    `met` is None where there is no goal to meet, or nothing could be measured: `spread` says why.
    """

    what: str
    how: str
    median: str
    spread: str
    runs: int
    goal: str
    ratio: float | None
    met: bool | None
    command: str
