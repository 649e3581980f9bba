from dataclasses import replace
from datetime import timedelta

from kotatsu_operator.core.pool.decision import Demand
from kotatsu_operator.features.console.board import KEPT, SAMPLES, Board, Recent
from tests.operator.features.console.pools import NOW, Clock, pool, status

VOICE = ("demo", "voice")
DEMAND = Demand(in_flight=2, held=1)


def board_of(*pools):
    board = Board(Clock())
    for one in pools:
        board.see(one)
    return board


def test_a_reader_gets_only_what_has_changed_since():
    board = board_of(pool("auth"), pool("voice"))
    version, keys, changed = board.read()
    assert (keys, len(changed)) == ([("demo", "auth"), VOICE], 2)
    board.see(pool("voice", status=status("Warm", 1)))
    assert [e.pool["metadata"]["name"] for e in board.read(version)[2]] == ["voice"]


def test_a_pool_that_is_gone_changes_the_version_and_leaves_the_keys():
    board = board_of(pool("voice"))
    before = board.version
    board.observe(VOICE, None)
    assert board.version > before
    assert board.read()[1] == []


def test_a_new_pool_of_an_old_name_has_no_past():
    board = board_of(pool("voice", status=status("Warm", 3)))
    board.see(pool("voice", uid="another", status=status("Asleep")))
    [entry] = board.read()[2]
    assert [s.ready for s in entry.history.samples] == [0]


def test_requests_in_flight_are_news_but_their_times_are_not():
    board = board_of(pool("voice"))
    board.show(VOICE, DEMAND)
    before = board.version
    board.show(VOICE, replace(DEMAND, last_request=NOW + timedelta(seconds=1)))
    assert board.version == before
    board.show(VOICE, Demand())
    assert board.version > before


def test_what_a_reader_holds_does_not_change_under_it():
    board = board_of(pool("voice", status=status("Asleep")))
    [entry] = board.read()[2]
    board.see(pool("voice", status=status("Warm", 1)))
    assert [s.ready for s in entry.history.samples] == [0]


def test_where_another_operator_looks_the_pool_stays_and_its_demand_is_unknown():
    board = board_of(pool("voice"))
    board.show(VOICE, DEMAND)
    before = board.version
    board.reset()
    [entry] = board.read(before)[2]
    assert entry.demand is None


def test_only_changes_make_samples():
    history = Recent()
    for minute, ready in enumerate([0, 0, 2, 2, 0]):
        history.see(status("Warm", ready), NOW + timedelta(minutes=minute))
    found = [(s.ready, (s.at - NOW) / timedelta(minutes=1)) for s in history.samples]
    assert found == [(0, 0), (2, 2), (0, 4)]


def test_the_sample_in_force_as_the_kept_day_begins_stays():
    history = Recent()
    for hour, ready in ((0, 1), (1, 2), (26, 3)):
        history.see(status("Warm", ready), NOW + timedelta(hours=hour))
    assert [s.ready for s in history.samples] == [2, 3]
    assert history.samples[0].at < NOW + timedelta(hours=26) - KEPT


def test_a_pool_that_flutters_all_day_does_not_fill_the_memory():
    history = Recent()
    for n in range(2 * SAMPLES):
        history.see(status("Warm", n % 2), NOW + timedelta(seconds=n))
    assert len(history.samples) == SAMPLES


def test_a_wake_is_kept_once_and_an_opening_is_told_anew():
    history = Recent()
    wake = {"at": "2026-11-25T09:00:00Z", "duration": "1.8s"}
    for early in (None, "14s"):
        opening = {"window": "pitch", "at": "2026-11-25T10:00:00Z", "early": early}
        history.see(status("Warm", 1, lastWake=wake, lastOpening=opening), NOW)
    assert list(history.wakes) == [wake]
    assert [o["early"] for o in history.openings] == ["14s"]
