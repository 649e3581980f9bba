"""What `make bench` measures: rows, the circumstances of each topic, and all of it as a file.

Rows of a topic are measured in one go on one machine, so its ratios stand for themselves. Topics
may be measured at different times: the file keeps the newest of each.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "benchmarks" / "results.json"
"""What is published. README's figures are these, which a test checks."""
MEASURED = ROOT / "build" / "benchmarks" / "results.json"
"""What was measured in this checkout."""
BUSY_SHARE = 0.15
"""Share of the cores that others may use before a topic begins; above, its rows say so."""


@dataclass(frozen=True)
class Row:
    """One measured thing, with its goal and the command that measures it again.

    `median` and `spread` are for people and carry their units ("1.02 s", "min 0.98 s, p95 1.1 s,
    max 1.3 s"); both say it in words where there is no median. `goal` begins with ≤ or ≥ and the
    number that `ratio` is held against, where there is one: two things measured in the same run,
    since absolute times differ between machines. `met` is None where there is no goal, or where
    nothing could be measured: `spread` says why.
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


@dataclass(frozen=True)
class Machine:
    """What a topic was measured on."""

    cpu: str
    cores: int
    memory_gib: float
    kernel: str

    def __str__(self) -> str:
        return f"{self.cores} cores of {self.cpu}, {self.memory_gib:.0f} GiB, Linux {self.kernel}"


@dataclass(frozen=True)
class Topic:
    """The rows of one topic and what was going on around them."""

    name: str
    at: str
    """When it began (UTC)."""
    seconds: float
    machine: Machine
    versions: Mapping[str, str]
    load: tuple[float, float]
    """The load average of a minute, at the beginning and at the end."""
    busy: float
    """Share of the cores that others used just before it began."""
    rows: tuple[Row, ...] = field(default=())

    @property
    def was_disturbed(self) -> bool:
        """Whether others used the machine: the ratios may still hold, the times do not."""
        return self.busy > BUSY_SHARE

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Topic":
        """Read one. Raises KeyError or TypeError when it is something else."""
        plain = dict(data)
        plain["machine"] = Machine(**plain["machine"])
        plain["load"] = tuple(plain["load"])
        plain["rows"] = tuple(Row(**row) for row in plain["rows"])
        return cls(**plain)

    def to_json(self) -> dict[str, Any]:
        """As `from_json` reads it."""
        return asdict(self)


def read(path: Path) -> list[Topic]:
    """The topics of a file, in its order; none when there is no file."""
    if not path.exists():
        return []
    return [Topic.from_json(topic) for topic in json.loads(path.read_text())["topics"]]


def write(topics: Iterable[Topic], path: Path) -> None:
    """Write the file anew."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"topics": [t.to_json() for t in topics]}, indent=2, ensure_ascii=False)
    path.write_text(text + "\n")


def merged(old: Iterable[Topic], new: Iterable[Topic], order: Iterable[str]) -> list[Topic]:
    """The newest of each topic: those of `order` first and in that order, then the rest.

    A topic that no longer exists is kept: only who removes it from the file knows why.
    """
    by_name = {topic.name: topic for topic in [*old, *new]}
    first = [by_name.pop(name) for name in order if name in by_name]
    return [*first, *by_name.values()]
