"""Replicas for requests: up when they stay, down when they have been gone for a minute."""

from datetime import datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_operator.core.plan.activity import count_timeouts, recommend
from kotatsu_operator.core.pool.decision import Demand
from kotatsu_operator.core.pool.memory import Memory, Trend
from tests.operator.core.values import HOUR, SECOND, examples, once, pool_spec, t
from tests.operator.core.walk import walk

SPEC = pool_spec(maxReplicas=10, requestsPerPod=2)
UP_WINDOW, DOWN_WINDOW = 3 * SECOND, 60 * SECOND
BEAT = 2  # seconds: how often the operator asks an awake pool's pods


class Asked:
    """Recommendations for one pool, one after the other."""

    def __init__(self, ready: int = 10, current: int = 0) -> None:
        self.ready, self.current, self.trend, self.now = ready, current, Trend(), t("10:00")

    def at(self, now: datetime, in_flight: int, held: int = 0, *, known: bool = True) -> int:
        demand = Demand(in_flight, held, known=known)
        self.trend = recommend(demand, SPEC, self.current, self.ready, self.trend, now)
        return self.trend.replicas

    def lasting(self, seconds: int, in_flight: int, **demand: Any) -> list[int]:
        """One each second from now on."""
        begin, self.now = self.now, self.now + seconds * SECOND
        return [self.at(begin + n * SECOND, in_flight, **demand) for n in range(seconds)]


@each(
    "in_flight, held, replicas",
    [(0, 0, 0), (1, 0, 1), (2, 0, 1), (3, 0, 2), (1, 4, 3), (0, 7, 4), (1000, 1000, 10)],
)
def test_requests_in_flight_and_held_need_a_pod_for_each_requests_per_pod(
    in_flight, held, replicas
):
    asked = Asked()
    asked.at(t("10:00"), in_flight, held)
    assert asked.at(t("10:00:03"), in_flight, held) == replicas


def test_a_burst_that_is_over_at_once_starts_nothing():
    asked = Asked(ready=1, current=1)
    assert asked.at(t("10:00"), 0) <= 1
    for second, in_flight in [(2, 16), (4, 0), (6, 0), (8, 16), (10, 0)]:
        assert asked.at(t("10:00") + second * SECOND, in_flight) <= 1


def test_requests_that_stay_start_pods_within_the_window_and_a_beat():
    asked = Asked(ready=1, current=1)
    asked.at(t("10:00"), 0)
    risen = next(n for n in range(BEAT, 60, BEAT) if asked.at(t("10:00:30") + n * SECOND, 16) == 8)
    assert risen * SECOND <= UP_WINDOW + 2 * BEAT * SECOND


def test_while_no_pod_is_ready_whoever_waits_asks_for_one_pod():
    assert set(Asked(ready=0).lasting(20, 0, held=200)) == {1}


def test_replicas_stay_for_the_stable_window_after_the_last_request_that_needed_them():
    asked = Asked()
    asked.lasting(10, 16)
    assert set(asked.lasting(59, 1)) == {8}
    assert asked.at(t("10:01:10"), 1) == 1


def test_demand_that_comes_back_within_the_stable_window_changes_nothing():
    asked = Asked()
    for _ in range(6):
        assert set(asked.lasting(10, 16) + asked.lasting(40, 0)) == {8}


@each("runs, asked_for", [(6, 6), (25, SPEC.max_replicas)])
def test_unknown_demand_asks_for_what_runs_now_and_no_more_than_the_maximum(runs, asked_for):
    assert set(Asked(runs, runs).lasting(600, 0, known=False)) == {asked_for}


def test_after_a_restart_replicas_are_not_taken_away_in_a_quiet_moment():
    asked = Asked(ready=6, current=6)
    assert set(asked.lasting(60, 0)) == {6}
    assert asked.at(t("10:01:01"), 0) == 0


@each("step", [-1, 1])
def test_a_clock_that_steps_an_hour_delays_no_scaling(step):
    asked = Asked(ready=1, current=1)
    asked.lasting(120, 0)
    asked.now += step * HOUR
    assert asked.lasting(10, 16)[-1] == 8
    assert asked.lasting(65, 0)[-1] == 0


LOOKS = st.tuples(st.integers(1, 30), st.integers(0, 40), st.integers(0, 12), st.booleans())


@examples(100)
@given(st.lists(LOOKS, max_size=60))
def test_the_number_is_bounded_and_the_memory_small(looks):
    asked, now = Asked(), t("10:00")
    for seconds, in_flight, ready, known in looks:
        now += seconds * SECOND
        asked.ready = asked.current = ready
        assert 0 <= asked.at(now, in_flight, known=known) <= SPEC.max_replicas
        kept = (asked.trend.asked, UP_WINDOW), (asked.trend.sustained, DOWN_WINDOW)
        for series, window in kept:
            assert len(series) <= window / SECOND + 2
            assert [at for at, _ in series] == sorted(at for at, _ in series)


def test_requests_above_the_floor_add_pods_and_give_them_back():
    spec = pool_spec(windows=[once("pitch", "10:00", "12:00", 2)], requestsPerPod=1)
    w = walk(spec, t("09:50"), tick=BEAT).until(t("10:29:59"))
    w.ask(t("10:30"), seconds=40, count=6).until(t("10:35"))
    up, down = w.reached(6, after=t("10:30")), w.reached(2, after=t("10:30:10"))
    assert up <= t("10:30") + UP_WINDOW + 2 * BEAT * SECOND
    assert t("10:30:40") + DOWN_WINDOW <= down <= t("10:30:40") + DOWN_WINDOW + 2 * BEAT * SECOND
    assert w.lowest(t("10:00"), t("10:35"), "ready") == 2


@each("totals, late", {
    "what was counted before the first look is not known to be new": ([{"a": 4}], [0]),
    "each is counted once": ([{"a": 4}, {"a": 6}, {"a": 6}], [0, 2, 0]),
    "of all activators": ([{"a": 0, "b": 1}, {"a": 1, "b": 3}], [0, 3]),
    "an activator that has started again counts from 0": ([{"a": 4}, {"a": 1}], [0, 1]),
    "one that was silent has counted on": ([{"a": 4}, {"a": None}, {"a": 7}], [0, 0, 3]),
    "where none was asked, nothing is forgotten": ([{"a": 4}, {}, {"a": 5}], [0, 0, 1]),
    "one that is gone is forgotten": ([{"a": 4, "b": 0}, {"b": 0}, {"a": 9, "b": 0}], [0, 0, 0]),
})  # fmt: skip
def test_requests_that_have_timed_out_since_the_last_decision_are_new(totals, late):
    memory, found = Memory(), []
    for total in totals:
        memory, new = count_timeouts(memory, Demand(timed_out=total), t("10:00"))
        found.append(new)
    assert found == late
    assert memory.process.timed_out == sum(late)
