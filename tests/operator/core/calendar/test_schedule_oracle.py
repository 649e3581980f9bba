"""The schedule against a second opinion: walk every minute of UTC and look at the wall clock.

The product walks naive wall-clock time and places the answers in the zone; this walks UTC, asks the
zone for each minute's wall clock, and matches it with a cron reader of its own.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from kotatsu_operator.core.calendar.schedule import Window, occurrences
from kotatsu_operator.core.decide.decide import decide
from kotatsu_operator.core.pool.decision import Observation
from kotatsu_operator.core.pool.memory import Memory
from kotatsu_operator.core.pool.spec import PoolSpec, Target
from tests.operator.core.values import HOUR, MINUTE, examples, utc

SPAN = timedelta(days=2)
LONGEST = 26 * 60
NAMES = {name: n for n, name in enumerate(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"])}
BOUNDS = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]


def read_field(text: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for term in text.split(","):
        base, _, step = term.partition("/")
        first, _, last = base.partition("-")
        if base == "*":
            first, last = str(low), str(high)
        elif not last:
            last = str(high) if step else first
        numbers = [int(NAMES.get(x, x)) for x in (first, last)]
        found |= set(range(numbers[0], numbers[1] + 1, int(step or 1)))
    return found


@dataclass
class NaiveCron:
    """A cron expression as the set of minutes it matches, by Debian's rule for days."""

    text: str

    def __post_init__(self) -> None:
        fields = self.text.split()
        parts = [read_field(f, *bounds) for f, bounds in zip(fields, BOUNDS, strict=True)]
        self.minutes, self.hours, self.days, self.months, self.weekdays = parts
        self.both = fields[2].startswith("*") or fields[4].startswith("*")
        self.is_rhythm = fields[0].startswith("*") or fields[1].startswith("*")

    def matches(self, wall: datetime) -> bool:
        if wall.minute not in self.minutes or wall.hour not in self.hours:
            return False
        weekday = wall.isoweekday()
        day = wall.day in self.days
        named = weekday in self.weekdays or weekday % 7 in self.weekdays
        return wall.month in self.months and ((day and named) if self.both else (day or named))


@lru_cache
def walls(zone: str, first: datetime, last: datetime) -> list[tuple[datetime, datetime, bool]]:
    """Minutes of UTC with the wall-clock minutes that come then, and whether they come again.

    That is one new one usually, one seen before in a repeated hour, and many after a gap.
    """
    newest = (first - MINUTE).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    found = []
    for n in range(int((last - first) / MINUTE)):
        at = first + n * MINUTE
        wall = at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        if wall <= newest:
            found.append((at, wall, True))
        while newest < wall:
            newest += MINUTE
            found.append((at, newest, False))
    return found


def jumps_back(zone: str, first: datetime, last: datetime) -> list[datetime]:
    """Minutes of UTC at which the clock goes back."""
    again = {at for at, _, is_again in walls(zone, first, last) if is_again}
    return sorted(at for at in again if at - MINUTE not in again)


def naive_starts(
    cron: NaiveCron, zone: str, after: datetime, exclude: frozenset[date] = frozenset()
) -> set[datetime]:
    """Minutes of UTC at which a window opens that may still be open in the two days examined."""
    return {
        at
        for at, wall, again in walls(zone, after - LONGEST * MINUTE, after + SPAN)
        if cron.matches(wall) and wall.date() not in exclude and (cron.is_rhythm or not again)
    }


def field_text(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    # A range of one number with a step (5-5/2) is refused: cron readers disagree about it.
    pair = st.tuples(number, number).map(sorted).filter(lambda p: p[0] < p[1])
    return st.one_of(
        st.just("*"),
        number.map(str),
        pair.map(lambda p: f"{p[0]}-{p[1]}"),
        st.integers(1, max(1, high // 2)).map(lambda n: f"*/{n}"),
        st.tuples(pair, st.integers(1, 7)).map(lambda p: f"{p[0][0]}-{p[0][1]}/{p[1]}"),
        st.lists(number, min_size=2, max_size=3).map(lambda ns: ",".join(map(str, ns))),
    )


# Day and month mostly open, or next to nothing would match within three days.
CRON = st.tuples(
    field_text(0, 59),
    field_text(0, 23),
    st.one_of(st.just("*"), field_text(1, 28)),
    st.just("*"),
    st.one_of(st.just("*"), field_text(0, 7)),
).map(" ".join)

# Some hours before a change of clocks, a leap day or the turn of the year.
PLACES = st.sampled_from(
    [
        ("Europe/Berlin", "2026-03-28T12:00"),
        ("Europe/Berlin", "2026-10-24T12:00"),
        ("America/New_York", "2026-03-07T20:00"),
        ("America/New_York", "2026-10-31T20:00"),
        ("Australia/Lord_Howe", "2026-04-04T04:00"),
        ("Australia/Lord_Howe", "2026-10-03T04:00"),
        ("Pacific/Apia", "2011-12-29T22:00"),
        ("America/Santiago", "2026-09-05T18:00"),
        ("Asia/Kathmandu", "2028-02-28T06:00"),
        ("Asia/Tokyo", "2026-12-30T12:00"),
    ]
)


@examples(60)
@given(CRON, PLACES, st.integers(1, LONGEST), st.booleans())
def test_openings_are_those_a_minute_by_minute_walk_finds(schedule, place, minutes, holiday):
    after, duration = utc(place[1]), minutes * MINUTE
    exclude = frozenset({(after + timedelta(days=1)).date()} if holiday else ())
    window = Window("w", 1, schedule=schedule, duration=duration, exclude=exclude)

    found = {
        o.start: o.end
        for o in occurrences([window], ZoneInfo(place[0]), after, after + SPAN)
        if o.start + duration > after
    }

    naive = naive_starts(NaiveCron(schedule), place[0], after, exclude)
    expected = {at for at in naive if at + duration > after}
    assert set(found) <= expected
    # Of those that began more than a day before, only the one that closes last is promised.
    near = {at for at in expected if at > after - 23 * HOUR or at == max(expected)}
    assert near <= set(found)
    jumps = jumps_back(place[0], after - LONGEST * MINUTE, after + 2 * SPAN)
    for start, end in found.items():
        hours_back = any(start <= at < end for at in jumps)
        assert end == start + duration or (hours_back and end > start + duration)


# Windows that leave no minute of a wall clock out, each in its own way.
SEAMLESS = st.sampled_from(
    [
        ("* * * * *", 1),
        ("*/10 * * * *", 10),
        ("30 * * * *", 60),
        ("0 */2 * * *", 120),
        ("0 */6 * * *", 6 * 60),
        ("0 0-23 * * *", 60),
        ("0,20,40 0-23 * * *", 25),
        ("30 2 * * *", 24 * 60),
        ("0 0 * * *", 24 * 60),
        ("45 1 * * *", 25 * 60),
    ]
)


@examples(60)
@given(SEAMLESS, PLACES)
def test_a_schedule_that_never_closes_on_the_wall_clock_never_closes(seamless, place):
    schedule, minutes = seamless
    after = utc(place[1])
    window = Window("w", 1, schedule=schedule, duration=minutes * MINUTE)
    reached = after
    for o in occurrences([window], ZoneInfo(place[0]), after, after + SPAN):
        assert o.start <= reached, "a hole before this opening"
        reached = max(reached, o.end)
    assert reached >= after + SPAN


SPARSE = st.tuples(
    st.integers(0, 59).map(str), field_text(0, 23), st.just("*"), st.just("*"), field_text(0, 7)
).map(" ".join)


@examples(12)
@given(
    st.lists(st.tuples(SPARSE, st.integers(1, 6 * 60), st.integers(1, 5)), min_size=1, max_size=3),
    PLACES,
)
def test_the_floor_of_a_decision_is_the_highest_of_the_windows_a_naive_walk_finds_open(raw, place):
    zone, after = ZoneInfo(place[0]), utc(place[1])
    windows = tuple(
        Window(f"w{i}", replicas, schedule=schedule, duration=minutes * MINUTE)
        for i, (schedule, minutes, replicas) in enumerate(raw)
    )
    spec = PoolSpec(Target("apps/v1", "Deployment", "x"), "x", zone, windows, lead=timedelta())
    length = 24 * 60
    naive = [0] * length
    for window in windows:
        minutes = int(window.duration / MINUTE)
        for at in naive_starts(NaiveCron(window.schedule), place[0], after):
            begin = int((at - after) / MINUTE)
            for n in range(max(begin, 0), min(begin + minutes, length)):
                naive[n] = max(naive[n], window.replicas)
    seen = Observation(replicas=0, ready=0, pods=0)
    for n in range(0, length, 17):
        decision = decide(spec, seen, Memory(), after + n * MINUTE)
        assert decision.floor == naive[n], after + n * MINUTE
