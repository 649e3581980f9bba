"""The time zones of an iCalendar file, by the name that the file uses.

A name is an IANA zone, a zone of Windows, an IANA zone behind the name of a program
(`/mozilla.org/20050126_1/Europe/Berlin`), or a zone that the file defines in a VTIMEZONE. A known
name takes precedence over its definition, because definitions in files are often outdated.
"""

from collections.abc import Iterable, Mapping
from datetime import tzinfo
from io import StringIO
from zoneinfo import ZoneInfo

from dateutil.tz import tzical
from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

from kotatsu_operator.core.calendar.wallclock import zones

_MOST_LINES = 150
"""Lines of one definition."""

_MOST_DEFINITIONS = 10
"""Definitions of one file that are used. Each takes some milliseconds of the 0.2 s that it may."""

_FIRST_YEAR = 1970
"""Clock changes before it are left out: definitions often begin in 1601."""

_LONGEST_RULE = 200

_PARTS = frozenset({"FREQ", "INTERVAL", "BYMONTH", "BYDAY", "BYMONTHDAY", "UNTIL", "WKST"})
"""Parts of a rule of a clock change. Others could repeat it each second."""

_LAST_YEAR = 2100
"""A rule is followed until this year."""

_KEPT = frozenset(
    {"BEGIN", "END", "TZID", "DTSTART", "RRULE", "RDATE", "TZOFFSETFROM", "TZOFFSETTO", "TZNAME"}
)


class ZoneError(ValueError):
    """A time zone is unknown. The message is a sentence about it."""


class Zones:
    """The zones of one file; `defined` are the lines of its VTIMEZONEs, by name."""

    def __init__(self, defined: Mapping[str, list[str]]) -> None:
        self._defined = defined
        self._known: dict[str, tzinfo] = {}
        self._made = 0

    def __call__(self, name: str) -> tzinfo:
        """The zone of this name. Raises ZoneError."""
        if name not in self._known:
            zone = _named(name)
            if zone is None:
                self._made += 1
                if self._made > _MOST_DEFINITIONS:
                    raise ZoneError("the file uses too many time zones of its own")
                zone = _defined(name, self._defined)
            self._known[name] = zone
        return self._known[name]


def _named(name: str) -> tzinfo | None:
    """The zone that a name means everywhere; None if there is none."""
    known = zones()
    plain = name.strip("/")
    parts = plain.split("/")[-3:]
    for candidate in (plain, WINDOWS_TO_OLSON.get(plain, ""), *_tails(parts)):
        if candidate in known:
            return ZoneInfo(candidate)
    return None


def _defined(name: str, defined: Mapping[str, list[str]]) -> tzinfo:
    if name not in defined:
        raise ZoneError(f"its time zone {name[:60]!r} is unknown")
    try:
        return _made(defined[name])
    except (ValueError, AttributeError, LookupError, TypeError, OverflowError):
        raise ZoneError(f"the definition of its time zone {name[:60]!r} is invalid") from None


def _tails(parts: list[str]) -> Iterable[str]:
    return ("/".join(parts[i:]) for i in range(len(parts)))


def _made(lines: list[str]) -> tzinfo:
    kept = []
    for line in lines[:_MOST_LINES]:
        head, _, value = line.partition(":")
        name = head.partition(";")[0].upper()
        if name not in _KEPT:
            continue
        if name == "RRULE":
            value = _checked(value)
        elif name == "DTSTART" and int(value[:4]) < _FIRST_YEAR:
            value = f"{_FIRST_YEAR}{value[4:]}"
        kept.append(f"{name}:{value}")
    if len(lines) > _MOST_LINES:
        raise ValueError("the definition is too long")
    made = tzical(StringIO("\r\n".join(kept))).get()
    if made is None:
        raise ValueError("it has no name")
    return made


def _checked(rule: str) -> str:
    """A rule that is followed for a bounded time: it finds a date within some years, each time."""
    parts = dict(part.partition("=")[::2] for part in rule.upper().split(";") if part)
    if len(rule) > _LONGEST_RULE or parts.get("FREQ") != "YEARLY" or not parts.keys() <= _PARTS:
        raise ValueError("a clock change does not repeat once a year")
    months, days = _numbers(parts, "BYMONTH"), _numbers(parts, "BYMONTHDAY")
    is_nth = any(c.isdigit() for c in parts.get("BYDAY", ""))
    if int(parts.get("INTERVAL", 1)) != 1 or (is_nth and (days or not months)):
        raise ValueError("a clock change is at an unusual time")
    if days and not any(abs(d) <= (29 if m == 2 else 30) for d in days for m in months or [1]):
        raise ValueError("a clock change is on a day that does not exist")
    if int(parts.setdefault("UNTIL", f"{_LAST_YEAR}1231T000000")[:4]) > _LAST_YEAR:
        parts["UNTIL"] = f"{_LAST_YEAR}1231T000000"
    return ";".join(f"{name}={value}" for name, value in parts.items())


def _numbers(parts: Mapping[str, str], name: str) -> list[int]:
    return [int(text) for text in parts[name].split(",")] if name in parts else []
