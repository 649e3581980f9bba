"""Recurring events, with dateutil's own sets of rules as the oracle.

The oracle follows each rule from its first day on instants of the zone, with UNTIL, COUNT and
exceptions as the file has them. What is tested begins near the range, counts by itself and works on
wall clocks.
"""

from datetime import UTC, date, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr
from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_demo_mode.calendars import as_cron
from kotatsu_operator.core.calendar.occasions import Occasion
from kotatsu_operator.core.calendar.schedule import Window, occurrences
from kotatsu_operator.core.calendar.wallclock import on_clock
from kotatsu_operator.features.calendars.ics import read
from kotatsu_operator.features.calendars.repeats import expand
from tests.operator.core.values import examples
from tests.operator.features.calendars.icalendar_files import calendar, event

TOKYO, BERLIN = ZoneInfo("Asia/Tokyo"), ZoneInfo("Europe/Berlin")
DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")


def wall(at: datetime) -> str:
    return at.strftime("%Y%m%dT%H%M%S")


def found(*parts: str, after: datetime, days: int) -> list[Occasion]:
    end = after + timedelta(days=days)
    expanded = expand(read(calendar(*parts)), "", after, end)
    assert expanded.skipped == ()
    return list(expanded.occasions)


@st.composite
def rules(draw: st.DrawFn) -> str:
    """Rules as people and calendars write them."""
    frequency = draw(st.sampled_from(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]))
    parts = [f"FREQ={frequency}"]
    if draw(st.booleans()):
        parts.append(f"INTERVAL={draw(st.integers(1, 4))}")
    if draw(st.booleans()):
        days = draw(st.lists(st.sampled_from(DAYS), min_size=1, max_size=4, unique=True))
        nth = draw(st.sampled_from(["", "1", "2", "-1"])) if frequency == "MONTHLY" else ""
        parts.append("BYDAY=" + ",".join(nth + day for day in days))
    elif frequency in ("MONTHLY", "YEARLY") and draw(st.booleans()):
        parts.append(f"BYMONTHDAY={draw(st.sampled_from([1, 15, 29, 31, -1]))}")
    if frequency != "YEARLY" and draw(st.booleans()):
        parts.append(f"BYMONTH={draw(st.sampled_from(['3', '10', '3,4,10', '1,2,12']))}")
    if draw(st.booleans()):
        parts.append(f"WKST={draw(st.sampled_from(DAYS))}")
    return ";".join(parts)


@examples(100)
@given(
    rule=rules(),
    end=st.sampled_from(["", "COUNT", "UNTIL"]),
    number=st.integers(1, 400),
    zone=st.sampled_from([TOKYO, BERLIN, ZoneInfo("UTC")]),
    start=st.datetimes(datetime(2015, 1, 1), datetime(2031, 6, 1)).map(
        lambda at: at.replace(hour=at.hour or 9, second=0, microsecond=0)
    ),
    after=st.datetimes(datetime(2029, 1, 1), datetime(2031, 1, 1)).map(
        lambda at: at.replace(microsecond=0, tzinfo=UTC)
    ),
    removed=st.sets(st.integers(0, 20), max_size=4),
)
def test_occurrences_are_those_of_the_rule(
    rule: str,
    end: str,
    number: int,
    zone: ZoneInfo,
    start: datetime,
    after: datetime,
    removed: set[int],
):
    if end == "COUNT":
        rule += f";COUNT={number}"
    elif end == "UNTIL":
        last = (start + timedelta(days=7 * number)).replace(tzinfo=zone).astimezone(UTC)
        rule += f";UNTIL={wall(last)}Z"
    before = after + timedelta(days=62)
    series = rrulestr(f"RRULE:{rule}", dtstart=start.replace(tzinfo=zone), forceset=True)
    series.rdate(start.replace(tzinfo=zone))  # the first start always counts
    length = timedelta(hours=2)
    expected = [
        (at.astimezone(UTC), (at + length).astimezone(UTC))
        for at in series.between(after - timedelta(days=2), before, inc=True)
    ]
    inside = [pair for pair in expected if pair[1] > after and pair[0] < before]
    gone = [pair for i, pair in enumerate(inside) if i in removed]
    exceptions = {}
    if gone:
        walls = ",".join(wall(on_clock(begin, zone)) for begin, _ in gone)
        exceptions[f"EXDATE__TZID={zone.key}"] = walls
    times = {
        f"DTSTART__TZID={zone.key}": wall(start),
        f"DTEND__TZID={zone.key}": wall(start + length),
    }
    made = found(event(RRULE=rule, **times, **exceptions), after=after, days=62)
    # Starts in the hour that clocks skip exist on no clock; EXDATE cannot name them.
    kept = [pair for pair in inside if pair not in gone or not _exists(pair[0], zone, start)]
    assert [(o.start, o.end) for o in made] == kept


def _exists(at: datetime, zone: ZoneInfo, start: datetime) -> bool:
    return on_clock(at, zone).time() == start.time()


@examples(60)
@given(
    rule=rules(),
    zone=st.sampled_from([TOKYO, BERLIN]),
    hour=st.integers(0, 23),
    hours=st.integers(1, 30),
    now=st.datetimes(datetime(2029, 1, 1), datetime(2031, 1, 1)),
)
def test_a_schedule_that_stands_for_an_event_opens_when_it_happens(
    rule: str, zone: ZoneInfo, hour: int, hours: int, now: datetime
):
    start = datetime(2028, 1, 3, hour)
    (one,) = read(
        calendar(
            event(
                RRULE=rule,
                DURATION=f"PT{hours}H",
                **{f"DTSTART__TZID={zone.key}": wall(start)},
            )
        )
    ).events
    at = now.replace(microsecond=0, tzinfo=UTC)
    cron = as_cron(one, zone, at)
    if cron is None:
        return
    end = at + timedelta(days=370)
    window = Window("", 1, schedule=cron.schedule, duration=cron.duration, exclude=cron.exclude)
    series = rrulestr(f"RRULE:{rule}", dtstart=start.replace(tzinfo=zone))
    expected = {
        (s.astimezone(UTC), (s + timedelta(hours=hours)).astimezone(UTC))
        for s in series.between(at - timedelta(days=3), end)
    }
    opened = {(o.start, o.end) for o in occurrences((window,), zone, at, end)}
    assert opened == {(s, e) for s, e in expected if e > at and s < end}


def test_weekday_evenings_are_a_schedule_without_the_days_that_are_left_out():
    (one,) = read(
        calendar(
            event(
                RRULE="FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR",
                DURATION="PT90M",
                **{
                    "DTSTART__TZID=Asia/Tokyo": "20200106T180000",
                    "EXDATE__TZID=Asia/Tokyo": "20301225T180000",
                },
            )
        )
    ).events
    cron = as_cron(one, TOKYO, datetime(2030, 12, 1, tzinfo=UTC))
    assert cron is not None
    assert (cron.schedule, cron.duration) == ("0 18 * * 1,2,3,4,5", timedelta(minutes=90))
    assert cron.exclude == {date(2030, 12, 25)}
    assert as_cron(one, BERLIN, datetime(2030, 12, 1, tzinfo=UTC)) is None


TOKYO_START = "DTSTART__TZID=Asia/Tokyo"
TOKYO_TIMES = {TOKYO_START: "20301202T100000", "DURATION": "PT1H"}
SERIES = event(RRULE="FREQ=WEEKLY;COUNT=3", **TOKYO_TIMES)
WEEKLY = event(RRULE="FREQ=WEEKLY", **TOKYO_TIMES)


def changed(of: str, start: str, *, onwards: bool = False, **more: str) -> str:
    """A change of the occurrence that the rule has at `of`."""
    name = "RECURRENCE_ID__TZID=Asia/Tokyo" + (";RANGE=THISANDFUTURE" if onwards else "")
    title = more.pop("title", "Final pitch")
    return event(title=title, **{name: of, TOKYO_START: start}, **more)


LATER = changed("20301209T100000", "20301210T150000", title="Later", DURATION="PT2H")
MOVED = changed("20301216T100000", "20301217T150000", onwards=True, title="Moved", DURATION="PT2H")
ONCE = changed("20301223T100000", "20301224T090000", title="Once", DURATION="PT1H")
NO_MORE = changed("20301216T100000", "20301216T100000", onwards=True, STATUS="CANCELLED")
CANCELLED = event(STATUS="CANCELLED", RECURRENCE_ID="20301209T010000Z", DTSTART="20301209T010000Z")
ALONE = event(RECURRENCE_ID="20301209T010000Z", DTSTART="20301209T050000Z", DURATION="PT1H")
DATES = event(
    **TOKYO_TIMES,
    **{
        "RDATE__TZID=Asia/Tokyo": "20301205T100000,20301207T120000",
        "EXDATE__VALUE=DATE": "20301205",
    },
)


@each(
    "why, parts, starts",
    [
        ("one is moved", (SERIES, LATER), ["Final pitch 2 10", "Later 10 15", "Final pitch 16 10"]),
        ("in any order", (LATER, SERIES), ["Final pitch 2 10", "Later 10 15", "Final pitch 16 10"]),
        ("one is cancelled", (SERIES, CANCELLED), ["Final pitch 2 10", "Final pitch 16 10"]),
        ("one and all later ones are moved", (WEEKLY, MOVED, ONCE),
         ["Final pitch 2 10", "Final pitch 9 10", "Moved 17 15", "Once 24 9", "Moved 31 15"]),
        ("and cancelled", (WEEKLY, NO_MORE), ["Final pitch 2 10", "Final pitch 9 10"]),
        ("one of an unknown series is an event", (ALONE,), ["Final pitch 9 14"]),
        ("dates are added and removed", (DATES,), ["Final pitch 2 10", "Final pitch 7 12"]),
    ],
)  # fmt: skip
def test_occurrences_are_changed_by_themselves(
    why: str, parts: tuple[str, ...], starts: list[str]
) -> None:
    made = found(*parts, after=datetime(2030, 12, 1, tzinfo=UTC), days=31)
    walls = [(o.title, on_clock(o.start, TOKYO)) for o in made if isinstance(o.start, datetime)]
    assert [f"{title} {at.day} {at.hour}" for title, at in walls] == starts, why


@each(
    "parts",
    [
        (event(**TOKYO_TIMES, RRULE="FREQ=DAILY;COUNT=900"),),
        (event(**TOKYO_TIMES, RRULE="FREQ=DAILY;UNTIL=20331201T000000Z"),),
        (event(RRULE="FREQ=DAILY", **TOKYO_TIMES | {TOKYO_START: "20310301T180000"}),),
        (WEEKLY, changed("20401213T100000", "20401213T150000", onwards=True, DURATION="PT1H")),
    ],
)
def test_a_series_that_ends_begins_later_or_changes_is_no_schedule(parts: tuple[str, ...]) -> None:
    (weekly,) = read(calendar(WEEKLY)).events
    (one,) = read(calendar(*parts)).events
    now = datetime(2030, 12, 5, tzinfo=UTC)
    assert as_cron(weekly, TOKYO, now) is not None
    assert as_cron(one, TOKYO, now) is None


@examples(60)
@given(
    st.integers(0, 8),
    st.timedeltas(timedelta(days=-40), timedelta(days=40)),
    st.integers(1, 500),
    st.sampled_from(["FREQ=DAILY;INTERVAL=3", "FREQ=WEEKLY;BYDAY=MO,TH", "FREQ=MONTHLY"]),
)
def test_a_change_of_all_later_ones_is_a_series_in_two_parts(
    which: int, moved: timedelta, hours: int, rule: str
):
    """As far as a calendar can say it in two parts: the second follows the dates of the first."""
    moved -= timedelta(microseconds=moved.microseconds)
    first = datetime(2030, 10, 7, 10)
    series = list(islice(rrulestr(rule, dtstart=first), 60))
    of = series[which]
    whole = event(DTSTART=wall(first), DURATION="PT1H", RRULE=rule)
    change = event(
        DTSTART=wall(of + moved),
        DURATION=f"PT{hours}H",
        **{"RECURRENCE_ID__RANGE=THISANDFUTURE": wall(of)},
    )
    parts = [event("b", DTSTART=wall(at), DURATION="PT1H") for at in series if at < of]
    parts += [
        event(f"{at}", DTSTART=wall(at + moved), DURATION=f"PT{hours}H")
        for at in series
        if at >= of
    ]
    parts = [part.replace("UID:b", f"UID:b{i}") for i, part in enumerate(parts)]
    after = datetime(2030, 12, 1, tzinfo=UTC)

    def times(*given: str) -> list[tuple[object, object]]:
        return [(o.start, o.end) for o in found(*given, after=after, days=31)]

    assert sorted(times(whole, change)) == sorted(times(*parts))


def test_an_all_day_series_stays_on_its_days():
    times = {
        "DTSTART__VALUE=DATE": "20301230",
        "RRULE": "FREQ=DAILY;UNTIL=20310102",
        "EXDATE__VALUE=DATE": "20301231",
    }
    made = found(event(**times), after=datetime(2030, 12, 1, tzinfo=UTC), days=62)
    assert [o.start for o in made] == [date(2030, 12, 30), date(2031, 1, 1), date(2031, 1, 2)]


def test_an_event_at_night_keeps_its_times_when_clocks_change():
    times = {
        "DTSTART__TZID=Europe/Berlin": "20301024T220000",
        "DTEND__TZID=Europe/Berlin": "20301025T060000",
        "RRULE": "FREQ=DAILY;COUNT=5",
    }
    made = found(event(**times), after=datetime(2030, 10, 24, tzinfo=UTC), days=10)
    walls = {
        (on_clock(o.start, BERLIN).hour, on_clock(o.end, BERLIN).hour)
        for o in made
        if isinstance(o.start, datetime) and isinstance(o.end, datetime)
    }
    assert walls == {(22, 6)}
