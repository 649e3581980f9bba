"""The replicas that current requests need."""

from datetime import datetime, timedelta

from kotatsu_operator.core.pool.memory import Series, Trend
from kotatsu_operator.core.pool.observation import Demand
from kotatsu_operator.core.pool.spec import Scaling

UP_WINDOW = timedelta(seconds=3)
"""Replicas rise to the lowest demand within this window: a burst that the current pods serve in
time starts no further pods."""

DOWN_WINDOW = timedelta(seconds=60)
"""Replicas fall to the highest recommendation within this window, so that they do not flap."""


def recommend(
    demand: Demand, scaling: Scaling, current: int, ready: int, trend: Trend, now: datetime
) -> tuple[int, Trend]:
    """The replicas for the current demand, and the trend to store.

    One pod serves `target_concurrency` requests, so n requests need ceil(n / target) pods, at most
    max_replicas. The two stabilization windows are those of a HorizontalPodAutoscaler: the lowest
    recent demand on the way up, the highest recent recommendation on the way down. Until a pod is
    Ready, waiting requests ask for one pod: their waiting time does not show how many pods they
    need. Unknown demand asks for the current replicas.
    """
    running = min(current, scaling.max_replicas)
    asked = running
    if demand.known:
        asked = min(-(-demand.concurrency // scaling.target_concurrency), scaling.max_replicas)
        if ready == 0:
            asked = min(asked, 1)
    recent = _add(trend.asked, asked, now, UP_WINDOW)
    covered = now - recent[0][0] >= UP_WINDOW
    sustained = min(n for _, n in recent) if covered else min(asked, max(ready, 1))
    # Without history (an operator restart), the current replicas are the recommendation so far.
    lately = _add(trend.sustained or ((now, running),), sustained, now, DOWN_WINDOW)
    return max(n for _, n in lately), Trend(recent, lately)


def _add(series: Series, value: int, now: datetime, window: timedelta) -> Series:
    """Append to a series and drop entries that no longer matter.

    Of a run of equal values the first and the last entry stay. The newest entry older than the
    window stays too: it is the value at the start of the window.
    """
    if len(series) > 1 and series[-1][1] == series[-2][1] == value:
        series = series[:-1]
    series = (*series, (now, value))
    before = [i for i, (at, _) in enumerate(series) if now - at >= window]
    return series[before[-1] :] if before else series
