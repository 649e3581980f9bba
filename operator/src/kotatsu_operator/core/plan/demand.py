"""How many replicas the requests of the moment need."""

from datetime import datetime, timedelta

from kotatsu_operator.core.pool.memory import Series, Trend
from kotatsu_operator.core.pool.observation import Demand
from kotatsu_operator.core.pool.spec import Scaling

UP_WINDOW = timedelta(seconds=3)
"""Replicas rise to what was asked for all through this window: a burst that the pods there are
clear by themselves starts no others."""

DOWN_WINDOW = timedelta(seconds=60)
"""Replicas fall only to the highest number recommended within this window: no flutter."""


def recommend(
    demand: Demand, scaling: Scaling, current: int, ready: int, trend: Trend, now: datetime
) -> tuple[int, Trend]:
    """Replicas for the demand at hand, and the trend to remember.

    One pod serves `target_concurrency` requests, so n requests need ceil(n / target) pods, bounded
    by max_replicas. These are the two stabilization windows of a HorizontalPodAutoscaler: the least
    of what was asked for lately on the way up, the most of that on the way down. Until a pod is
    Ready, whoever waits asks for that one pod: how long they wait says nothing about how many they
    need. Demand that is not known asks for what runs now.
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
    # Without a past (an operator restart) what runs now is what was recommended so far.
    lately = _add(trend.sustained or ((now, running),), sustained, now, DOWN_WINDOW)
    return max(n for _, n in lately), Trend(recent, lately)


def _add(series: Series, value: int, now: datetime, window: timedelta) -> Series:
    """Append to a series and drop what no longer matters.

    Of a run of equal values the first and the last entry are kept. The newest entry older than the
    window stays too: it is the value in force as the window begins.
    """
    if len(series) > 1 and series[-1][1] == series[-2][1] == value:
        series = series[:-1]
    series = (*series, (now, value))
    before = [i for i, (at, _) in enumerate(series) if now - at >= window]
    return series[before[-1] :] if before else series
