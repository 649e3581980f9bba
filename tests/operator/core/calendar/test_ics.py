"""Which events a calendar has, when they are, and what is said about those that cannot be read."""

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_operator.core.calendar.ics import read
from kotatsu_operator.core.calendar.occasions import CalendarError, Occasion
from kotatsu_operator.core.calendar.repeats import occasions_of
from tests.operator.core.calendar.icalendar_files import CUSTOM_ZONE, calendar, event

NOW = datetime(2030, 12, 1, tzinfo=UTC)
MONTH = NOW + timedelta(days=31)
TEN = "20301218T100000"
TIMES = {"DTSTART": f"{TEN}Z", "DURATION": "PT1H"}
TOKYO, CUSTOM = "DTSTART__TZID=Asia/Tokyo", "DTSTART__TZID=Customized Time Zone"


def found(*parts: str, match: str = "") -> list[Occasion]:
    return list(occasions_of(calendar(*parts), NOW, MONTH, match=match).occasions)


def left_out(*parts: str) -> list[str]:
    return [s.reason for s in occasions_of(calendar(*parts), NOW, MONTH).skipped]


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2030, 12, day, hour, minute, tzinfo=UTC)


@each("times, start, end", [
    ({"DTSTART": f"{TEN}Z", "DTEND": "20301218T120000Z"}, at(18, 10), at(18, 12)),
    ({TOKYO: TEN, "DURATION": "PT1H30M"}, at(18, 1), at(18, 2, 30)),
    ({"DTSTART__TZID=Tokyo Standard Time": TEN, "DURATION": "PT2H"}, at(18, 1), at(18, 3)),
    ({"DTSTART__TZID=/mozilla.org/2005/Europe/Berlin": TEN, "DURATION": "P1D"},
     at(18, 9), at(19, 9)),
    ({TOKYO: TEN, "DTEND": "20301218T030000Z"}, at(18, 1), at(18, 3)),
    ({"DTSTART": TEN, "DTEND": "20301218T120000"},
     datetime(2030, 12, 18, 10), datetime(2030, 12, 18, 12)),
    ({"DTSTART__VALUE=DATE": "20301231"}, date(2030, 12, 31), date(2031, 1, 1)),
    ({"DTSTART__VALUE=DATE": "20301230", "DTEND__VALUE=DATE": "20310102"},
     date(2030, 12, 30), date(2031, 1, 2)),
])  # fmt: skip
def test_an_event_is_when_its_file_says(times, start, end):
    (one,) = found(event(**times))
    assert (one.start, one.end) == (start, end)


def test_a_time_zone_of_a_file_has_the_hours_of_the_zone_that_it_describes():
    begin, berlin = datetime(2029, 1, 1), ZoneInfo("Europe/Berlin")
    # Hours beside each other at the clock changes, and others all over the year.
    hours = *range(2000, 2040), *range(7200, 7250), *range(0, 2 * 365 * 24, 37)
    walls = [begin + timedelta(hours=h) for h in hours]
    starts = ({CUSTOM: f"{wall:%Y%m%dT%H%M%S}"} for wall in walls)
    events = (event(f"{i}@x", DURATION="PT1H", **start) for i, start in enumerate(starts))
    found = [e.instant(e.start) for e in read(calendar(CUSTOM_ZONE, *events)).events]
    for wall, instant in zip(walls, found, strict=True):
        expected = wall.replace(tzinfo=berlin).astimezone(UTC)
        if expected.astimezone(berlin).replace(tzinfo=None) == wall:  # clocks show this time
            assert instant == expected


def test_lines_may_be_folded_and_escaped():
    folded = {"DTSTART": "20301218T1000\r\n 00Z", "CATEGORIES": "demo,big\\, one"}
    data = calendar(event(title="Pitch\\, fin\r\n al", **TIMES | folded))
    (one,) = read(data).events
    assert (one.title, one.categories) == ("Pitch, final", ("demo", "big, one"))


@each("times, reason", [
    ({}, "No DTSTART given"),
    ({"DTSTART": f"{TEN}Z"}, "it has no length; give it an end"),
    ({"DTSTART": f"{TEN}Z", "DTEND": "20301218T090000Z"}, "it ends before it starts"),
    (TIMES | {"DTSTART": "tomorrow"},
     "its DTSTART cannot be read: Wrong date format tomorrow"),
    (TIMES | {"DURATION": "an hour"},
     "its DURATION cannot be read: Expected time, got: an hour"),
    ({"DTSTART": f"{TEN}Z", "DTEND__VALUE=DATE": "20301219"},
     "must be of the same type, either date or datetime"),
    ({"DTSTART__TZID=Mars/Olympus": TEN, "DURATION": "PT1H"},
     "its time zone 'Mars/Olympus' is unknown"),
    ({"DTSTART": "99991231T230000Z", "DURATION": "P9D"}, "outside of the years 1 to 9999"),
    ({TOKYO: TEN, "DTEND": "99991231T230000Z"}, "outside of the years 1 to 9999"),
])  # fmt: skip
def test_an_event_that_cannot_be_read_is_named_and_the_others_stay(times, reason):
    parts = event("bad@x", "Bad", **times), event("good@x", "Good", **TIMES)
    (why,) = left_out(*parts)
    assert reason in why
    assert [o.uid for o in found(*parts)] == ["good@x"]


def test_a_cancelled_event_is_none():
    gone = event(STATUS="CANCELLED", **TIMES)
    assert (found(gone), read(calendar(gone)).cancelled) == ([], 1)


def test_of_two_versions_of_an_event_the_later_one_holds():
    old = event(SEQUENCE="1", **TIMES)
    new = event(SEQUENCE="2", **TIMES | {"DTSTART": "20301219T100000Z"})
    for order in ((old, new), (new, old)):
        assert [o.start for o in found(*order)] == [at(19, 10)]


def test_alarms_and_tasks_are_no_events():
    alarm = "BEGIN:VALARM\r\nTRIGGER:-PT15M\r\nDURATION:PT5M\r\nEND:VALARM\r\nEND:VEVENT"
    one = event(**TIMES).replace("END:VEVENT", alarm)
    task = "BEGIN:VTODO\r\nUID:t@x\r\nSUMMARY:Task\r\nDUE:20301218T100000Z\r\nEND:VTODO"
    assert [(o.uid, o.end) for o in found(one, task)] == [("a@x", at(18, 11))]


@each("match, uids", [("", ["a", "b"]), ("ＰＩＴＣＨ", ["a"]), ("DEMO", ["b"]), ("dem", [])])
def test_a_filter_ignores_the_case_and_width_of_letters(match, uids):
    parts = event("a", "The Pitch", **TIMES), event("b", "Review", CATEGORIES="x,demo", **TIMES)
    assert [o.uid for o in found(*parts, match=match)] == uids


@each("data, reason", [
    (b"<!DOCTYPE html><title>Sign in</title>", "a web page (it may need a login)"),
    (b"\xff\xfe\x00", "is not UTF-8 text"),
    (b"", "is not an iCalendar file"),
    (calendar(event())[:-15], "is cut off"),
    (b"BEGIN:VCALENDAR\r\nEND:VEVENT\r\n", "is damaged"),
    (b"BEGIN:VCALENDAR\n" + b"BEGIN:X\n" * 100, "nested too deeply"),
    (b"BEGIN:VCALENDAR\n" + b"\n" * 200_000, "has more than 100000 lines"),
    (b"BEGIN:VCALENDAR" + b" " * 3 * 2**20, "has more than 2 MiB"),
    (calendar(*["BEGIN:VEVENT\nEND:VEVENT"] * 5001), "has more than 5000 events"),
])  # fmt: skip
def test_a_file_that_is_no_calendar_is_refused_whole(data, reason):
    with pytest.raises(CalendarError, match=reason.replace("(", r"\(").replace(")", r"\)")):
        read(data)


@each("rule", [
    "FREQ=SECONDLY", "FREQ=HOURLY;COUNT=3", "FREQ=DAILY;INTERVAL=0",
    "FREQ=DAILY;INTERVAL=-1", "FREQ=DAILY;COUNT=x", "FREQ=DAILY;BYDAY=XX", "FREQ=NEVER", "FREQ",
    "FREQ=DAILY;BYHOUR=1,2,3;BYMINUTE=" + ",".join(map(str, range(60))),
    "RSCALE=CHINESE;FREQ=YEARLY",
])  # fmt: skip
def test_a_rule_that_is_invalid_or_too_often_is_named(rule):
    assert len(left_out(event(RRULE=rule, **TIMES))) == 1


def test_series_that_are_old_or_ended_or_match_no_day_are_read():
    first = {"DTSTART": "19900101T100000Z", "DURATION": "PT1H"}
    rules = [
        f"FREQ={f}{until}"
        for f in ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
        for until in ("", ";UNTIL=20200101T000000Z", ";COUNT=99999999")
    ]
    rules.append("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=31")
    assert left_out(*(event(f"{i}@x", RRULE=rule, **first) for i, rule in enumerate(rules))) == []


@each("rule", ["FREQ=SECONDLY", "FREQ=YEARLY;INTERVAL=0", "FREQ=YEARLY;BYMONTH=x"])
def test_a_time_zone_that_is_defined_wrongly_is_unknown(rule):
    evil = CUSTOM_ZONE.replace("FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3", rule)
    (why,) = left_out(evil, event(DURATION="PT1H", **{CUSTOM: TEN}))
    assert why.startswith("its time zone 'Customized Time Zone' is unknown")


@given(st.data())
def test_no_edit_of_an_event_is_more_than_a_sentence(data):
    times = {CUSTOM: TEN, "DURATION": "PT1H", "EXDATE": f"{TEN}Z"}
    weekly = "FREQ=WEEKLY;BYDAY=MO;UNTIL=20311218T000000Z"
    good = calendar(CUSTOM_ZONE, event(RRULE=weekly, **times))
    at = data.draw(st.integers(16, len(good)))
    cut = data.draw(st.integers(0, 12))
    edited = good[:at] + data.draw(st.binary(max_size=6)) + good[at + cut :]
    with suppress(CalendarError):
        occasions_of(edited, NOW, MONTH, work=1)
