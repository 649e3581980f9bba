"""The time zones of an iCalendar file, by the name that the file uses.

A name is an IANA zone, a zone of Windows, an IANA zone behind the name of a program
(`/mozilla.org/20050126_1/Europe/Berlin`), or a zone that the file defines in a VTIMEZONE. A known
name takes precedence over its definition, because definitions in files are often outdated.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import islice
from zoneinfo import ZoneInfo

from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

from kotatsu_operator.core.calendar.series import Rhythm, series
from kotatsu_operator.core.calendar.wallclock import zones

_MOST_CHANGES = 3000
"""Clock changes of all definitions of a file, and years in which their rules are followed. Each
costs about 0.1 ms; a usual zone has 260."""

_FIRST_YEAR, _LAST_YEAR = 1972, 2100
"""Rules are followed within these years: definitions often begin in 1601. The first is a leap year,
so each day of a year exists in it."""

_LONGEST_RULE = 200

_PARTS = frozenset({"FREQ", "INTERVAL", "BYMONTH", "BYDAY", "BYMONTHDAY", "UNTIL", "WKST"})
"""Parts of a rule of a clock change. Others could repeat it each second."""


class ZoneError(ValueError):
    """A time zone is unknown. The message is a sentence about it."""


class Zones:
    """The zones of one file; `defined` are the lines of its VTIMEZONEs, by name."""

    def __init__(self, defined: Mapping[str, list[str]]) -> None:
        self._defined = defined
        self._known: dict[str, tzinfo | str] = {}
        """By name: the zone, or why there is none."""
        self._left = _MOST_CHANGES

    def __call__(self, name: str) -> tzinfo:
        """The zone of this name. Raises ZoneError."""
        if name not in self._known:
            try:
                self._known[name] = _named(name) or self._made(name)
            except ZoneError as error:
                self._known[name] = str(error)
        found = self._known[name]
        if isinstance(found, str):
            raise ZoneError(found)
        return found

    def _made(self, name: str) -> tzinfo:
        if name not in self._defined:
            raise ZoneError(f"its time zone {name[:60]!r} is unknown")
        try:
            return _Defined(self._changes(self._defined[name]))
        except ZoneError:
            raise
        except (ValueError, LookupError, TypeError, OverflowError):
            raise ZoneError(f"the definition of its time zone {name[:60]!r} is invalid") from None

    def _changes(self, lines: Iterable[str]) -> list["_Change"]:
        """All clock changes of a definition."""
        return [
            _Change(at, part.before, part.after, part.is_standard)
            for part in _parts(lines)
            for at in self._moments(part)
        ]

    def _moments(self, part: "_Part") -> Iterator[datetime]:
        """When a change happens, on the clock before it."""
        self._spend(1 + sum(text.count(",") + 1 for text in part.added))
        yield part.start
        for text in part.added:
            yield from map(_time, text.split(","))
        if part.rule is not None:
            years = max(0, part.last.year - part.first.year) + 1
            self._spend(years)
            dates = series(part.rule, part.first, part.last, years)
            made = list(islice(dates, self._left + years))
            self._spend(max(0, len(made) - years))
            yield from made

    def _spend(self, amount: int) -> None:
        """Count work before it is done."""
        self._left -= amount
        if self._left < 0:
            raise ZoneError("the time zones that the file defines change their clocks too often")


def _named(name: str) -> tzinfo | None:
    """The zone that a name means everywhere; None if there is none."""
    known = zones()
    plain = name.strip("/")
    parts = plain.split("/")[-3:]
    for candidate in (plain, WINDOWS_TO_OLSON.get(plain, ""), *_tails(parts)):
        if candidate in known:
            return ZoneInfo(candidate)
    return None


def _tails(parts: list[str]) -> Iterable[str]:
    return ("/".join(parts[i:]) for i in range(len(parts)))


@dataclass(frozen=True)
class _Part:
    """A STANDARD or DAYLIGHT of a definition: clock changes with the same offsets."""

    is_standard: bool
    before: timedelta
    after: timedelta
    start: datetime
    added: list[str]
    """Lists of further times, as written."""
    rule: Rhythm | None
    first: datetime
    last: datetime
    """Between which times the rule is followed."""


@dataclass(frozen=True)
class _Change:
    """A clock change: when, on the clock before it, and the offsets before and after it."""

    at: datetime
    before: timedelta
    after: timedelta
    is_standard: bool


class _Defined(tzinfo):
    """A zone with these changes. A lookup takes the logarithm of their number.

    A time that clocks show twice is the first of the two. A time that they skip is read with the
    offset after the change.
    """

    def __init__(self, changes: list[_Change]) -> None:
        # As dateutil has it; RFC 5545 does not say what holds before the first change.
        first = next((c.after for c in changes if c.is_standard), changes[0].after)
        by_clock = sorted(changes, key=lambda c: c.at)
        in_order = sorted(changes, key=lambda c: c.at - c.before)
        self._clocks = [c.at for c in by_clock]
        self._instants = [c.at - c.before for c in in_order]
        self._by_clock = [first, *(c.after for c in by_clock)]
        self._by_instant = [first, *(c.after for c in in_order)]

    def utcoffset(self, at: datetime | None) -> timedelta | None:
        if at is None:
            return None
        return self._by_clock[bisect_right(self._clocks, at.replace(tzinfo=None))]

    def fromutc(self, at: datetime) -> datetime:
        return at + self._by_instant[bisect_right(self._instants, at.replace(tzinfo=None))]

    def dst(self, _: datetime | None) -> timedelta | None:
        return None

    def tzname(self, _: datetime | None) -> str | None:
        return None


def _parts(lines: Iterable[str]) -> Iterator[_Part]:
    kind, values = "", defaultdict[str, list[str]](list)
    for line in lines:
        head, _, value = line.partition(":")
        name, value = head.partition(";")[0].strip().upper(), value.strip().upper()
        if name == "BEGIN" and value != "VTIMEZONE":
            if kind or value not in ("STANDARD", "DAYLIGHT"):
                raise ValueError("it has an unknown component")
            kind = value
        elif name == "END" and kind:
            yield _part(values, is_standard=kind == "STANDARD")
            kind = ""
            values.clear()
        elif kind:
            values[name].append(value)


def _part(values: Mapping[str, list[str]], *, is_standard: bool) -> _Part:
    start, before = _time(values["DTSTART"][0]), _offset(values["TZOFFSETFROM"][0])
    first = start.replace(year=max(start.year, _FIRST_YEAR))
    last, rule = first, None
    for text in values.get("RRULE", [])[:1]:
        parts = _checked(text)
        last = first.replace(year=_LAST_YEAR, month=12, day=31)
        if "UNTIL" in parts:
            last = min(last, _time(parts["UNTIL"], before))
        lists = {n: v.split(",") for n, v in parts.items() if n.startswith("BY")}
        rule = Rhythm("YEARLY", lists, week_start=parts.get("WKST", "MO"))
    after = _offset(values["TZOFFSETTO"][0])
    return _Part(is_standard, before, after, start, values.get("RDATE", []), rule, first, last)


def _time(text: str, offset: timedelta = timedelta()) -> datetime:
    """A time on a clock; `offset` is that of a time in UTC."""
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=None) + offset * (found.tzinfo is not None)


def _offset(text: str) -> timedelta:
    digits = text.lstrip("+-")
    if len(digits) not in (4, 6) or not (digits.isascii() and digits.isdigit()):
        raise ValueError("an offset is not like +0100")
    hours, minutes, seconds = int(digits[:2]), int(digits[2:4]), int(digits[4:] or 0)
    if hours > 23:
        raise ValueError("an offset is a day or more")
    found = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return -found if text.startswith("-") else found


def _checked(rule: str) -> dict[str, str]:
    """The parts of a rule that finds a date within some years, each time."""
    parts = dict(part.partition("=")[::2] for part in rule.split(";") if part)
    if len(rule) > _LONGEST_RULE or parts.get("FREQ") != "YEARLY" or not parts.keys() <= _PARTS:
        raise ValueError("a clock change does not repeat once a year")
    months, days = _numbers(parts, "BYMONTH"), _numbers(parts, "BYMONTHDAY")
    is_nth = any(c.isdigit() for c in parts.get("BYDAY", ""))
    if int(parts.get("INTERVAL", 1)) != 1 or (is_nth and (days or not months)):
        raise ValueError("a clock change is at an unusual time")
    if days and not any(abs(d) <= (29 if m == 2 else 30) for d in days for m in months or [1]):
        raise ValueError("a clock change is on a day that does not exist")
    return parts


def _numbers(parts: Mapping[str, str], name: str) -> list[int]:
    return [int(text) for text in parts[name].split(",")] if name in parts else []
