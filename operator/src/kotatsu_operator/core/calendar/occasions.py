"""Events of a calendar as values: what they are called, when they are, and which of them to take.

A moment is an instant in UTC, a naive wall-clock time (a floating event, which happens at that time
in every zone) or a date (an all-day event).
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

from kotatsu_operator.core.calendar.wallclock import on_clock, to_instant

Moment = datetime | date

MOST_BYTES = 2 * 2**20
"""Bytes of a calendar's file."""

_LONGEST_NAME = 40


class CalendarError(ValueError):
    """A file is not a calendar, or is too large. The message follows the name of the file."""


@dataclass(frozen=True)
class Skipped:
    """An event that is no window, and the reason."""

    title: str
    reason: str


@dataclass(frozen=True)
class Occasion:
    """One event, or one occurrence of an event that repeats."""

    uid: str
    title: str
    start: Moment
    end: Moment
    """Exclusive; of the same kind as `start`."""
    categories: tuple[str, ...] = ()
    recurrence: str = ""
    """Which occurrence: the start that the rule gives it. Empty for an event that happens once."""

    def walls(self, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """Start and end on a clock in a zone."""
        return _wall(self.start, zone), _wall(self.end, zone)

    def opened(self, zone: ZoneInfo) -> tuple[datetime, datetime] | Skipped:
        """Start and end of its window on a clock in a zone; Skipped if it would have no length.

        Where a clock shows a time twice, a window opens at the first and closes at the second.
        """
        start, end = self.walls(zone)
        if end <= start:
            return Skipped(self.title, f"clocks go back in {zone.key} while it lasts")
        if to_instant(start, zone)[0] >= to_instant(end, zone)[0]:
            return Skipped(self.title, f"clocks in {zone.key} skip the time at which it is")
        return start, end


def matches(match: str, title: str, categories: Iterable[str]) -> bool:
    """Whether the title of an event has a text, or a category has it as its name.

    Case and width of letters do not matter. Every event matches an empty text.
    """
    asked = _plain(match)
    return asked in _plain(title) or asked in map(_plain, categories)


def window_name(title: str) -> str:
    """A name for the windows of an event: its title in lower case, with `-` between the words."""
    kept = "".join(c if c.isalnum() else " " for c in _plain(title))
    return "-".join(kept.split())[:_LONGEST_NAME].strip("-") or "event"


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().strip()


def _wall(moment: Moment, zone: ZoneInfo) -> datetime:
    if not isinstance(moment, datetime):
        return datetime.combine(moment, time.min)
    return moment if moment.tzinfo is None else on_clock(moment, zone)
