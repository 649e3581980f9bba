import json
from datetime import timedelta

import pytest
from fuzz.edits import edited
from fuzz.pools import specs, statuses
from hypothesis import HealthCheck, given, settings
from rows import each

from kotatsu_operator.core.formats import stamp
from kotatsu_operator.core.plan.kept import Kept
from kotatsu_operator.core.pool.parse import parse
from kotatsu_operator.features.console import view
from kotatsu_operator.features.console.board import Board
from kotatsu_operator.features.console.view import MOST, _view, _windows, pool_view, report_view
from tests.operator.features.console.pools import NOW, Clock, day, history, pool, status, waiting


def views():
    return {e.pool["metadata"]["name"]: pool_view(e, NOW) for e in day(Clock()).read()[2]}


def voice_of(board):
    [entry] = [e for e in board.read()[2] if e.pool["metadata"]["name"] == "voice"]
    return entry


def test_a_warm_pool_shows_its_floor_its_demand_and_its_money():
    voice = views()["voice"]
    assert (voice["phase"], voice["floor"], voice["window"]) == ("Warm", 5, "final-pitch")
    assert voice["demand"] == {"inFlight": 3, "held": 1, "known": True}
    assert voice["cost"]["limit"] == "3000"
    assert [s[1] for s in voice["samples"]] == [0, 1, 0, 3, 5]


def test_the_windows_around_now_are_laid_out():
    names = [w["name"] for w in views()["voice"]["windows"]]
    assert names.count("final-pitch") == 1
    assert names.count("rehearsal") == 3  # yesterday's, today's and tomorrow's


def schedule(name, exclude=()):
    cron = {"name": name, "schedule": "* * * * *", "duration": "30s", "replicas": 1}
    windows = [cron | {"excludeDates": list(exclude)}]
    parsed = parse(pool("voice", windows=windows)["spec"])
    return parsed.windows, parsed.zone


def test_openings_are_laid_out_once_an_hour():
    first = _windows(*schedule("a"), NOW)
    assert _windows(*schedule("a"), NOW) is first
    assert _windows(*schedule("a"), NOW + timedelta(hours=1)) is not first


def test_the_openings_that_are_kept_are_limited_in_their_number_and_not_in_schedules(monkeypatch):
    kept = Kept(1000, view._size)
    monkeypatch.setattr(view, "_openings", kept)
    for n in range(20):
        assert len(_windows(*schedule(f"w{n}"), NOW)) == MOST
        assert kept.size <= 1000
    dates = [f"2030-{n // 28 + 1:02}-{n % 28 + 1:02}" for n in range(300)]
    before = kept.size
    _windows(*schedule("w20", dates), NOW)
    assert kept.size == before - 2 * (MOST + 1) + MOST + 301  # the dates count too


def test_an_override_in_force_is_shown_with_who_and_why():
    assert views()["feed"]["override"]["by"] == "alice"


def test_a_refused_pool_shows_the_sentence_of_its_refusal():
    assert views()["lost"]["refused"] == "there is no Deployment <b>lost</b>"


def test_a_pool_whose_spec_cannot_be_read_is_still_shown():
    entry = voice_of(day(Clock()))
    entry.pool["spec"]["timeZone"] = "Asia/Nowhere"
    assert pool_view(entry, NOW)["windows"] == []


def view_of(status, **spec):
    board = Board(Clock())
    board.see(pool("voice", status=status, **spec))
    return _view(voice_of(board), NOW)


@each("zone", ["Asia/Nowhere", "localtime", "posix/Asia/Tokyo", "Factory"])
def test_a_zone_that_browsers_lack_is_named_and_replaced_by_utc(zone):
    shown = view_of({}, timeZone=zone)
    assert shown["timeZone"] == "UTC"
    assert repr(zone) in shown["refused"]


def test_a_pool_that_is_refused_for_something_else_keeps_its_zone():
    shown = view_of({}, timeZone="Asia/Tokyo", holdTimeout="soon")
    assert shown["timeZone"] == "Asia/Tokyo"
    assert "'soon' is not a duration" in shown["refused"]


def test_the_parts_of_a_status_that_cannot_be_read_are_left_out():
    shown = view_of(
        {
            "phase": "constructor",
            "phaseSince": "soon",
            "readyReplicas": 10**400,
            "desiredReplicas": -1,
            "nextTransition": {"at": "0000-99-99", "kind": "toString"},
            "lastOpening": {"at": "2026-11-25T10:00:00Z", "early": 3, "window": {}},
            "lastWake": {"at": "2026-11-25T10:00:00Z"},
            "cost": {"currency": "JPY", "accrued": "NaN", "limit": "1e999999"},
            "conditions": [{"type": "Ready", "status": ["True"]}, "nonsense"],
        }
    )
    assert (shown["phase"], shown["since"], shown["next"]) == ("", None, None)
    assert (shown["ready"], shown["desired"], shown["wakes"]) == (0, 0, [])
    assert (shown["openings"][0]["window"], shown["openings"][0]["early"]) == ("", None)
    assert shown["cost"] == {"currency": "JPY", "accrued": "0"}
    assert [c["status"] for c in shown["conditions"]] == [""]


def test_the_newest_warm_up_comes_first_with_its_parts():
    parts = {"node": 91.0, "sandbox": 1.0, "pull": 12.0, "start": 5.0}
    ups = [[3, 1, 0], [109, 5, 0, *parts.values()]]
    newest, oldest = view_of({"phase": "Warm", "internal": {"warmUps": ups}})["warmUps"]
    assert newest == {"seconds": 109.0, "replicas": 5, "parts": parts}
    assert oldest["parts"] is None


@pytest.mark.slow
@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(edited(specs()), edited(statuses()))
def test_no_edit_of_spec_or_status_keeps_a_pool_from_being_shown(spec, status):
    board = Board(Clock())
    board.see(pool("voice", status=status) | {"spec": spec})
    shown = _view(voice_of(board), NOW)
    assert json.loads(json.dumps(shown, allow_nan=False))["name"] == "voice"


def test_nothing_of_the_object_but_what_is_named_gets_out():
    entry = voice_of(day(Clock()))
    entry.pool["metadata"]["annotations"] = {"note": "canary"}
    entry.pool["spec"]["inFlightMetric"] = {"path": "/canary"}
    assert "canary" not in json.dumps(pool_view(entry, NOW))


@each("phase, until", [("Parked", "2026-11-25T10:20:00Z"), ("Warm", None)])
def test_only_a_parked_pool_says_until_when(phase, until):
    since = {"parkedSince": "2026-11-25T10:00:00Z"}
    found = view_of(status(phase, 1, reduced=True, internal=since), parkedFor="20m")
    assert (found["phase"], found["parkedUntil"]) == (phase, until)


def test_windows_say_whether_their_pods_are_parked():
    window = {"name": "w", "start": "2026-11-25T10:00", "end": "2026-11-25T12:00", "replicas": 2}
    spec = {"timeZone": "UTC", "parkedFor": "1h", "windows": [window | {"mode": "Parked"}]}
    assert [w["parked"] for w in view_of(status("Parked", 1), **spec)["windows"]] == [True]


def test_the_report_has_the_periods_episodes_newest_first_and_the_ledgers_sum():
    report = views()["voice"]["report"]
    assert [e["reason"] for e in report["episodes"]] == ["Window", "Override", "Request"]
    assert [e["to"] is None for e in report["episodes"]] == [True, False, False]
    assert report["costs"] == {"JPY": "2710.500000"}
    assert report["isLedger"]
    assert (report["wakes"], report["opened"], report["cold"]) == (1, 1, 0)


def test_a_record_that_is_younger_than_the_period_does_not_have_the_ledgers_sum():
    young = {"record": history(NOW) | {"since": stamp(NOW)}}
    assert not report_view(voice_of(day(Clock())).pool["status"], young, NOW)["isLedger"]


def test_a_pool_without_a_record_has_no_report():
    assert views()["auth"]["report"] is None
    assert report_view({"internal": {"history": [3]}, "cost": "x"}, {"record": [3]}, NOW) is None


def test_a_pool_without_prices_reports_all_that_is_kept():
    free = history(NOW)
    free["episodes"].append({**waiting(NOW)["running"], "to": stamp(NOW)})
    for e in free["episodes"]:
        for name in ("cost", "currency", "periodStart"):
            del e[name]
    report = report_view({}, {"record": free}, NOW)
    assert (report["costs"], len(report["episodes"])) == ({}, 3)


def told(board: Board) -> list[tuple[str, bool]]:
    return [(n["reason"], n["waits"]) for n in pool_view(voice_of(board), NOW)["notices"]]


def test_a_notification_waits_until_the_status_has_it_no_more():
    board = Board(Clock())
    notice = {"id": "a", "reason": "WindowCold", "message": "cold", "at": stamp(NOW)}
    later = notice | {"id": "b", "reason": "OverrideEnded", "at": stamp(NOW + timedelta(hours=1))}
    board.see(pool("voice", status=status("Warm", 1, internal={"notices": [notice]})))
    assert told(board) == [("WindowCold", True)]
    board.see(pool("voice", status=status("Warm", 1, internal={"notices": [notice, later]})))
    board.see(pool("voice", status=status("Warm", 1, internal={"notices": [later]})))
    assert told(board) == [("OverrideEnded", True), ("WindowCold", False)]
