"""What the console shows of a pool's past, and of who was told."""

from datetime import timedelta

from kotatsu_operator.core.formats import stamp
from kotatsu_operator.features.console.board import Board
from kotatsu_operator.features.console.view import pool_view, report_view
from tests.operator.features.console.pools import NOW, Clock, day, history, pool, status, waiting


def shown(board: Board, name: str = "voice"):
    (entry,) = [e for e in board.read()[2] if e.pool["metadata"]["name"] == name]
    return pool_view(entry, NOW)


def test_the_report_has_the_periods_episodes_newest_first_and_the_ledgers_sum():
    report = shown(day(Clock()))["report"]
    assert [e["reason"] for e in report["episodes"]] == ["Window", "Override", "Request"]
    assert [e["to"] is None for e in report["episodes"]] == [True, False, False]
    assert report["costs"] == {"JPY": "2710.500000"}
    assert report["isLedger"]
    assert (report["wakes"], report["opened"], report["cold"]) == (1, 1, 0)


def test_a_pool_without_a_record_has_no_report():
    assert shown(day(Clock()), "auth")["report"] is None
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
    return [(n["reason"], n["waits"]) for n in shown(board)["notices"]]


def test_a_notification_waits_until_the_status_has_it_no_more():
    board = Board(Clock())
    notice = {"id": "a", "reason": "WindowCold", "message": "cold", "at": stamp(NOW)}
    later = notice | {"id": "b", "reason": "OverrideEnded", "at": stamp(NOW + timedelta(hours=1))}
    board.see(pool("voice", status=status("Warm", 1, internal={"notices": [notice]})))
    assert told(board) == [("WindowCold", True)]
    board.see(pool("voice", status=status("Warm", 1, internal={"notices": [notice, later]})))
    board.see(pool("voice", status=status("Warm", 1, internal={"notices": [later]})))
    assert told(board) == [("OverrideEnded", True), ("WindowCold", False)]


def test_notifications_of_nonsense_are_no_error():
    board = Board(Clock())
    board.see(
        pool("voice", status=status("Warm", 1, internal={"notices": [None, {"id": []}, {"at": 3}]}))
    )
    assert all(n["at"] is None for n in shown(board)["notices"])
