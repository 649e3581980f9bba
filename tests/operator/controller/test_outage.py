"""How long the rest of a cluster may lag behind an outage of the API server."""

import random

import pytest
from rows import each

from kotatsu_operator.controller.election import FORGOTTEN, LONGEST, PATIENCE, OutageWatch


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


@each(
    "why, calls, now, seconds",
    [
        ("no call yet", [], 5, 0),
        ("all were answered", [("answered", 3)], 5, 0),
        ("it is away", [("answered", 1), ("silent", 2)], 500, LONGEST),
        ("a call that failed once", [("answered", 1), ("silent", 2), ("answered", 2.1)], 2.1, 0),
        ("and now and then", [("answered", 1), ("silent", 2), ("answered", 3)] * 3, 3, 0),
        ("it began with the last answer",
         [("answered", 10), ("silent", 13), ("silent", 13.1), ("answered", 13.5)], 13.5, 26),
        ("it was never answered before",
         [("silent", 10), ("silent", 10), ("answered", 12)], 12, 17),
        ("one slow answer is none", [("answered", 10), ("slow", 9 + PATIENCE)], 9 + PATIENCE, 0),
        ("no answer for long is one",
         [("answered", 10), ("slow", 13), ("slow", 10 + PATIENCE)], 20, LONGEST),
        ("a slow answer ends none",
         [("answered", 10), ("silent", 11), ("slow", 14)], 14, LONGEST),
    ],
)  # fmt: skip
def test_how_long_the_cluster_may_need_after_these_calls(
    why: str, calls: list[tuple[str, float]], now: float, seconds: float
) -> None:
    watch = OutageWatch()
    for call, at in calls:
        watch = watch.answered(at) if call == "answered" else watch.silent(at, slow=call == "slow")
    assert watch.catching_up(now) == pytest.approx(seconds), why


def test_it_is_six_times_the_outage_and_two_minutes_at_most() -> None:
    assert after((10, 13)).catching_up(13) == pytest.approx(6 * 3 + 5)
    long = after((10, 70))
    assert [long.catching_up(at) for at in (70, 100, 70 + LONGEST)] == [LONGEST, LONGEST - 30, 0]


def test_an_outage_soon_after_another_finds_the_pauses_as_they_have_grown() -> None:
    soon = after((10, 40), (100, 102))
    late = after((10, 40), (40 + FORGOTTEN + 5, 40 + FORGOTTEN + 7))
    assert soon.catching_up(102) == LONGEST
    assert late.catching_up(40 + FORGOTTEN + 7) == pytest.approx(6 * 2 + 5)


@pytest.mark.parametrize("lasts", [10, 60])
def test_it_is_no_longer_than_client_go_can_need(lasts: float) -> None:
    rng = random.Random(lasts)
    slowest = max(reflector(rng, 0.0, lasts)[0] for _ in range(5000)) - lasts
    outage_watch = OutageWatch().answered(0.0).silent(1.0).silent(1.0).answered(lasts)
    assert outage_watch.catching_up(lasts) <= 2 * slowest


@each("lasts", [0.5, 2, 5, 20])
def test_client_go_is_back_by_then_after_many_outages_in_a_row(lasts: float) -> None:
    rng = random.Random(lasts)
    for _ in range(300):
        outage_watch, base = OutageWatch().answered(0.0), 0.8
        for began in range(0, 600, 119):
            ended = began + lasts
            outage_watch = outage_watch.answered(began).silent(ended).silent(ended).answered(ended)
            back, base = reflector(rng, began, ended, base=base)
            assert back <= ended + outage_watch.catching_up(ended)
