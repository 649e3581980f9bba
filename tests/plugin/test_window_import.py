"""`window import`: what a calendar changes in the windows of pools, and what it says before."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from plugin.kit import NOW, Cluster, Ran, demo_mode, manifest, once, pool
from rows import each

from kotatsu_operator.core.calendar.schedule import occurrences
from kotatsu_operator.core.pool.calendars import with_calendars
from kotatsu_operator.core.pool.memory import Memory
from kotatsu_operator.core.pool.spec import PoolSpec
from kotatsu_operator.features.calendars.child import read_here
from kotatsu_operator.features.calendars.windows import AHEAD, Reading, follow
from tests.operator.core.calendar.icalendar_files import calendar, event

TOKYO = "TZID=Asia/Tokyo"


def pitch(start: str = "20261218T100000", **more: str) -> str:
    return event("pitch@x", **{f"DTSTART__{TOKYO}": start, "DURATION": "PT2H"}, **more)


EVENING = event(
    "evening@x", "Rehearsal", DURATION="PT90M", **{f"DTSTART__{TOKYO}": "20261126T180000"}
)
STANDUP = event(
    "standup@x",
    "朝会 Standup",
    RRULE="FREQ=WEEKLY;COUNT=3",
    DURATION="PT30M",
    **{f"DTSTART__{TOKYO}": "20261201T090000"},
)
SOURCE = {"calendar": "demo", "uid": "pitch@x"}


class Desk:
    """A cluster, and a file that is imported."""

    def __init__(self, folder: Path, *pools: dict[str, Any]) -> None:
        self.file = folder / "demo.ics"
        self.cluster = Cluster(*(pools or (manifest(),)))

    def imported(self, *parts: str, words: tuple[str, ...] = (), code: int = 0) -> Ran:
        self.file.write_bytes(calendar(*parts))
        ran = demo_mode("window", "import", str(self.file), *words, cluster=self.cluster)
        assert ran.code == code, ran
        return ran

    def sources(self, name: str = "voice") -> dict[str, Any]:
        """The events that the windows come from."""
        return json.loads(self.cluster.annotations(name)["kotatsu.dev/imported"])

    def windows(self, name: str = "voice") -> list[dict[str, Any]]:
        return self.cluster.windows(name)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_an_event_becomes_a_window_and_its_price_is_said_before(desk: Desk):
    ran = desk.imported(pitch(), words=("--replicas", "5"))
    assert ran.out == (
        "voice: adds final-pitch, Fri 2026-12-18 10:00 to 12:00 Asia/Tokyo (in 23d 4h), 5 pods\n"
        "voice: all together 18.61 JPY more in 62 days\n"
        "warmpool.kotatsu.dev/voice window final-pitch added\n"
    )
    made = {"name": "final-pitch", "replicas": 5}
    times = {"start": "2026-12-18T10:00", "end": "2026-12-18T12:00"}
    assert desk.windows() == [made | times]
    assert desk.sources() == {"final-pitch": SOURCE}


def test_importing_again_writes_nothing(desk: Desk):
    desk.imported(pitch(), EVENING, STANDUP)
    ran = desk.imported(STANDUP, pitch(), EVENING)
    assert ran.out == "warmpool.kotatsu.dev/voice calendar demo unchanged\n"
    assert len(desk.cluster.writes) == 1


def test_a_moved_event_moves_its_window_and_a_deleted_one_removes_it(tmp_path: Path):
    other = once("by-hand", "2026-12-20T10:00", "2026-12-20T12:00")
    desk = Desk(tmp_path, manifest(windows=[other]))
    desk.imported(EVENING, pitch())
    ran = desk.imported(pitch("20261219T100000", SEQUENCE="1"))
    assert "voice: removes rehearsal, " in ran.out
    assert "voice: changes final-pitch, Sat 2026-12-19 10:00" in ran.out
    assert [w["name"] for w in desk.windows()] == ["by-hand", "final-pitch"]
    assert desk.windows()[1]["start"] == "2026-12-19T10:00"
    desk.imported(pitch(STATUS="CANCELLED"))
    assert desk.windows() == [other]


def test_a_renamed_event_keeps_its_window_by_its_uid(desk: Desk):
    desk.imported(pitch(), words=("--replicas", "5"))
    ran = desk.imported(pitch().replace("Final pitch", "Semi-final"))
    assert "window semi-final replaced" in ran.out
    (window,) = desk.windows()
    assert (window["name"], window["replicas"]) == ("semi-final", 5)


def test_an_event_that_repeats_is_a_window_a_day_within_the_time_ahead(desk: Desk):
    desk.imported(STANDUP)
    names = ["朝会-standup-20261201", "朝会-standup-20261208", "朝会-standup-20261215"]
    assert [w["name"] for w in desk.windows()] == names
    ran = desk.imported(STANDUP, words=("--days", "14"))
    assert [w["name"] for w in desk.windows()] == names[:2]
    assert "window 朝会-standup-20261215 removed" in ran.out


def test_the_next_days_of_an_event_have_the_pods_of_those_before(tmp_path: Path):
    taken = once("by-hand", "2026-12-20T10:00", "2026-12-20T12:00", replicas=9)
    desk = Desk(tmp_path, manifest(windows=[taken]))
    desk.imported(STANDUP, words=("--days", "14", "--replicas", "2"))
    desk.imported(STANDUP)
    assert [w["replicas"] for w in desk.windows()] == [9, 2, 2, 2]


def test_events_of_the_same_title_have_names_of_their_own(desk: Desk):
    other = pitch("20261220T100000").replace("pitch@x", "other@x")
    desk.imported(pitch(), other)
    names = {w["name"] for w in desk.windows()}
    assert len(names) == 2
    assert all(name.startswith("final-pitch-") for name in names)
    desk.imported(other, pitch())
    assert {w["name"] for w in desk.windows()} == names


def test_a_window_of_somebody_else_keeps_its_name(tmp_path: Path):
    taken = once("final-pitch", "2026-12-01T10:00", "2026-12-01T12:00")
    desk = Desk(tmp_path, manifest(windows=[taken]))
    desk.imported(pitch())
    assert desk.windows()[0] == taken
    assert desk.windows()[1]["name"].startswith("final-pitch-")


def test_a_filter_takes_some_events(desk: Desk):
    desk.imported(pitch(CATEGORIES="demo"), EVENING, STANDUP, words=("--match", "Demo"))
    assert [w["name"] for w in desk.windows()] == ["final-pitch"]
    desk.imported(pitch(), EVENING, STANDUP, words=("--match", "REHEARSAL"))
    assert [w["name"] for w in desk.windows()] == ["rehearsal"]
    ran = desk.imported(pitch(), words=("--match", "nothing"))
    assert "no event of the calendar becomes a window; check --match" in ran.out
    assert desk.windows() == []


def test_what_cannot_be_a_window_is_named_with_the_reason(desk: Desk):
    often = event(
        "o@x", "Heartbeat", RRULE="FREQ=SECONDLY", DTSTART="20261218T100000Z", DURATION="PT1S"
    )
    over = event("old@x", "Old", DTSTART="20200101T100000Z", DURATION="PT1H")
    ran = desk.imported(often, over, event("x@x", "Empty", DTSTART="20261218T100000Z"))
    assert "voice: 'Heartbeat': it repeats each hour or more often; use a window" in ran.out
    assert "voice: 'Empty': it has no length; give it an end\n" in ran.out
    assert "voice: 1 event is over, or later than 62 days from now (--days)\n" in ran.out


def test_more_windows_than_a_pool_can_have_are_refused(desk: Desk):
    many = [
        pitch(f"202612{1 + i // 5:02}T{10 + i % 5}0000").replace("pitch@x", f"{i}@x")
        for i in range(65)
    ]
    ran = desk.imported(*many, code=1)
    assert ran.err == (
        "error: voice would have 65 windows, and a pool can have 64; choose fewer events with "
        "--match, or a shorter time with --days\n"
    )


def test_one_calendar_serves_pools_in_different_zones(tmp_path: Path):
    berlin = manifest("auth")
    berlin["spec"]["timeZone"] = "Europe/Berlin"
    desk = Desk(tmp_path, manifest(), berlin)
    desk.imported(pitch(), words=("--all",))
    assert desk.windows("voice")[0]["start"] == "2026-12-18T10:00"
    assert desk.windows("auth")[0]["start"] == "2026-12-18T02:00"


def test_standard_input_needs_a_name_if_the_calendar_has_none(desk: Desk):
    words = ("window", "import", "-")
    ran = demo_mode(*words, stdin=calendar(pitch()).decode(), cluster=desk.cluster)
    assert (ran.code, desk.windows()) == (1, [])
    assert "standard input has no name; add one with --calendar" in ran.err
    named = calendar(pitch(), name="Team Demo").decode()
    assert demo_mode(*words, stdin=named, cluster=desk.cluster).code == 0
    assert desk.sources()["final-pitch"]["calendar"] == "team-demo"


def test_two_calendars_do_not_remove_windows_of_each_other(desk: Desk):
    desk.imported(pitch(), words=("--calendar", "a"))
    desk.imported(EVENING, words=("--calendar", "b"))
    assert [w["name"] for w in desk.windows()] == ["final-pitch", "rehearsal"]


def test_list_shows_where_a_window_comes_from(desk: Desk):
    desk.imported(pitch())
    assert "- (demo)" in demo_mode("window", "list", cluster=desk.cluster).out
    listed = json.loads(demo_mode("window", "list", "-o", "json", cluster=desk.cluster).out)
    assert listed[0]["from"] == SOURCE


@pytest.mark.parametrize("data", [b"\xff\xff", b"<html>", b"BEGIN:VCALENDAR\nBEGIN:VEVENT\n"])
def test_a_file_that_is_no_calendar_is_one_sentence(desk: Desk, data: bytes):
    desk.file.write_bytes(data)
    ran = demo_mode("window", "import", str(desk.file), cluster=desk.cluster)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"error: {desk.file} is ")
    assert ran.err.count("\n") == 1


def test_windows_of_a_calendar_may_be_parked_and_stay_so_at_the_next_import(tmp_path: Path):
    desk = Desk(tmp_path, manifest())
    ran = desk.imported(pitch(), words=("--replicas", "5", "--parked"))
    assert "5 pods, parked\n" in ran.out
    assert "voice: all together 2.69 JPY more in 62 days\n" in ran.out
    assert desk.windows()[0]["mode"] == "Parked"
    desk.imported(pitch("20261219T100000", SEQUENCE="1"))
    assert (desk.windows()[0]["start"], desk.windows()[0]["mode"]) == ("2026-12-19T10:00", "Parked")


def following(data: bytes, match: str) -> PoolSpec:
    """A pool with what the operator makes of a calendar."""
    use = {"name": "demo", "replicas": 1} | ({"match": match} if match else {})
    spec = pool(calendars=[use]).spec
    found, _ = read_here(data, NOW - timedelta(days=1), NOW + AHEAD)
    return with_calendars(spec, follow(spec, Memory(), {"demo": Reading(NOW, found)}, NOW))


RENAMED = event(
    "evening@x",
    "Final",
    DURATION="PT2H",
    **{
        "RECURRENCE_ID__RANGE=THISANDFUTURE;TZID=Asia/Tokyo": "20261207T180000",
        f"DTSTART__{TOKYO}": "20261207T190000",
    },
)
WEEKLY = event(
    "evening@x",
    "Rehearsal",
    RRULE="FREQ=WEEKLY",
    DURATION="PT90M",
    **{f"DTSTART__{TOKYO}": "20260105T180000"},
)
NIGHT = event("night@x", "Night", DTSTART="20261212T223000", DURATION="P1D")
HOLIDAY = event("day@x", "Day", RRULE="FREQ=MONTHLY", **{"DTSTART__VALUE=DATE": "20260115"})


@each("parts, match, number", {
    "once": ((pitch(),), "", 1),
    "each week": ((WEEKLY,), "", 9),
    "renamed from one occurrence on": ((WEEKLY, RENAMED), "final", 8),
    "and by the name before": ((WEEKLY, RENAMED), "rehearsal", 1),
    "some, with one left out": ((STANDUP.replace("END:VEVENT",
        "EXDATE;TZID=Asia/Tokyo:20261208T090000\r\nEND:VEVENT"),), "", 2),
    "without a zone, and all-day": ((NIGHT, HOLIDAY), "", 3),
    "cancelled, damaged, too often": ((pitch(STATUS="CANCELLED"), event("bad@x", "Bad"),
        pitch(RRULE="FREQ=HOURLY").replace("pitch@x", "often@x")), "", 0),
})  # fmt: skip
def test_a_calendar_opens_the_windows_that_it_opens_where_the_operator_follows_it(
    desk: Desk, parts: tuple[str, ...], match: str, number: int
):
    desk.imported(*parts, words=("--match", match))
    imported = pool(windows=desk.windows()).spec
    followed = following(calendar(*parts), match)
    opened = [
        [(o.start, o.end) for o in occurrences(spec.windows, spec.zone, NOW, NOW + AHEAD)]
        for spec in (imported, followed)
    ]
    assert opened[0] == opened[1]
    assert len(opened[0]) == number
