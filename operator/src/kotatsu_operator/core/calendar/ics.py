"""Read an iCalendar file (RFC 5545) into events.

icalendar parses each event by itself, so an unreadable event does not hide the others. Alarms,
tasks and free-busy times are not read. The caller limits the work (`limit`).
"""

import hashlib
import warnings
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Any

import icalendar
from icalendar.parser import Contentline, Contentlines
from icalendar.parser.property import unescape_backslash
from icalendar.timezone import tzp

from kotatsu_operator.core.calendar.occasions import (
    MOST_BYTES,
    CalendarError,
    Moment,
    Skipped,
)

MOST_EVENTS = 5000
"""Events of a file; an occurrence that was changed by itself is one too."""
_MOST_LINES = 100_000
_DEEPEST = 4
_LONGEST_TEXT, _LONGEST_UID, _MOST_CATEGORIES = 200, 200, 20

_TIMES = ("DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID")
_PROPERTIES = frozenset(
    {"BEGIN", "END", "UID", "SUMMARY", "CATEGORIES", "STATUS", "SEQUENCE", "EXRULE", *_TIMES}
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
    rule: Mapping[str, list[Any]] = field(default_factory=dict)
    """The parts of the RRULE, each a list; empty if there is none."""
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
        return taken, start if taken is None else taken.start + (placed(start) - placed(of))

    def instant(self, moment: Moment) -> Moment:
        """A time of this event as a moment that does not depend on its zone."""
        return _instant(moment, self.zone)

    def on_clock(self, moment: Moment) -> Moment:
        """A moment on the clock of this event; a date for an all-day event."""
        if not isinstance(self.start, datetime):
            return moment.date() if isinstance(moment, datetime) else moment
        if not isinstance(moment, datetime) or moment.tzinfo is None:
            return moment
        return moment.astimezone(self.zone or UTC).replace(tzinfo=None)


@dataclass(frozen=True)
class Calendar:
    """What a file contains."""

    name: str
    """The name that the file gives itself; often empty."""
    events: tuple[Event, ...]
    skipped: tuple[Skipped, ...] = ()
    cancelled: int = 0


def read(data: bytes) -> Calendar:
    """Read a file. Raises CalendarError.

    The process keeps the time zones that the file defines until it reads the next one.
    """
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
    with warnings.catch_warnings(action="ignore"):  # of zones with the name of a program before it
        _define(parts.zones)
        return _joined(parts)


@dataclass
class _Parts:
    """The lines of each event and of each time zone."""

    name: str = ""
    events: list[list[Contentline]] = field(default_factory=list)
    zones: list[list[Contentline]] = field(default_factory=list)


def _parts(lines: Iterable[Contentline]) -> _Parts:
    """Raises CalendarError."""
    found, stack = _Parts(), list[str]()
    for line in lines:
        head, _, value = line.partition(":")
        name = head.partition(";")[0].strip().upper()
        if name == "BEGIN":
            stack.append(value.strip().upper())
            if len(stack) > _DEEPEST:
                raise CalendarError("has components that are nested too deeply")
            if stack[1:] == ["VEVENT"]:
                found.events.append([])
            elif stack[1:] == ["VTIMEZONE"]:
                found.zones.append([])
        if stack[1:2] == ["VTIMEZONE"]:
            found.zones[-1].append(line)
        elif stack[1:] == ["VEVENT"] and name in _PROPERTIES:
            found.events[-1].append(line)
        elif stack == ["VCALENDAR"] and name == "X-WR-CALNAME":
            found.name = unescape_backslash(value)[:_LONGEST_TEXT].strip()
        if name == "END" and (not stack or stack.pop() != value.strip().upper()):
            raise CalendarError(f"is damaged or cut off at END:{value[:20]}")
    if stack:
        raise CalendarError("is cut off: its end is missing")
    return found


def _define(zones: Iterable[list[Contentline]]) -> None:
    """Make the zones of a file known to icalendar, and forget those of other files.

    A known name takes precedence over its definition, because definitions are often outdated.
    """
    tzp.use_default()
    for lines in zones:
        called = next((line for line in lines if line.upper().startswith("TZID")), "")
        rules = [line.upper() for line in lines if line.upper().startswith("RRULE")]
        is_yearly = all("FREQ=YEARLY" in rule and "INTERVAL" not in rule for rule in rules)
        with suppress(Exception):  # events that use the zone are left out: it stays unknown
            if is_yearly and tzp.timezone(called.partition(":")[2].strip()) is None:
                icalendar.Timezone.from_ical(lines)  # type: ignore[call-overload]


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
    skipped, cancelled = list[Skipped](), 0
    masters: dict[str, _Entry] = {}
    changes: dict[str, dict[tuple[Moment, bool], _Entry]] = defaultdict(dict)
    for lines in parts.events:
        title = "(no title)"
        try:
            given = icalendar.Event.from_ical(lines)  # type: ignore[call-overload]
            title = _text(given, "SUMMARY")[:_LONGEST_TEXT] or title
            entry = _entry(given, title)
        except MemoryError:
            raise
        except Exception as error:  # icalendar and dateutil raise many kinds for bad values
            skipped.append(Skipped(title, _reason(error)))
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
    if isinstance(error, _UnreadableError):
        return str(error)
    if isinstance(error, OverflowError):  # of an instant, or of a zone's offset
        return "one of its times is outside of the years 1 to 9999"
    return f"it is not valid iCalendar: {str(error)[:120] or type(error).__name__}"


def _with_changes(event: Event, changes: Iterable[_Entry]) -> Event:
    single, later = dict[Moment, Event | None](), dict[Moment, Event | None]()
    for change in changes:
        assert change.of is not None  # noqa: S101  (it is a change)
        of, made = event.on_clock(change.of), None if change.is_cancelled else change.event
        if not change.is_onwards:
            single[of] = made
        else:
            later[placed(of) if isinstance(event.start, datetime) else of] = made
    in_order = sorted(later.items(), key=lambda change: change[0])
    return replace(event, changed=single, later=tuple(in_order))


def _entry(given: Any, title: str) -> _Entry:
    """What a VEVENT says. Raises _UnreadableError and errors of icalendar."""
    for name, why in given.errors:
        if name is None or name in _TIMES:
            raise _UnreadableError(f"its {name or 'text'} cannot be read: {why[:120]}")
    if "EXRULE" in given:
        raise _UnreadableError("it has an EXRULE, which is obsolete; use single dates instead")
    if len(given.rrules) > 1 or any("FREQ" not in rule for rule in given.rrules):
        raise _UnreadableError("it has several rules, or one without FREQ (RRULE)")
    start, zone = _clock(given, "DTSTART", given.start)
    uid = _text(given, "UID") or hashlib.sha256(f"{title}/{start}".encode()).hexdigest()
    if len(uid) > _LONGEST_UID:
        uid = hashlib.sha256(uid.encode()).hexdigest()
    is_cancelled = _text(given, "STATUS").upper() == "CANCELLED"
    of, is_onwards = given.get("RECURRENCE-ID"), False
    if of is not None:
        is_onwards = str(of.params.get("RANGE", "")).upper() == "THISANDFUTURE"
        of = _instant(*_clock(given, "RECURRENCE-ID", of.dt))
    event = Event(
        uid,
        title,
        start,
        timedelta(days=1) if is_cancelled else _length(given, start, zone),
        zone,
        tuple(filter(None, (_line(c)[:_LONGEST_TEXT] for c in given.categories)))[
            :_MOST_CATEGORIES
        ],
        given.rrules[0] if given.rrules else {},
    )
    if any(end is not None for _, end in given.rdates):
        raise _UnreadableError("it adds a period with an end of its own (RDATE)")
    added = (_instant(*_clock(given, "RDATE", at)) for at, _ in given.rdates)
    removed = (_instant(*_clock(given, "EXDATE", at)) for at in given.exdates)
    event = replace(
        event,
        added=tuple(map(event.on_clock, added)),
        removed=frozenset(map(event.on_clock, removed)),
    )
    sequence = given.get("SEQUENCE")
    return _Entry(event, of, is_onwards, is_cancelled, sequence if isinstance(sequence, int) else 0)


def _clock(given: Any, name: str, moment: Moment) -> tuple[Moment, tzinfo | None]:
    """A time of a property on the clock of its zone, and the zone; a date has none."""
    if not isinstance(moment, datetime):
        return moment, None
    if moment.tzinfo is None:
        # icalendar reads a time in an unknown zone as one without a zone.
        values = given[name] if isinstance(given[name], list) else [given[name]]
        for zone in (value.params.get("TZID") for value in values):
            if zone:
                raise _UnreadableError(
                    f"its time zone {zone[:60]!r} is unknown, or the file defines it wrongly"
                )
    return moment.replace(tzinfo=None), moment.tzinfo


def _length(given: Any, start: Moment, zone: tzinfo | None) -> timedelta:
    """From start to end, on the clock of the event."""
    end, end_zone = _clock(given, "DTEND" if "DTEND" in given else "DTSTART", given.end)
    if zone is not None and end_zone is not None and isinstance(end, datetime):
        end = end.replace(tzinfo=end_zone).astimezone(zone).replace(tzinfo=None)
    length = placed(end) - placed(start)
    if not isinstance(start, datetime) and not length:
        return timedelta(days=1)
    if length <= timedelta():
        raise _UnreadableError(
            "it has no length; give it an end" if not length else "it ends before it starts"
        )
    return length


def placed(moment: Moment) -> datetime:
    """A moment without its zone; of a date, its midnight."""
    if isinstance(moment, datetime):
        return moment.replace(tzinfo=None, fold=0)
    return datetime.combine(moment, time.min)


def _instant(moment: Moment, zone: tzinfo | None) -> Moment:
    """A moment that does not depend on the zone that its file names."""
    if zone is None or not isinstance(moment, datetime):
        return moment
    return moment.replace(tzinfo=zone).astimezone(UTC)


def _text(given: Any, name: str) -> str:
    value = given.get(name, "")
    return _line(value[0] if isinstance(value, list) else value)


def _line(value: object) -> str:
    """A text on one line."""
    return " ".join(str(value).split())
