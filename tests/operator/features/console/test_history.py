from datetime import timedelta

from kotatsu_operator.features.console.board import KEPT, SAMPLES, History
from tests.operator.features.console.pools import NOW, status


def test_only_changes_make_samples():
    history = History()
    for minute, ready in enumerate([0, 0, 2, 2, 0]):
        history.see(status("Warm", ready), NOW + timedelta(minutes=minute))
    assert [(s.ready, s.at - NOW) for s in history.samples] == [
        (0, timedelta()),
        (2, timedelta(minutes=2)),
        (0, timedelta(minutes=4)),
    ]


def test_the_sample_in_force_as_the_kept_day_begins_stays():
    history = History()
    for hour, ready in ((0, 1), (1, 2), (26, 3)):
        history.see(status("Warm", ready), NOW + timedelta(hours=hour))
    assert [s.ready for s in history.samples] == [2, 3]
    assert history.samples[0].at < NOW + timedelta(hours=26) - KEPT


def test_a_pool_that_flutters_all_day_does_not_fill_the_memory():
    history = History()
    for n in range(2 * SAMPLES):
        history.see(status("Warm", n % 2), NOW + timedelta(seconds=n))
    assert len(history.samples) == SAMPLES


def test_a_wake_is_kept_once_and_an_opening_is_told_anew():
    history = History()
    wake = {"at": "2026-11-25T09:00:00Z", "duration": "1.8s"}
    for early in (None, "14s"):
        opening = {"window": "pitch", "at": "2026-11-25T10:00:00Z", "early": early}
        history.see(status("Warm", 1, lastWake=wake, lastOpening=opening), NOW)
    assert list(history.wakes) == [wake]
    assert [o["early"] for o in history.openings] == ["14s"]
