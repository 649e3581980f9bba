"""How often a test repeats what it does: a few times by default, for hours in `make soak`.

Both forms are the same tests; the environment says how often and how long:

KOTATSU_SOAK_REPEATS   repetitions of each fault, and of the upgrade (default 1)
KOTATSU_SOAK_ARENAS    namespaces with a fault or an upgrade, and pools that sleep and wake, at the
                       same time (default 1)
KOTATSU_SOAK_CYCLES    sleeps and wakes under the stream of every protocol, and of the preview in
                       tests/apps (default 4)
KOTATSU_SOAK_MINUTES   when the whole run begins nothing new any more (default: when it is done)
KOTATSU_SOAK_SEED      what the random moments are made from (default: another one each time)
KOTATSU_SOAK_RECORD    a file that keeps what was done; a run goes on from there
KOTATSU_SOAK_LOCK      a file that is locked while anything is done to the cluster, exclusively
                       where parts of the node are stopped: for a cluster that others use too
"""

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import random
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)

SHORTEST_GAP = 0.3
"""Seconds between two locks of ours, so that others come in between."""


REPEATS = int(os.environ.get("KOTATSU_SOAK_REPEATS", "1"))
ARENAS = int(os.environ.get("KOTATSU_SOAK_ARENAS", "1"))
CYCLES = int(os.environ.get("KOTATSU_SOAK_CYCLES", "4"))


@dataclass(frozen=True)
class Outcome:
    """What came of one repetition."""

    transitions: int = 0
    """How many pools were in the middle of one."""
    requests: int = 0
    lost: int = 0
    """Requests that were not answered, and had to be."""
    forgiven: int = 0
    """Requests that went with what was killed."""
    twice: int = 0
    """Requests that were acted on more than once."""
    converged: float = 0.0
    """Seconds until every pool was what its spec says."""
    astray: float = 0.0
    """Pod seconds by which a ledger was off at most; below 0 too little was charged."""
    wrong: tuple[str, ...] = ()
    """What should not be, in sentences."""


@dataclass
class Row:
    """All repetitions of one thing."""

    name: str
    outcomes: list[Outcome] = field(default_factory=list)

    def cells(self) -> list[str]:
        """The row of the table."""
        total = {
            key: sum(getattr(outcome, key) for outcome in self.outcomes)
            for key in ("transitions", "requests", "lost", "forgiven", "twice")
        }
        slowest = sorted(outcome.converged for outcome in self.outcomes)
        return [
            self.name,
            f"{len(self.outcomes):,}",
            *(f"{n:,}" for n in total.values()),
            f"{slowest[len(slowest) // 2]:.1f} / {slowest[-1]:.1f}",
            f"{max((outcome.astray for outcome in self.outcomes), key=abs):+.1f}",
            str(sum(bool(outcome.wrong) for outcome in self.outcomes)),
        ]


HEAD = [
    "what breaks", "times", "transitions", "requests", "lost", "forgiven", "twice",
    "converged (s)", "ledger off (pod s)", "wrong",
]  # fmt: skip


class Soak:
    """One run: what was asked for, and what has been done so far."""

    def __init__(self) -> None:
        given = os.environ.get
        self.minutes = float(given("KOTATSU_SOAK_MINUTES", "inf"))
        self.seed = given("KOTATSU_SOAK_SEED") or str(random.SystemRandom().randrange(10**6))
        self._record = Path(path) if (path := given("KOTATSU_SOAK_RECORD")) else None
        self._lock = Path(path) if (path := given("KOTATSU_SOAK_LOCK")) else None
        self._began = time.monotonic()
        self.tests_left = 0
        """Those that share the time that is left."""
        self.rows: dict[str, Row] = {}
        for line in self._lines():
            kept = json.loads(line)
            outcome = Outcome(**kept["outcome"] | {"wrong": tuple(kept["outcome"]["wrong"])})
            self._row(kept["name"]).outcomes.append(outcome)

    @property
    def is_long(self) -> bool:
        """Whether this is `make soak`."""
        return self.minutes < float("inf")

    def _lines(self) -> list[str]:
        there = self._record is not None and self._record.exists()
        return self._record.read_text().splitlines() if self._record and there else []

    def _row(self, name: str) -> Row:
        return self.rows.setdefault(name, Row(name))

    def chances(self, name: str, times: int) -> Iterator[random.Random]:
        """One source of chance for each repetition still to be done, while there is time.

        Each test gets an equal share of the time that is left, and begins at least once.
        """
        ends = time.monotonic() + self._left() / max(self.tests_left, 1)
        self.tests_left -= 1
        begun = 0
        while (done := len(self.rows[name].outcomes) if name in self.rows else 0) < times:
            if begun and time.monotonic() > ends:
                log.warning("%s: time is up after %d of %d", name, done, times)
                return
            begun += 1
            yield random.Random(f"{self.seed}/{name}/{done}")

    def _left(self) -> float:
        return max(0.0, self._began + 60 * self.minutes - time.monotonic())

    def add(self, name: str, outcome: Outcome) -> None:
        """Keep what came of a repetition, and say it."""
        self._row(name).outcomes.append(outcome)
        log.info("%s %d: %s", name, len(self.rows[name].outcomes), outcome)
        if self._record is not None:
            with self._record.open("a") as file:
                file.write(json.dumps({"name": name, "outcome": asdict(outcome)}) + "\n")

    @contextlib.asynccontextmanager
    async def turn(self, *, alone: bool = False) -> AsyncIterator[None]:
        """Hold the cluster's lock, if there is one."""
        if self._lock is None:
            yield
            return
        with self._lock.open("a") as file:
            how = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
            await asyncio.to_thread(fcntl.flock, file, how)
            try:
                yield
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)
        await asyncio.sleep(SHORTEST_GAP)

    def table(self) -> list[str]:
        """The table, and the seed."""
        if not self.rows:
            return []
        cells = [HEAD, *(row.cells() for row in self.rows.values())]
        widths = [max(len(row[i]) for row in cells) for i in range(len(HEAD))]
        lines = []
        for name, *numbers in cells:
            padded = [text.rjust(width) for text, width in zip(numbers, widths[1:], strict=True)]
            lines.append("  ".join([name.ljust(widths[0]), *padded]))
        return [*lines, "", f"random moments from KOTATSU_SOAK_SEED={self.seed}"]
