"""A repeating event as a cron schedule, where a schedule says exactly the same."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from kotatsu_operator.core.calendar.schedule import Window, check_cron
from kotatsu_operator.core.calendar.schedule import occurrences as openings
from kotatsu_operator.features.calendars.ics import Event
from kotatsu_operator.features.calendars.repeats import RepeatError, occasions

_COMPARED = timedelta(days=400)
"""How far ahead event and schedule are compared: over both clock changes of a year."""
_LONGEST = timedelta(hours=744)
_MOST_EXCLUDED = 366
_ENDS = {"COUNT", "UNTIL"}
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
    is_changed = event.added or event.changed or event.later
    is_endless = event.rule.get("INTERVAL", [1]) == [1] and not event.rule.keys() & _ENDS
    if is_changed or not is_endless or event.length > _LONGEST:
        return None
    fields = _fields(event)
    if fields is None:
        return None
    days = {m.date() if isinstance(m, datetime) else m for m in event.removed}
    exclude = frozenset(day for day in days if day >= now.date() - timedelta(days=40))
    made = Cron(fields, event.length, exclude)
    is_same = (
        len(exclude) <= _MOST_EXCLUDED and _is_valid(fields) and _agrees(made, event, zone, now)
    )
    return made if is_same else None


def _fields(event: Event) -> str | None:
    start, rule = event.start, event.rule
    hour, minute = (start.hour, start.minute) if isinstance(start, datetime) else (0, 0)
    if isinstance(start, datetime) and start.second:
        return None
    used = rule.keys() - {"FREQ", "INTERVAL", "WKST"}
    day, month, weekday = "*", "*", "*"
    names = rule.get("BYDAY", [])
    match rule.get("FREQ"):
        case ["DAILY" | "WEEKLY" as frequency] if used <= {"BYDAY"} and _WEEKDAYS.keys() >= {
            *names
        }:
            if names:
                weekday = ",".join(str(n) for n in sorted({_WEEKDAYS[n] for n in names}))
            elif frequency == "WEEKLY":
                weekday = str(start.isoweekday() % 7)
        case ["MONTHLY"] if used <= {"BYMONTHDAY"}:
            day = ",".join(map(str, rule.get("BYMONTHDAY", [start.day])))
        case ["YEARLY"] if used in (set(), {"BYMONTH"}, {"BYMONTH", "BYMONTHDAY"}):
            day = ",".join(map(str, rule.get("BYMONTHDAY", [start.day])))
            month = ",".join(map(str, rule.get("BYMONTH", [start.month])))
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
