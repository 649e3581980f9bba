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

from kotatsu_operator.core.calendar.occasions import Occasion
from kotatsu_operator.core.calendar.repeats import occasions_of
from kotatsu_operator.core.calendar.wallclock import on_clock
from tests.operator.core.calendar.icalendar_files import calendar, event
from tests.operator.core.values import examples, utc

TOKYO, BERLIN = ZoneInfo("Asia/Tokyo"), ZoneInfo("Europe/Berlin")
DECEMBER = datetime(2030, 12, 1, tzinfo=UTC)
TOKYO_START = "DTSTART__TZID=Asia/Tokyo"
DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")


def wall(at: datetime) -> str:
    return at.strftime("%Y%m%dT%H%M%S")


def found(*parts: str, after: datetime, days: int) -> list[Occasion]:
    made = occasions_of(calendar(*parts), after, after + timedelta(days=days))
    assert made.skipped == ()
    return list(made.occasions)


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
def test_occurrences_are_those_of_the_rule(rule, end, number, zone, start, after, removed):
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
    walls = {"DTSTART": wall(start), "DTEND": wall(start + length)}
    if gone:
        walls["EXDATE"] = ",".join(wall(on_clock(begin, zone)) for begin, _ in gone)
    times = {f"{name}__TZID={zone.key}": value for name, value in walls.items()}
    made = found(event(RRULE=rule, **times), after=after, days=62)
    # Starts in the hour that clocks skip exist on no clock; EXDATE cannot name them.
    kept = [pair for pair in inside if pair not in gone or not _exists(pair[0], zone, start)]
    assert [(o.start, o.end) for o in made] == kept


def _exists(at: datetime, zone: ZoneInfo, start: datetime) -> bool:
    return on_clock(at, zone).time() == start.time()


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
DATES = {"RDATE__TZID=Asia/Tokyo": "20301205T100000,20301207T120000",
         "EXDATE__VALUE=DATE": "20301205"}  # fmt: skip


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
        ("dates are added and removed", (event(**TOKYO_TIMES, **DATES),),
         ["Final pitch 2 10", "Final pitch 7 12"]),
    ],
)  # fmt: skip
def test_occurrences_are_changed_by_themselves(why, parts, starts):
    made = found(*parts, after=DECEMBER, days=31)
    walls = [(o.title, on_clock(o.start, TOKYO)) for o in made if isinstance(o.start, datetime)]
    assert [f"{title} {at.day} {at.hour}" for title, at in walls] == starts, why


@examples(60)
@given(
    st.integers(0, 8),
    st.timedeltas(timedelta(days=-40), timedelta(days=40)),
    st.integers(1, 500),
    st.sampled_from(["FREQ=DAILY;INTERVAL=3", "FREQ=WEEKLY;BYDAY=MO,TH", "FREQ=MONTHLY"]),
)
def test_a_change_of_all_later_ones_is_a_series_in_two_parts(which, moved, hours, rule):
    """As far as a calendar can say it in two parts: the second follows the dates of the first."""
    moved -= timedelta(microseconds=moved.microseconds)
    first = datetime(2030, 10, 7, 10)
    series = list(islice(rrulestr(rule, dtstart=first), 60))
    of = series[which]
    whole = event(DTSTART=wall(first), DURATION="PT1H", RRULE=rule)
    long = {"DURATION": f"PT{hours}H"}
    onwards = {"RECURRENCE_ID__RANGE=THISANDFUTURE": wall(of)}
    change = event(DTSTART=wall(of + moved), **long, **onwards)
    parts = [event(f"{at}", DTSTART=wall(at), DURATION="PT1H") for at in series if at < of]
    parts += [event(f"{at}", DTSTART=wall(at + moved), **long) for at in series if at >= of]

    def times(*given: str) -> list[tuple[object, object]]:
        return [(o.start, o.end) for o in found(*given, after=DECEMBER, days=31)]

    assert sorted(times(whole, change)) == sorted(times(*parts))


def test_an_all_day_series_stays_on_its_days():
    times = {"DTSTART__VALUE=DATE": "20301230", "EXDATE__VALUE=DATE": "20301231"}
    made = found(event(RRULE="FREQ=DAILY;UNTIL=20310102", **times), after=DECEMBER, days=62)
    assert [o.start for o in made] == [date(2030, 12, 30), date(2031, 1, 1), date(2031, 1, 2)]


def test_an_event_at_night_keeps_its_times_when_clocks_change():
    walls = {"DTSTART": "20301024T220000", "DTEND": "20301025T060000"}
    times = {f"{name}__TZID=Europe/Berlin": value for name, value in walls.items()}
    made = found(event(RRULE="FREQ=DAILY;COUNT=5", **times), after=utc("2030-10-24T00:00"), days=10)
    assert {(on_clock(o.start, BERLIN).hour, on_clock(o.end, BERLIN).hour) for o in made} == {
        (22, 6)
    }
