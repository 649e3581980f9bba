"""How long the rest of a cluster may lag behind an outage of the API server."""

import random
from collections.abc import Callable

import pytest

from kotatsu_operator.controller.leader.outage import FORGOTTEN, LONGEST, PATIENCE, OutageWatch


def after(*outages: tuple[float, float]) -> OutageWatch:
    """The contact after outages from one second to another; two calls fail in each second."""
    outage_watch = OutageWatch()
    end = int(outages[-1][1])
    for now in range(end + 1):
        away = any(began < now < ended for began, ended in outages)
        outage_watch = outage_watch.silent(now).silent(now) if away else outage_watch.answered(now)
    return outage_watch


def reflector(
    rng: random.Random, began: float, ended: float, *, base: float = 0.8
) -> tuple[float, float]:
    """When client-go asks again and is answered, and its pause after that.

    Two pauses may come after the last refusal.
    """
    at = began
    while True:
        pause = min(base, 30.0) * (1 + rng.random())
        base *= 2
        if at + pause >= ended:
            return at + pause + min(base, 30.0) * (1 + rng.random()), base * 2
        at += pause


def test_who_has_always_been_answered_has_nothing_to_wait_for() -> None:
    assert OutageWatch().catching_up(5.0) == 0
    assert OutageWatch().answered(3.0).catching_up(5.0) == 0


def test_as_long_as_it_is_away_nobody_has_caught_up() -> None:
    assert OutageWatch().answered(1.0).silent(2.0).catching_up(500.0) == LONGEST


def test_after_an_outage_of_a_minute_it_is_two_minutes_from_its_end() -> None:
    outage_watch = after((10, 70))
    assert outage_watch.catching_up(70) == LONGEST
    assert outage_watch.catching_up(100) == LONGEST - 30
    assert outage_watch.catching_up(70 + LONGEST) == 0


def test_after_a_short_outage_it_is_less() -> None:
    assert after((10, 13)).catching_up(13) == pytest.approx(6 * 3 + 5)


def test_an_outage_begins_with_the_last_answer_and_not_with_the_first_silence() -> None:
    outage_watch = OutageWatch().answered(10.0).silent(13.0).silent(13.1).answered(13.5)
    assert outage_watch.catching_up(13.5) == pytest.approx(6 * 3.5 + 5)


def test_one_that_was_never_answered_counts_from_its_first_silence() -> None:
    assert OutageWatch().silent(10.0).silent(10.0).answered(12.0).catching_up(12.0) == 17


def test_one_slow_answer_is_no_outage() -> None:
    outage_watch = OutageWatch().answered(10.0).silent(10.0 + PATIENCE - 1, slow=True)
    assert outage_watch.catching_up(10.0 + PATIENCE - 1) == 0


def test_no_answer_for_long_is_one() -> None:
    outage_watch = (
        OutageWatch().answered(10.0).silent(13.0, slow=True).silent(10.0 + PATIENCE, slow=True)
    )
    assert outage_watch.catching_up(20.0) == LONGEST


def test_slow_answers_do_not_end_an_outage() -> None:
    outage_watch = OutageWatch().answered(10.0).silent(11.0).silent(14.0, slow=True)
    assert outage_watch.catching_up(14.0) == LONGEST


def test_an_outage_soon_after_another_finds_the_pauses_as_they_have_grown() -> None:
    soon = after((10, 40), (100, 102))
    late = after((10, 40), (40 + FORGOTTEN + 5, 40 + FORGOTTEN + 7))
    assert soon.catching_up(102) == LONGEST
    assert late.catching_up(40 + FORGOTTEN + 7) == pytest.approx(6 * 2 + 5)


@pytest.mark.parametrize("lasts", [0.5, 2, 5, 10, 20, 60, 600])
def test_client_go_is_back_by_then(lasts: float) -> None:
    rng = random.Random(lasts)
    outage_watch = OutageWatch().answered(0.0).silent(lasts / 2).silent(lasts / 2).answered(lasts)
    for _ in range(2000):
        assert reflector(rng, 0.0, lasts)[0] <= lasts + outage_watch.catching_up(lasts)


@pytest.mark.parametrize("lasts", [10, 60])
def test_it_is_no_longer_than_client_go_can_need(lasts: float) -> None:
    rng = random.Random(lasts)
    slowest = max(reflector(rng, 0.0, lasts)[0] for _ in range(5000)) - lasts
    outage_watch = OutageWatch().answered(0.0).silent(1.0).silent(1.0).answered(lasts)
    assert outage_watch.catching_up(lasts) <= 2 * slowest


@pytest.mark.parametrize("lasts", [0.5, 2, 5, 20])
def test_client_go_is_back_by_then_after_many_outages_in_a_row(lasts: float) -> None:
    rng = random.Random(lasts)
    for _ in range(300):
        outage_watch, base = OutageWatch().answered(0.0), 0.8
        for began in range(0, 600, 119):
            ended = began + lasts
            outage_watch = outage_watch.answered(began).silent(ended).silent(ended).answered(ended)
            back, base = reflector(rng, began, ended, base=base)
            assert back <= ended + outage_watch.catching_up(ended)


def kept_awake(
    contact_at: Callable[[OutageWatch, int], OutageWatch], seconds: int = 24 * 3600
) -> float:
    """The share of a time in which no pool may lose a pod."""
    outage_watch, waiting = OutageWatch(), 0
    for now in range(seconds):
        outage_watch = contact_at(outage_watch, now)
        waiting += outage_watch.catching_up(now) > 0
    return waiting / seconds


def test_one_call_that_fails_now_and_then_is_no_outage() -> None:
    def reset_every_119_seconds(outage_watch: OutageWatch, now: int) -> OutageWatch:
        if now % 119 == 118:
            return outage_watch.silent(now).answered(now)
        return outage_watch.answered(now) if now % 2 == 0 else outage_watch

    assert kept_awake(reset_every_119_seconds) == 0


def test_an_outage_of_a_minute_every_six_hours_is_waited_for_each_time() -> None:
    def away_for_a_minute(outage_watch: OutageWatch, now: int) -> OutageWatch:
        away = 60 < now % (6 * 3600) < 120
        return outage_watch.silent(now).silent(now) if away else outage_watch.answered(now)

    assert kept_awake(away_for_a_minute) == pytest.approx(4 * (60 + LONGEST) / 86400, rel=0.02)


def test_until_it_is_known_what_a_failed_call_means_it_counts_as_an_outage() -> None:
    assert OutageWatch().answered(1.0).silent(2.0).catching_up(2.0) == LONGEST
    assert OutageWatch().answered(1.0).silent(2.0).answered(2.1).catching_up(2.1) == 0
