"""A repeating event as a cron schedule, where a schedule says exactly the same."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from kotatsu_operator.core.calendar.ics import Event
from kotatsu_operator.core.calendar.repeats import RepeatError, Rule, occasions, rule_of
from kotatsu_operator.core.calendar.schedule import Window, check_cron
from kotatsu_operator.core.calendar.schedule import occurrences as openings

_COMPARED = timedelta(days=400)
"""How far ahead event and schedule are compared: over both clock changes of a year."""
_LONGEST = timedelta(hours=744)
_MOST_EXCLUDED = 366
_WEEKDAYS = {"SU": 0, "MO": 1, "TU": 2, "WE": 3, "TH": 4, "FR": 5, "SA": 6}


@dataclass(frozen=True)
class Cron:
    """A schedule, the length of its openings, and the days without one."""

    schedule: str
    duration: timedelta
    exclude: frozenset[date]


def as_cron(event: Event, zone: ZoneInfo, now: datetime) -> Cron | None:
    """The schedule in a pool's zone that says the same as an event from now on; None if none does.

    A schedule goes on forever, so a rule that ends has none. The rest is not derived but tried: the
    openings of the schedule and the occurrences of the event are compared, so clock changes, the
    begin of the series and its exceptions need no rules here.
    """
    try:
        rule = rule_of(event.rule)
    except RepeatError:
        return None
    is_changed = event.added or event.changed or event.later
    is_plain = not is_changed and event.length <= _LONGEST
    if not is_plain or rule.interval != 1 or rule.count is not None or rule.until is not None:
        return None
    fields = _fields(rule, event)
    if fields is None:
        return None
    days = {m.date() if isinstance(m, datetime) else m for m in event.removed}
    exclude = frozenset(day for day in days if day >= now.date() - timedelta(days=40))
    made = Cron(fields, event.length, exclude)
    is_same = (
        len(exclude) <= _MOST_EXCLUDED and _is_valid(fields) and _agrees(made, event, zone, now)
    )
    return made if is_same else None


def _fields(rule: Rule, event: Event) -> str | None:
    start = event.start
    hour, minute = (start.hour, start.minute) if isinstance(start, datetime) else (0, 0)
    if isinstance(start, datetime) and start.second:
        return None
    used = set(rule.values)
    day, month, weekday = "*", "*", "*"
    names = rule.values.get("BYDAY", [])
    match rule.frequency:
        case "DAILY" | "WEEKLY" if used <= {"BYDAY"} and all(n in _WEEKDAYS for n in names):
            if names:
                weekday = ",".join(str(n) for n in sorted({_WEEKDAYS[n] for n in names}))
            elif rule.frequency == "WEEKLY":
                weekday = str(start.isoweekday() % 7)
        case "MONTHLY" if used <= {"BYMONTHDAY"}:
            day = ",".join(rule.values.get("BYMONTHDAY", [str(start.day)]))
        case "YEARLY" if used in (set(), {"BYMONTH"}, {"BYMONTH", "BYMONTHDAY"}):
            day = ",".join(rule.values.get("BYMONTHDAY", [str(start.day)]))
            month = ",".join(rule.values.get("BYMONTH", [str(start.month)]))
        case _:
            return None
    return f"{minute} {hour} {day} {month} {weekday}"


def _is_valid(schedule: str) -> bool:
    try:
        check_cron(schedule)
    except ValueError:
        return False
    return True


def _agrees(cron: Cron, event: Event, zone: ZoneInfo, now: datetime) -> bool:
    end = now + _COMPARED
    window = Window("", 1, schedule=cron.schedule, duration=cron.duration, exclude=cron.exclude)
    try:
        wanted = occasions(event, now, end)
    except RepeatError:
        return False
    single = [
        Window("", 1, start=begin, end=stop) for begin, stop in (o.walls(zone) for o in wanted)
    ]
    exact = {
        (o.start, o.end)
        for o in wanted
        if isinstance(o.start, datetime) and o.start.tzinfo is not None
    }
    by_clock = {(o.start, o.end) for o in openings(single, zone, now, end)}
    opened = {(o.start, o.end) for o in openings((window,), zone, now, end)}
    return bool(opened) and opened == (exact or by_clock)
