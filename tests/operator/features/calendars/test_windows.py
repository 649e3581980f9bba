"""What a pool makes of readings of calendars: windows, closed days, and what stays without one."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from rows import each

from kotatsu_operator.core.calendar.occasions import Occasion
from kotatsu_operator.core.calendar.schedule import Occurrence, occurrences
from kotatsu_operator.core.pool.calendars import MOST_DAYS, MOST_WINDOWS, with_calendars
from kotatsu_operator.core.pool.memory import Memory, Phase
from kotatsu_operator.core.pool.spec import PoolSpec
from kotatsu_operator.core.report.conditions import condition as made
from kotatsu_operator.core.report.status import memory_status, read_memory
from kotatsu_operator.core.schema import joined
from kotatsu_operator.features.calendars.windows import (
    AHEAD,
    Reading,
    Readings,
    calendars_read,
    follow,
)
from tests.operator.core.values import cron, pool_spec

NOW = datetime(2030, 12, 1, tzinfo=UTC)
TEAM: dict[str, Any] = {"name": "team", "replicas": 5}
HOLIDAYS = {"name": "holidays", "mode": "Closed"}
TEAM_CLOSED = {"name": "team", "mode": "Closed"}


def spec(**fields: Any) -> PoolSpec:
    return pool_spec(timeZone="Asia/Tokyo", **fields)


def pitch(day: int = 18, title: str = "Final pitch", *categories: str) -> Occasion:
    """From ten to twelve in Tokyo."""
    start = datetime(2030, 12, day, 1, tzinfo=UTC)
    return Occasion(f"{title}{day}", title, start, start + timedelta(hours=2), categories)


def holiday(day: int, days: int = 1) -> Occasion:
    start = date(2030, 12, day)
    return Occasion(f"{day}@holidays", "Holiday", start, start + timedelta(days=days))


def read(*occasions: Occasion, error: str = "") -> Reading:
    return Reading(NOW, occasions, error)


def opened(pool: PoolSpec, readings: Readings, memory: Memory | None = None) -> list[Occurrence]:
    """The openings of the month."""
    used = with_calendars(pool, follow(pool, memory or Memory(), readings, NOW))
    return occurrences(used.windows, used.zone, NOW, NOW + timedelta(days=31))


def days(found: list[Occurrence]) -> list[int]:
    return [o.start.day for o in found]


def test_an_event_opens_a_window_of_its_pods():
    (one,) = opened(spec(calendars=[TEAM]), {"team": read(pitch())})
    assert (one.window, one.replicas) == ("final-pitch", 5)
    assert (one.start, one.end) == (pitch().start, pitch().end)


def test_each_use_of_a_calendar_takes_the_events_that_match():
    uses = [TEAM | {"match": "PITCH"}, TEAM | {"match": "Rehearsal", "replicas": 2}]
    events = pitch(17, "Practice", "Rehearsal"), pitch(18), pitch(19, "Lunch")
    found = opened(spec(calendars=uses), {"team": read(*events)})
    assert [(o.start.day, o.replicas) for o in found] == [(17, 2), (18, 5)]


def test_on_closed_days_schedules_and_events_stay_shut_and_a_dated_window_opens():
    single = {"name": "own", "replicas": 1, "start": "2030-12-31T09:00", "end": "2030-12-31T10:00"}
    daily = cron("0 12 * * *", "1h", name="daily")
    pool = spec(windows=[daily, single], calendars=[TEAM, HOLIDAYS])
    readings = {"team": read(pitch(18), pitch(31)), "holidays": read(holiday(30, 2))}
    found = opened(pool, readings)
    assert {o.window for o in found if o.start.day in (30, 31)} == {"own"}
    assert days([o for o in found if o.window == "daily"]) == [*range(1, 30)]
    assert days([o for o in found if o.window == "final-pitch"]) == [18]


def test_a_calendar_of_holidays_closes_no_pool_that_does_not_name_it():
    pool = spec(windows=[cron("0 12 * * *", "1h")], calendars=[TEAM])
    assert len(opened(pool, {"team": read(), "holidays": read(holiday(5))})) == 31


def test_a_calendar_that_cannot_be_read_keeps_its_windows_and_says_so():
    pool = spec(calendars=[TEAM])
    failing = {"team": read(pitch(), error="cannot be fetched from calendar.example")}
    assert days(opened(pool, failing)) == [18]
    memory = follow(pool, Memory(), failing, NOW)
    (condition,) = calendars_read(pool, memory, failing, None)
    assert (condition["type"], condition["reason"]) == ("CalendarsRead", "Unreadable")
    failed, stay = (
        "cannot be fetched from calendar.example",
        "1 windows of 2030-12-01T00:00:00Z stay",
    )
    assert condition["message"] == f"calendar team {failed}; {stay}"


def test_a_new_operator_takes_windows_from_the_status_until_it_has_read():
    pool = spec(windows=[cron("0 12 * * *", "1h")], calendars=[TEAM, HOLIDAYS])
    readings = {"team": read(pitch()), "holidays": read(holiday(5))}
    memory = follow(pool, Memory(phase=Phase.WARM, since=NOW), readings, NOW)
    restored = read_memory(memory_status(memory, pool), Memory())
    assert restored.calendars == memory.calendars
    unread = {"team": Reading(), "holidays": Reading()}
    assert opened(pool, unread, restored) == opened(pool, readings)
    before = made("CalendarsRead", False, "Unreadable", "not mounted")
    assert calendars_read(pool, restored, unread, before) == [before]
    (first,) = calendars_read(pool, restored, unread, None)
    assert first["status"] == "Unknown"


def test_calendars_are_read_from_the_status_only_if_another_has_written_them():
    pool = spec(calendars=[TEAM])
    memory = follow(pool, Memory(phase=Phase.WARM, since=NOW), {"team": read(pitch())}, NOW)
    status = memory_status(memory, pool)
    assert read_memory(status, memory).calendars is memory.calendars
    without = {"calendars": [status["internal"]["calendars"][0] | {"windows": []}]}
    edited = joined(status, {"internal": without})
    assert read_memory(edited, memory).calendars[0].windows == ()


def test_windows_that_are_over_do_not_stay():
    pool = spec(calendars=[TEAM])
    memory = follow(pool, Memory(), {"team": read(pitch(18), pitch(20))}, NOW)
    later = follow(pool, memory, {"team": Reading()}, datetime(2030, 12, 19, tzinfo=UTC))
    (followed,) = later.calendars
    assert [w.start.day for w in followed.windows if w.start] == [20]


def test_a_reading_that_says_the_same_changes_no_status():
    pool = spec(calendars=[TEAM])
    first = follow(pool, Memory(), {"team": read(pitch())}, NOW)
    again = Reading(NOW + timedelta(hours=1), (pitch(),))
    assert follow(pool, first, {"team": again}, NOW + timedelta(hours=1)) is first


def test_a_calendar_that_is_not_named_any_more_is_forgotten():
    memory = follow(spec(calendars=[TEAM]), Memory(), {"team": read(pitch())}, NOW)
    assert follow(spec(), memory, {"team": read(pitch())}, NOW).calendars == ()


def test_a_calendar_that_the_chart_does_not_have_is_named():
    pool = spec(calendars=[TEAM, HOLIDAYS])
    (condition,) = calendars_read(pool, Memory(), {"team": read()}, None)
    assert condition["reason"] == "NotConfigured"
    assert condition["message"].startswith("the operator follows no calendar holidays: add it to")


def test_a_status_holds_the_next_events_and_says_how_many_are_left_out():
    events = [
        Occasion(f"{i}", "Busy", NOW + timedelta(hours=i), NOW + timedelta(hours=i + 1))
        for i in range(100)
    ]
    pool = spec(calendars=[TEAM, TEAM_CLOSED])
    readings = {"team": read(*events, holiday(1, 400))}
    memory = follow(pool, Memory(), readings, NOW)
    (followed,) = memory.calendars
    assert (len(followed.windows), followed.left_out) == (MOST_WINDOWS, 37)
    assert len(followed.closed) == MOST_DAYS
    (condition,) = calendars_read(pool, memory, readings, None)
    assert condition["reason"] == "EventsLeftOut"


@each("began", [0, 99, 100, 101, 150, 400])
def test_a_long_event_closes_each_of_its_days(began):
    start = NOW.date() - timedelta(days=began)
    long = Occasion("x@holidays", "Renovation", start, start + timedelta(days=began) + AHEAD)
    pool = spec(windows=[cron("0 12 * * *", "1h")], calendars=[HOLIDAYS])
    memory = follow(pool, Memory(), {"holidays": read(long)}, NOW)
    used = with_calendars(pool, memory)
    found = occurrences(used.windows, used.zone, NOW, NOW + timedelta(days=80))
    assert min(o.start for o in found).date() == NOW.date() + AHEAD


def test_a_window_of_a_closed_day_stays_shut_after_midnight():
    pool = spec(windows=[cron("0 23 * * *", "3h")], calendars=[HOLIDAYS])
    readings = {"holidays": read(holiday(5))}
    night = datetime(2030, 12, 5, 15, 30, tzinfo=UTC)  # 0:30 on the 6th in Tokyo
    memory = follow(pool, Memory(), readings, night)
    for known in (readings, {"holidays": Reading()}):
        used = with_calendars(pool, follow(pool, memory, known, night))
        assert occurrences(used.windows, used.zone, night, night + timedelta(hours=1)) == []


def test_a_window_of_a_closed_day_stays_shut_as_long_as_it_lasts():
    """Also a long event of another calendar, and while the calendar cannot be read any more."""
    week = cron("0 9 * * *", "104h")
    pool = spec(windows=[week], calendars=[TEAM, HOLIDAYS])
    event = Occasion("y@team", "Fair", date(2030, 12, 5), date(2030, 12, 9))
    readings = {"holidays": read(holiday(5)), "team": read(event)}
    memory = follow(pool, Memory(), readings, NOW)
    for day in range(5, 9):
        at = datetime(2030, 12, day, 1, tzinfo=UTC)
        for known in (readings, {"holidays": Reading(), "team": Reading()}):
            used = with_calendars(pool, follow(pool, memory, known, at))
            found = occurrences(used.windows, used.zone, at, at + timedelta(hours=1))
            assert {o.start.day for o in found} & {5} == set()


def test_a_time_that_clocks_skip_is_no_window():
    pool = pool_spec(timeZone="Europe/Berlin", calendars=[TEAM])
    floating = Occasion("x", "Night", datetime(2031, 3, 30, 2, 10), datetime(2031, 3, 30, 2, 50))
    (followed,) = follow(pool, Memory(), {"team": read(floating)}, NOW).calendars
    assert (followed.windows, followed.left_out) == ((), 1)


KNOWN = {"name": "team", "readAt": "2030-12-01T00:00:00Z"}
NO_WINDOW = {"start": "2030-12-18T10:00", "end": "x", "replicas": 1}


@each("edited", [
    "x", [1], [{"name": "team"}], [KNOWN | {"windows": 3, "closed": "x"}],
    [KNOWN | {"windows": [NO_WINDOW], "closed": [1, "2030-13-01"]}],
])  # fmt: skip
def test_an_edited_status_does_no_harm(edited):
    memory = read_memory({"phase": "Warm", "internal": {"calendars": edited}}, Memory())
    pool = spec(calendars=[TEAM, TEAM_CLOSED])
    assert with_calendars(pool, memory).windows == ()
