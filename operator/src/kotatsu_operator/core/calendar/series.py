"""The dates of a recurrence rule: dateutil follows it, for a number of steps that is given."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dateutil.rrule import (
    DAILY,
    FR,
    MO,
    MONTHLY,
    SA,
    SU,
    TH,
    TU,
    WE,
    WEEKLY,
    YEARLY,
    rrule,
    weekday,
)

_FREQUENCIES: dict[str, Any] = {
    "DAILY": DAILY,
    "WEEKLY": WEEKLY,
    "MONTHLY": MONTHLY,
    "YEARLY": YEARLY,
}
_WEEKDAYS = {str(day): day for day in (MO, TU, WE, TH, FR, SA, SU)}


class RhythmError(ValueError):
    """A rule is invalid."""


@dataclass(frozen=True)
class Rhythm:
    """What a rule repeats: its parts without the end."""

    frequency: str
    values: Mapping[str, Sequence[str]]
    """The parts that are lists, as written, like BYDAY."""
    interval: int = 1
    week_start: str = "MO"


def series(how: Rhythm, start: datetime, end: datetime, months: int) -> Iterator[datetime]:
    """The dates from start to end, which are `months` apart. Raises RhythmError."""
    try:
        parts: dict[str, Any] = {
            name.lower(): [int(value) for value in values]
            for name, values in how.values.items()
            if name != "BYDAY"
        }
        if "BYDAY" in how.values:
            parts["byweekday"] = [_weekday(text) for text in how.values["BYDAY"]]
        parts |= {"interval": how.interval, "wkst": _WEEKDAYS[how.week_start]}
        made = _Bounded(_FREQUENCIES[how.frequency], dtstart=start, until=end, **parts)
    except (ValueError, LookupError, TypeError, OverflowError):
        raise RhythmError from None
    made.months = months + 4
    with suppress(_OverError):
        yield from made


class _OverError(Exception):
    """A series has passed its last month."""


class _Bounded(rrule):
    """A rule that stops after `months` steps from month to month.

    rrule compares UNTIL only with dates that it has found, so a rule that matches no date would run
    until the year 9999. It reads `_byeaster` once for each month, or longer step, that it enters.
    RFC 5545 has no such part.
    """

    months = 0

    @property
    def _byeaster(self) -> None:
        self.months -= 1
        if self.months < 0:
            raise _OverError

    @_byeaster.setter
    def _byeaster(self, _: object) -> None:
        self.months = 4  # until the caller says how many


def _weekday(text: str) -> weekday:
    day, nth = _WEEKDAYS[text[-2:]], text[:-2]
    return day(int(nth)) if nth else day
