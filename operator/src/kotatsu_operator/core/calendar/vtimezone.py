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

_MOST_LINES = 400
"""Lines of one definition."""

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

    def __call__(self, name: str) -> tzinfo:
        """The zone of this name. Raises ZoneError."""
        if name not in self._known:
            self._known[name] = _zone(name, self._defined)
        return self._known[name]


def _zone(name: str, defined: Mapping[str, list[str]]) -> tzinfo:
    known = zones()
    plain = name.strip("/")
    parts = plain.split("/")[-3:]
    for candidate in (plain, WINDOWS_TO_OLSON.get(plain, ""), *_tails(parts)):
        if candidate in known:
            return ZoneInfo(candidate)
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
        kept.append(f"{name}:{value}")
    if len(lines) > _MOST_LINES:
        raise ValueError("the definition is too long")
    made = tzical(StringIO("\r\n".join(kept))).get()
    if made is None:
        raise ValueError("it has no name")
    return made


def _checked(rule: str) -> str:
    parts = dict(part.partition("=")[::2] for part in rule.upper().split(";") if part)
    if len(rule) > _LONGEST_RULE or parts.get("FREQ") != "YEARLY" or not parts.keys() <= _PARTS:
        raise ValueError("a clock change does not repeat once a year")
    if int(parts.get("INTERVAL", 1)) < 1:
        raise ValueError("the interval is not positive")
    if int(parts.setdefault("UNTIL", f"{_LAST_YEAR}1231T000000")[:4]) > _LAST_YEAR:
        parts["UNTIL"] = f"{_LAST_YEAR}1231T000000"
    return ";".join(f"{name}={value}" for name, value in parts.items())
