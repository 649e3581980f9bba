"""From the events of a calendar to changes of a pool's windows.

A window remembers the calendar and the event that it comes from, in `from`. Importing a calendar
again makes the windows of that calendar what it says now: it changes and removes them by the UID of
their event, and leaves all other windows alone.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from kotatsu_operator.core.calendar.cron_of import as_cron
from kotatsu_operator.core.calendar.ics import Calendar, Event
from kotatsu_operator.core.calendar.occasions import Match, Occasion, Skipped, window_name
from kotatsu_operator.core.calendar.repeats import expand
from kotatsu_operator.core.calendar.wallclock import last_instant, to_instant
from kotatsu_operator.core.formats import format_duration, table, text

from .errors import DemoModeError
from .pools import Object, Pool
from .times import wall
from .windows import MOST_WINDOWS, Edit, entries_of, mode_of, most_replicas


@dataclass(frozen=True)
class Import:
    """A calendar, and what to take from it."""

    calendar: Calendar
    name: str
    """The name under which its windows are known."""
    match: Match
    ahead: timedelta
    """How far ahead single windows are made."""
    replicas: int | None = None
    parked: bool = False
    """Whether the pods of its windows are parked until a request comes."""


@dataclass(frozen=True)
class Wanted:
    """A window that the calendar asks for: its entry without name and replicas."""

    title: str
    uid: str
    day: str
    """The day of one of several windows of an event; empty for its only one."""
    times: Object

    def named(self, *, is_unique: bool) -> str:
        """Its name; with a part of the UID if titles alone are not unique."""
        name = window_name(self.title) + (f"-{self.day}" if self.day else "")
        if is_unique:
            return name
        key = f"{self.uid}/{self.times.get('start', '')}"
        return f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:6]}"


@dataclass(frozen=True)
class Read:
    """The windows of a calendar in one time zone, and what is not one of them."""

    wanted: Sequence[Wanted]
    skipped: Sequence[Skipped]
    """Events that cannot be windows, and windows that differ from their event."""
    elsewhere: int
    """Events that match and have nothing in the time ahead."""


def windows_of(asked: Import, zone: ZoneInfo, now: datetime) -> Read:
    """The windows that a calendar asks for, in the zone of a pool."""
    matching = [e for e in asked.calendar.events if _matches(asked.match, e)]
    wanted, single = list[Wanted](), list[Event]()
    for event in matching:
        cron = as_cron(event, zone, now) if event.repeats else None
        if cron is None:
            single.append(event)
            continue
        times: Object = {"schedule": cron.schedule, "duration": format_duration(cron.duration)}
        if cron.exclude:
            times["excludeDates"] = sorted(day.isoformat() for day in cron.exclude)
        wanted.append(Wanted(event.title, event.uid, "", times))
    rest = Calendar(asked.calendar.name, tuple(single), asked.calendar.skipped)
    expanded = expand(rest, asked.match, now, now + asked.ahead)
    skipped = [s for s in expanded.skipped if Match(asked.match.text).takes(s.title, ())]
    with_windows = {o.uid for o in expanded.occasions}
    failed = {s.title for s in skipped}
    missing = [e for e in single if e.uid not in with_windows and e.title not in failed]
    for occasion in expanded.occasions:
        made = _single(occasion, zone, now)
        if isinstance(made, Skipped):
            skipped.append(made)
        elif made is not None:
            wanted.append(made)
            skipped += _differences(occasion, zone)
    return Read(wanted, skipped, len(missing))


def _matches(match: Match, event: Event) -> bool:
    named = (event, *(e for e in event.changed.values() if e is not None))
    return any(match.takes(e.title, e.categories) for e in named)


def _single(occasion: Occasion, zone: ZoneInfo, now: datetime) -> Wanted | Skipped | None:
    start, end = occasion.walls(zone)
    if last_instant(end, zone) <= now:
        return None
    if end <= start:
        return Skipped(occasion.title, f"clocks go back in {zone.key} while it lasts")
    if to_instant(start, zone)[0] >= to_instant(end, zone)[0]:
        return Skipped(occasion.title, f"clocks in {zone.key} skip the time at which it is")
    day = f"{start:%Y%m%d}" if occasion.recurrence else ""
    return Wanted(occasion.title, occasion.uid, day, {"start": wall(start), "end": wall(end)})


def _differences(occasion: Occasion, zone: ZoneInfo) -> list[Skipped]:
    """That a window is longer than its event, because a clock shows a time twice."""
    if not isinstance(occasion.start, datetime) or occasion.start.tzinfo is None:
        return []
    start, _ = occasion.walls(zone)
    if to_instant(start, zone)[0] == occasion.start:
        return []
    why = f"{start:%H:%M} comes twice on {start:%Y-%m-%d}, and the window opens at the first"
    return [Skipped(occasion.title, why)]


def changes(pool: Pool, asked: Import, wanted: Iterable[Wanted]) -> list[Edit]:
    """The changes that make the calendar's windows of a pool what is wanted; also unchanged ones.

    Raises DemoModeError if the pool would have too many windows.
    """
    entries = entries_of(pool)
    mine = {i: entry for i, entry in enumerate(entries) if _source(entry)[0] == asked.name}
    taken = {str(e.get("name")) for i, e in enumerate(entries) if i not in mine}
    named = _named(wanted, taken)
    by_name = {str(entry.get("name")): i for i, entry in mine.items()}
    left = {i for i in mine if str(mine[i].get("name")) not in named}
    by_uid = defaultdict[str, list[int]](list)
    for i in sorted(left):
        by_uid[_source(mine[i])[1]].append(i)
    edits = []
    for name, one in named.items():
        index = by_name.get(name)
        if index is None and by_uid[one.uid]:  # the event has another title or day now
            index = by_uid[one.uid].pop(0)
        before = None if index is None else entries[index]
        value = _entry(pool, asked, name, one, before)
        verb = "added" if before is None else "unchanged" if value == before else "replaced"
        edits.append(Edit(pool, name, verb, index, value))
        left.discard(-1 if index is None else index)
    edits += [Edit(pool, str(mine[i].get("name")), "removed", i, None) for i in sorted(left)]
    _check_number(pool, len(entries) - len(left) + sum(e.verb == "added" for e in edits))
    return edits


def _check_number(pool: Pool, number: int) -> None:
    if number > MOST_WINDOWS:
        raise DemoModeError(
            f"{pool.name} would have {number} windows, and a pool can have {MOST_WINDOWS}; choose "
            "fewer events with --match or --category, or a shorter time with --days"
        )


def _source(entry: Object) -> tuple[str, str]:
    """The calendar and the UID that an entry comes from; empty if it does not."""
    source = table(entry.get("from"))
    return text(source.get("calendar")), text(source.get("uid"))


def _named(wanted: Iterable[Wanted], taken: set[str]) -> dict[str, Wanted]:
    """The windows by name.

    All titles that are not unique get a part of the UID, so the order of a file does not matter.
    """
    found = list(wanted)
    uses = Counter(one.named(is_unique=True) for one in found)
    named = {}
    for one in found:
        name = one.named(is_unique=True)
        is_unique = uses[name] == 1 and name not in taken
        named[one.named(is_unique=is_unique)] = one
    return named


def _entry(pool: Pool, asked: Import, name: str, one: Wanted, before: Object | None) -> Object:
    """The entry of spec.windows. Without --replicas and --parked, a window keeps what it has."""
    kept = None if before is None else before.get("replicas")
    replicas = most_replicas(pool, asked.replicas) if asked.replicas or not kept else kept
    mode = mode_of(pool, parked=asked.parked)
    if before is not None and "mode" in before and not asked.parked:
        mode = {"mode": before["mode"]}
    source: dict[str, Any] = {"calendar": asked.name, "uid": one.uid}
    return {"name": name, "replicas": replicas, **mode, **one.times, "from": source}
