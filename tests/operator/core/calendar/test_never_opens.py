"""What a change of clocks does to a schedule, told to people."""

from rows import each

from kotatsu_operator.core.calendar.schedule import dropped, occurrences
from tests.operator.core.values import HOUR, pool_spec, utc


def spec(zone: str, start: str, end: str):
    window = {"name": "w", "start": start, "end": end, "replicas": 1}
    return pool_spec(windows=[window], timeZone=zone)


@each(
    "zone, start, end, message",
    [
        (
            "Europe/Berlin",
            "2026-03-29T02:15",
            "2026-03-29T02:45",
            (
                "window w never opens: "
                "on 2026-03-29 clocks in Europe/Berlin go from 02:00 to 03:00, "
                "and 02:15–02:45 is skipped"
            ),
        ),
        (
            "Australia/Lord_Howe",
            "2026-10-04T02:00",
            "2026-10-04T02:30",
            (
                "window w never opens: "
                "on 2026-10-04 clocks in Australia/Lord_Howe go from 02:00 to 02:30, "
                "and 02:00–02:30 is skipped"
            ),
        ),
        (
            "Pacific/Apia",
            "2011-12-30T10:00",
            "2011-12-30T18:00",
            (
                "window w never opens: on 2011-12-30 clocks in Pacific/Apia go from 00:00 to "
                "00:00 on 2011-12-31, and 10:00–18:00 is skipped"
            ),
        ),
    ],
)
def test_a_window_that_lies_wholly_in_a_gap_is_named(
    zone: str, start: str, end: str, message: str
) -> None:
    asked = spec(zone, start, end)
    assert [d.message for d in dropped(asked.windows, asked.zone)] == [message]
    day = utc(start)
    assert occurrences(asked.windows, asked.zone, day - 48 * HOUR, day + 48 * HOUR) == []


@each(
    "start, end",
    [("01:59", "02:45"), ("02:15", "03:01"), ("02:15", "04:00"), ("03:00", "03:30")],
)
def test_a_window_that_lies_in_a_gap_in_part_opens(start: str, end: str) -> None:
    asked = spec("Europe/Berlin", f"2026-03-29T{start}", f"2026-03-29T{end}")
    assert dropped(asked.windows, asked.zone) == ()
    day = utc("2026-03-29T00:00")
    assert len(occurrences(asked.windows, asked.zone, day, day + 24 * HOUR)) == 1


def test_a_repeating_window_is_never_dropped_by_a_gap() -> None:
    window = {"name": "w", "schedule": "30 2 * * *", "duration": "10m", "replicas": 1}
    asked = pool_spec(windows=[window], timeZone="Europe/Berlin")
    assert dropped(asked.windows, asked.zone) == ()
