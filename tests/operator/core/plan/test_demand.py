"""Replicas for requests: up when they stay, down when they have been gone for a minute."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_operator.core.plan.activity import recommend
from kotatsu_operator.core.pool.decision import Demand
from kotatsu_operator.core.pool.memory import Trend
from tests.operator.core.values import HOUR, SECOND, examples, once, pool_spec, t
from tests.operator.core.walk import walk

SPEC = pool_spec(maxReplicas=10, targetConcurrency=2)
UP_WINDOW, DOWN_WINDOW = 3 * SECOND, 60 * SECOND
BEAT = 2  # seconds: how often the operator asks an awake pool's pods


class Asked:
    """Recommendations for one pool, one after the other."""

    def __init__(self, ready: int = 10, current: int = 0) -> None:
        self.ready, self.current, self.trend = ready, current, Trend()

    def at(self, now: datetime, in_flight: int, held: int = 0, *, known: bool = True) -> int:
        demand = Demand(in_flight, held, known=known)
        self.trend = recommend(demand, SPEC, self.current, self.ready, self.trend, now)
        return self.trend.replicas


@each(
    "in_flight, held, replicas",
    [(0, 0, 0), (1, 0, 1), (2, 0, 1), (3, 0, 2), (1, 4, 3), (0, 7, 4), (1000, 1000, 10)],
)
def test_requests_in_flight_and_held_need_a_pod_for_each_target_concurrency(
    in_flight: int, held: int, replicas: int
) -> None:
    asked = Asked()
    asked.at(t("10:00"), in_flight, held)
    assert asked.at(t("10:00:03"), in_flight, held) == replicas


def test_a_burst_that_is_over_at_once_starts_nothing() -> None:
    asked = Asked(ready=1, current=1)
    assert asked.at(t("10:00"), 0) <= 1
    for second, in_flight in [(2, 16), (4, 0), (6, 0), (8, 16), (10, 0)]:
        assert asked.at(t("10:00") + second * SECOND, in_flight) <= 1


def test_requests_that_stay_start_pods_within_the_window_and_a_beat() -> None:
    asked = Asked(ready=1, current=1)
    asked.at(t("10:00"), 0)
    risen = next(n for n in range(BEAT, 60, BEAT) if asked.at(t("10:00:30") + n * SECOND, 16) == 8)
    assert risen * SECOND <= UP_WINDOW + 2 * BEAT * SECOND


def test_while_no_pod_is_ready_whoever_waits_asks_for_one_pod() -> None:
    asked = Asked(ready=0)
    for second in range(20):
        assert asked.at(t("10:00") + second * SECOND, 0, held=200) == 1


def test_replicas_stay_for_the_stable_window_after_the_last_request_that_needed_them() -> None:
    asked = Asked()
    for second in range(10):
        asked.at(t("10:00") + second * SECOND, 16)
    for second in range(10, 69):
        assert asked.at(t("10:00") + second * SECOND, 1) == 8, second
    assert asked.at(t("10:01:10"), 1) == 1


def test_demand_that_comes_back_within_the_stable_window_changes_nothing() -> None:
    asked = Asked()
    wanted = set()
    for second in range(300):
        busy = second % 50 < 10
        wanted.add(asked.at(t("10:00") + second * SECOND, 16 if busy else 0))
    assert wanted <= {8}


def test_unknown_demand_asks_for_what_runs_now() -> None:
    asked = Asked(current=6, ready=6)
    for second in range(0, 600, 2):
        assert asked.at(t("10:00") + second * SECOND, 0, known=False) == 6


def test_unknown_demand_never_asks_for_more_than_the_maximum() -> None:
    asked = Asked(current=25, ready=25)
    for second in range(10):
        assert asked.at(t("10:00") + second * SECOND, 0, known=False) == 10


def test_after_a_restart_replicas_are_not_taken_away_in_a_quiet_moment() -> None:
    asked = Asked(ready=6, current=6)
    for second in range(60):
        assert asked.at(t("10:00") + second * SECOND, 0) == 6
    assert asked.at(t("10:01:01"), 0) == 0


@pytest.mark.parametrize("step", [-1, 1], ids=["back", "forward"])
def test_a_clock_that_steps_an_hour_delays_no_scaling(step: int) -> None:
    asked = Asked(ready=1, current=1)
    for second in range(120):
        asked.at(t("10:00") + second * SECOND, 0)
    begin = t("10:02") + step * HOUR
    wanted = [asked.at(begin + second * SECOND, 16) for second in range(10)]
    assert wanted[-1] == 8
    wanted = [asked.at(begin + (10 + second) * SECOND, 0) for second in range(65)]
    assert wanted[-1] == 0


@examples(100)
@given(
    st.lists(
        st.tuples(st.integers(1, 30), st.integers(0, 40), st.integers(0, 12), st.booleans()),
        max_size=60,
    )
)
def test_the_number_is_bounded_and_the_memory_small(
    looks: list[tuple[int, int, int, bool]],
) -> None:
    asked, now = Asked(), t("10:00")
    for seconds, in_flight, ready, known in looks:
        now += seconds * SECOND
        asked.ready = asked.current = ready
        assert 0 <= asked.at(now, in_flight, known=known) <= SPEC.max_replicas
        for series, window in (
            (asked.trend.asked, UP_WINDOW),
            (asked.trend.sustained, DOWN_WINDOW),
        ):
            assert len(series) <= window / SECOND + 2
            assert [at for at, _ in series] == sorted(at for at, _ in series)


# --- in a walk ---


def test_requests_above_the_floor_add_pods_and_give_them_back() -> None:
    spec = pool_spec(windows=[once("pitch", "10:00", "12:00", 2)], targetConcurrency=1)
    w = walk(spec, t("09:50"), tick=BEAT)
    w.until(t("10:29:59"))
    w.ask(t("10:30"), seconds=40, count=6)
    w.until(t("10:35"))
    up, down = w.reached(6, after=t("10:30")), w.reached(2, after=t("10:30:10"))
    assert up <= t("10:30") + UP_WINDOW + 2 * BEAT * SECOND
    assert t("10:30:40") + DOWN_WINDOW <= down <= t("10:30:40") + DOWN_WINDOW + 2 * BEAT * SECOND
    assert w.lowest(t("10:00"), t("10:35"), "ready") == 2


def test_demand_never_takes_a_pool_above_its_maximum() -> None:
    spec = pool_spec(maxReplicas=3, targetConcurrency=1)
    w = walk(spec, t("10:00"), tick=BEAT)
    w.ask(t("10:01"), seconds=60, count=50)
    w.until(t("10:05"))
    assert max(m.replicas for m in w.log) == 3


@each("count, pods", [(10, 1), (100, 1), (101, 2)])
def test_a_pool_that_says_nothing_of_it_has_one_pod_for_a_hundred_requests(
    count: int, pods: int
) -> None:
    w = walk(pool_spec(), t("10:00"), tick=BEAT)
    w.ask(t("10:01"), seconds=60, count=count)
    w.until(t("10:05"))
    assert max(m.replicas for m in w.log) == pods
