"""Read an iCalendar file (RFC 5545) into events.

icalendar splits lines and parses values. This module chooses what is read, and bounds it: only the
properties of VEVENTs that say when an event is, each event by itself, so that an unreadable event
does not hide the others. Alarms, tasks and free-busy times are not read.
"""

import hashlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import TypeVar

from icalendar.parser import Contentline, Contentlines
from icalendar.parser.property import unescape_backslash
from icalendar.prop import vDDDTypes, vDuration

from kotatsu_operator.core.calendar.occasions import (
    MOST_BYTES,
    CalendarError,
    Moment,
    Skipped,
)
from kotatsu_operator.core.calendar.vtimezone import ZoneError, Zones

MOST_EVENTS = 5000
"""Events of a file; an occurrence that was changed by itself is one too."""
_MOST_LINES = 100_000
_MOST_DATES = 1000
"""Dates that are added to one event, or excluded from it."""
_DEEPEST = 4
_LONGEST_TEXT, _LONGEST_UID, _MOST_CATEGORIES = 200, 200, 20

_PROPERTIES = frozenset(
    {
        *("UID", "SUMMARY", "CATEGORIES", "STATUS", "SEQUENCE", "DTSTART", "DTEND", "DURATION"),
        *("RRULE", "RDATE", "EXDATE", "EXRULE", "RECURRENCE-ID"),
    }
)


@dataclass(frozen=True)
class Event:
    """An event. Its times are on a clock of its own zone; those of an all-day event are dates."""

    uid: str
    title: str
    start: Moment
    length: timedelta
    """From start to end on that clock; more than 0."""
    zone: tzinfo | None = None
    """None: the event is all-day, or happens at that time in every zone."""
    categories: tuple[str, ...] = ()
    rule: str = ""
    """The RRULE."""
    added: tuple[Moment, ...] = ()
    removed: frozenset[Moment] = frozenset()
    """Starts that are left out; a date leaves out the whole day."""
    changed: Mapping[Moment, "Event | None"] = field(default_factory=dict)
    """Occurrences that were changed by themselves, by the start that the rule gives them; None if
    they are cancelled."""
    later: tuple[tuple[Moment, "Event | None"], ...] = ()
    """The same for changes that hold from one occurrence on (THISANDFUTURE), in order."""

    @property
    def repeats(self) -> bool:
        """Whether it has more than one occurrence."""
        return bool(self.rule or self.added)

    def at(self, start: Moment) -> tuple["Event | None", Moment]:
        """Which event a start of the rule belongs to, and when it is then. Raises OverflowError."""
        number = bisect_right(self.later, start, key=lambda change: change[0])
        if not number:
            return self, start
        of, taken = self.later[number - 1]
        return taken, start if taken is None else taken.start + (_placed(start) - _placed(of))

    def instant(self, moment: Moment) -> Moment:
        """A time of this event as a moment that does not depend on its zone."""
        if self.zone is None or not isinstance(moment, datetime):
            return moment
        return moment.replace(tzinfo=self.zone).astimezone(UTC)


@dataclass(frozen=True)
class Calendar:
    """What a file contains."""

    name: str
    """The name that the file gives itself; often empty."""
    events: tuple[Event, ...]
    skipped: tuple[Skipped, ...] = ()
    cancelled: int = 0


def read(data: bytes) -> Calendar:
    """Read a file. Raises CalendarError."""
    if len(data) > MOST_BYTES:
        raise CalendarError(f"has more than {MOST_BYTES // 2**20} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CalendarError("is not UTF-8 text; export it as iCalendar (.ics)") from None
    if not text.lstrip().upper().startswith("BEGIN:VCALENDAR"):
        page = " but a web page (it may need a login)" if text.lstrip().startswith("<") else ""
        raise CalendarError(f"is not an iCalendar file{page}: it does not begin with VCALENDAR")
    if text.count("\n") > _MOST_LINES:
        raise CalendarError(f"has more than {_MOST_LINES} lines")
    parts = _parts(Contentlines.from_ical(text))  # type: ignore[no-untyped-call]
    if len(parts.events) > MOST_EVENTS:
        raise CalendarError(f"has more than {MOST_EVENTS} events")
    return _joined(parts)


@dataclass
class _Parts:
    name: str = ""
    events: list[list[Contentline]] = field(default_factory=list)
    zones: dict[str, list[str]] = field(default_factory=dict)


def _parts(lines: Iterable[Contentline]) -> _Parts:
    """The lines of each event and of each time zone. Raises CalendarError."""
    found, stack = _Parts(), list[str]()
    zone: list[str] = []
    for line in lines:
        head, _, value = line.partition(":")
        name = head.partition(";")[0].strip().upper()
        if name == "BEGIN":
            stack.append(value.strip().upper())
            if stack[1:] == ["VEVENT"]:
                found.events.append([])
            elif stack[1:] == ["VTIMEZONE"]:
                zone = []
            if len(stack) > _DEEPEST:
                raise CalendarError("has components in components in components")
        if stack[1:2] == ["VTIMEZONE"]:
            zone.append(line)
        elif stack[1:] == ["VEVENT"] and name in _PROPERTIES:
            found.events[-1].append(line)
        elif stack == ["VCALENDAR"] and name == "X-WR-CALNAME":
            found.name = unescape_backslash(value)[:_LONGEST_TEXT].strip()
        if name == "END":
            if not stack or stack.pop() != value.strip().upper():
                raise CalendarError(f"is damaged or cut off at END:{value[:20]}")
            if len(stack) == 1 and zone:
                called = next((z for z in zone if z.upper().startswith("TZID")), "")
                found.zones[called.partition(":")[2].strip()] = zone
                zone = []
    if stack:
        raise CalendarError("is cut off: its end is missing")
    return found


T = TypeVar("T")


class _UnreadableError(Exception):
    """An event cannot be read; the message is the reason."""


@dataclass(frozen=True)
class _Entry:
    """One VEVENT: an event, or a change of one occurrence."""

    event: Event
    of: Moment | None
    """The occurrence that it changes."""
    is_onwards: bool
    """Whether it changes all later occurrences too."""
    is_cancelled: bool
    sequence: int


def _joined(parts: _Parts) -> Calendar:
    """The events, each with the changes of its occurrences."""
    zones, skipped, cancelled = Zones(parts.zones), list[Skipped](), 0
    masters: dict[str, _Entry] = {}
    changes: dict[str, dict[tuple[Moment, bool], _Entry]] = defaultdict(dict)
    for lines in parts.events:
        title = ""
        try:
            values = _Values(lines)
            title = values.text("SUMMARY")[:_LONGEST_TEXT] or "(no title)"
            entry = _entry(values, title, zones)
        except (_UnreadableError, ZoneError, OverflowError) as error:
            skipped.append(Skipped(title or "(no title)", _reason(error)))
            continue
        uid = entry.event.uid
        which = None if entry.of is None else (entry.of, entry.is_onwards)
        before = masters.get(uid) if which is None else changes[uid].get(which)
        if before is not None and entry.sequence < before.sequence:
            continue
        if which is None:
            masters[uid] = entry
        else:
            changes[uid][which] = entry
    events = []
    for uid, entry in masters.items():
        made = changes.pop(uid, {})
        if entry.is_cancelled:
            cancelled += 1
            continue
        try:
            events.append(_with_changes(entry.event, made.values()))
        except OverflowError as error:
            skipped.append(Skipped(entry.event.title, _reason(error)))
    for made in changes.values():  # of events that are not in the file
        cancelled += sum(c.is_cancelled for c in made.values())
        events += [
            replace(c.event, uid=f"{c.event.uid}/{of.isoformat()}")
            for (of, _), c in made.items()
            if not c.is_cancelled
        ]
    return Calendar(parts.name, tuple(events), tuple(skipped), cancelled)


def _reason(error: Exception) -> str:
    is_outside = isinstance(error, OverflowError)  # of an instant, or of a zone's offset
    return "one of its times is outside of the years 1 to 9999" if is_outside else str(error)


def _with_changes(event: Event, changes: Iterable[_Entry]) -> Event:
    single, later = dict[Moment, Event | None](), dict[Moment, Event | None]()
    for change in changes:
        assert change.of is not None  # noqa: S101  (it is a change)
        of, made = _as_in(change.of, event), None if change.is_cancelled else change.event
        if not change.is_onwards:
            single[of] = made
        else:
            later[_placed(of) if isinstance(event.start, datetime) else of] = made
    return replace(event, changed=single, later=tuple(sorted(later.items(), key=_first)))


def _first(pair: tuple[Moment, Event | None]) -> Moment:
    return pair[0]


def _entry(values: "_Values", title: str, zones: Zones) -> _Entry:
    start, zone = values.moment("DTSTART", zones)
    uid = values.text("UID") or hashlib.sha256(f"{title}/{start}".encode()).hexdigest()
    if len(uid) > _LONGEST_UID:
        uid = hashlib.sha256(uid.encode()).hexdigest()
    is_cancelled = values.text("STATUS").upper() == "CANCELLED"
    of, is_onwards = None, False
    if values.has("RECURRENCE-ID"):
        is_onwards = values.parameter("RECURRENCE-ID", "RANGE").upper() == "THISANDFUTURE"
        of = _instant(*values.moment("RECURRENCE-ID", zones))
    if values.has("EXRULE"):
        raise _UnreadableError("it has an EXRULE, which is obsolete; use single dates instead")
    length = timedelta(days=1) if is_cancelled else _length(values, start, zone, zones)
    event = Event(uid, title, start, length, zone, values.categories(), values.raw("RRULE"))
    event = replace(
        event,
        added=tuple(_as_in(m, event) for m in values.moments("RDATE", zones)),
        removed=frozenset(_as_in(m, event) for m in values.moments("EXDATE", zones)),
    )
    return _Entry(event, of, is_onwards, is_cancelled, values.number("SEQUENCE"))


def _length(values: "_Values", start: Moment, zone: tzinfo | None, zones: Zones) -> timedelta:
    """From start to end, on the clock of the event."""
    is_day = not isinstance(start, datetime)
    length = timedelta(days=1) if is_day else timedelta()
    if values.has("DTEND"):
        end, end_zone = values.moment("DTEND", zones)
        if isinstance(end, datetime) == is_day:
            raise _UnreadableError("only one of its start and end is a whole day")
        if isinstance(end, datetime) and zone is not None and end_zone is not None:
            end = end.replace(tzinfo=end_zone).astimezone(zone).replace(tzinfo=None)
        length = _placed(end) - _placed(start)
        if is_day and not length:
            length = timedelta(days=1)
    elif values.has("DURATION"):
        length = values.duration()
        if is_day and length % timedelta(days=1):
            raise _UnreadableError("it is all-day, and its duration is not in days")
    if length <= timedelta():
        raise _UnreadableError(
            "it has no length; give it an end" if not length else "it ends before it starts"
        )
    try:
        start + length
    except OverflowError:
        raise _UnreadableError("it ends after the year 9999") from None
    return length


def _placed(moment: Moment) -> datetime:
    return moment if isinstance(moment, datetime) else datetime.combine(moment, time.min)


def _instant(moment: Moment, zone: tzinfo | None) -> Moment:
    """A moment that does not depend on the zone that its file names."""
    if zone is None or not isinstance(moment, datetime):
        return moment
    return moment.replace(tzinfo=zone).astimezone(UTC)


def _as_in(moment: Moment, event: Event) -> Moment:
    """A moment on the clock of an event; a date for an all-day event."""
    if not isinstance(event.start, datetime):
        return moment.date() if isinstance(moment, datetime) else moment
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        return moment
    return moment.astimezone(event.zone or UTC).replace(tzinfo=None)


class _Values:
    """The properties of one VEVENT. Each method raises _UnreadableError."""

    def __init__(self, lines: Iterable[Contentline]) -> None:
        self._all: dict[str, list[tuple[Mapping[str, object], str]]] = defaultdict(list)
        for line in lines:
            try:
                name, parameters, value = line.raw_parts()
            except ValueError:
                raise _UnreadableError(f"its line {line[:40]!r} is damaged") from None
            self._all[name.upper()].append((parameters, value))

    def has(self, name: str) -> bool:
        return name in self._all

    def raw(self, name: str) -> str:
        """The value of a property as it is written; empty if there is none."""
        found = self._all.get(name, ())
        if len(found) > 1:
            raise _UnreadableError(f"it has several {name}")
        return found[0][1].strip() if found else ""

    def text(self, name: str) -> str:
        found = self._all.get(name, ())
        return _line(found[0][1]) if found else ""

    def number(self, name: str) -> int:
        text = self.raw(name)
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0

    def categories(self) -> tuple[str, ...]:
        found = [
            _line(part)[:_LONGEST_TEXT]
            for _, value in self._all.get("CATEGORIES", ())
            for part in value.replace("\\,", "\0").split(",", _MOST_CATEGORIES)
        ]
        return tuple(c.replace("\0", ",") for c in found[:_MOST_CATEGORIES] if c)

    def parameter(self, name: str, parameter: str) -> str:
        return _text(self._all[name][0][0].get(parameter))

    def moment(self, name: str, zones: Zones) -> tuple[Moment, tzinfo | None]:
        """A time on the clock of its zone, and the zone; a date has none."""
        if name not in self._all:
            raise _UnreadableError(f"it has no {name}")
        parameters, value = self._all[name][0]
        return _moment(value.strip(), parameters, zones)

    def moments(self, name: str, zones: Zones) -> Iterator[Moment]:
        """The moments of lists; of a period, its start."""
        found = [
            (parameters, text)
            for parameters, value in self._all.get(name, ())
            for text in value.split(",", _MOST_DATES + 1)
            if text.strip()
        ]
        if len(found) > _MOST_DATES:
            raise _UnreadableError(f"it has more than {_MOST_DATES} {name}")
        for parameters, text in found:
            if "/" in text:
                raise _UnreadableError("it adds a period with an end of its own (RDATE)")
            yield _instant(*_moment(text.strip(), parameters, zones))

    def duration(self) -> timedelta:
        found: timedelta = _parsed(vDuration.from_ical, self.raw("DURATION"), "duration")
        return found


def _moment(
    text: str, parameters: Mapping[str, object], zones: Zones
) -> tuple[Moment, tzinfo | None]:
    found = _parsed(vDDDTypes.from_ical, text, "time")
    if isinstance(found, datetime):
        if found.tzinfo is not None:
            return found.replace(tzinfo=None), UTC
        name = _text(parameters.get("TZID"))
        return found, zones(name) if name else None
    if isinstance(found, date):
        return found, None
    raise _UnreadableError(f"{text[:40]!r} is not a time")


def _parsed(parse: Callable[[str], T], text: str, what: str) -> T:
    try:
        return parse(text)
    except (ValueError, OverflowError, TypeError):
        raise _UnreadableError(f"{text[:40]!r} is not a {what}") from None


def _line(value: str) -> str:
    """A text without escapes, on one line."""
    return " ".join(unescape_backslash(value).split())


def _text(given: object) -> str:
    return given.strip() if isinstance(given, str) else ""
