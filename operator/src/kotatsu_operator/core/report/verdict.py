"""The verdict of a rehearsal: the plugin annotates the pool with it, the operator reports it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kotatsu_operator.core.formats import instant, stamp, table, text

_LONGEST = 8 * 1024
"""Characters of the annotation at most."""


@dataclass(frozen=True)
class Verdict:
    """The result of a rehearsal, as `kubectl demo-mode rehearse` annotates the pool with it."""

    at: datetime
    passed: bool
    window: str = ""
    failures: tuple[str, ...] = ()

    def written(self) -> str:
        return json.dumps(
            {
                "at": stamp(self.at),
                "passed": self.passed,
                "window": self.window,
                "failures": list(_short(self.failures)),
            },
            ensure_ascii=False,
        )


def read_verdict(written: str) -> Verdict | None:
    """Read the annotation; None for anything else."""
    if not written or len(written) > _LONGEST:
        return None
    try:
        raw = table(json.loads(written))
    except (ValueError, RecursionError):
        return None
    at = instant(raw.get("at"))
    if at is None:
        return None
    given = raw.get("failures")
    failures = tuple(_short(given if isinstance(given, list) else ()))
    return Verdict(at, raw.get("passed") is True, text(raw.get("window"))[:63], failures)


def _short(failures: Sequence[Any]) -> Iterator[str]:
    return (text(failure)[:200] for failure in failures[:5])
