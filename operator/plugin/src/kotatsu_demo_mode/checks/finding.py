"""What a check has found: its level, its reason, and a sentence with what to do."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from kotatsu_operator.core.decide.refusal import Refusal


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    NOTE = "note"
    """Works; good to know."""
    UNKNOWN = "unknown"
    """Could not be read, mostly for lack of a permission."""
    WARNING = "warning"
    """Works, but requests may fail, or windows may open without their pods."""
    REFUSED = "refused"
    """Does not work."""


@dataclass(frozen=True)
class Finding:
    """One line of the answer. `check` and `reason` are stable names."""

    level: Level
    reason: str
    message: str
    check: str = ""
    """The name of the check, which `judge` sets."""


ok = partial(Finding, Level.OK, "OK")
unknown = partial(Finding, Level.UNKNOWN, "NotChecked")
note, warning = partial(Finding, Level.NOTE), partial(Finding, Level.WARNING)


def refused(why: Refusal) -> Finding:
    return Finding(Level.REFUSED, why.reason, why.message)


def verdict(findings: Iterable[Finding]) -> Level:
    """The worst of the findings: refused, warning or ok."""
    levels = {finding.level for finding in findings}
    return next((bad for bad in (Level.REFUSED, Level.WARNING) if bad in levels), Level.OK)


def counted(findings: Sequence[Finding]) -> str:
    """How many findings there are of each level, in words."""
    parts = []
    for level, one, many in (
        (Level.REFUSED, "refused", "refused"),
        (Level.WARNING, "warning", "warnings"),
        (Level.UNKNOWN, "not checked", "not checked"),
    ):
        count = sum(finding.level is level for finding in findings)
        if count:
            parts.append(f"{count} {one if count == 1 else many}")
    return ", ".join(parts)
