"""Days with clients that connect again as soon as a sleep has cut them."""

from datetime import timedelta

from kotatsu_operator.core.pool.memory import Phase
from tests.operator.core.values import HOUR, MINUTE, SECOND, once, override, pool_spec, t
from tests.operator.core.walk import Walk, walk


def subscribed(w: Walk, hours: float) -> Walk:
    """Let subscribers come back after each sleep for so long; they say nothing while connected."""
    end = w.now + hours * HOUR
    w.ask(w.now + SECOND)
    while w.now < end:
        slept = len(w.times(Phase.SLEEPING))
        while w.now < end and len(w.times(Phase.SLEEPING)) == slept:
            w.until(min(w.recheck if w.phase is Phase.WARM else w.now + SECOND, end))
        w.ask(w.now + SECOND)
    return w


def slept(w: Walk) -> int:
    return len(w.times(Phase.SLEEPING))


def awake_for(w: Walk) -> list[timedelta]:
    """How long the pool was awake each time."""
    return [
        down - up for up, down in zip(w.times(Phase.WARM), w.times(Phase.DRAINING), strict=False)
    ]


def test_a_pool_that_is_woken_soon_after_each_sleep_stays_awake_longer_each_time():
    w = subscribed(walk(pool_spec(), t("07:50")).until(t("08:00")), hours=3)
    minutes = [round(lasted / MINUTE) for lasted in awake_for(w)]
    assert minutes[:8] == [2, 2, 4, 8, 16, 32, 32, 32]


def test_a_later_wake_ends_it():
    w = subscribed(walk(pool_spec(), t("07:50")).until(t("08:00")), hours=1)
    w.requests = [request for request in w.requests if request.begun]  # the subscribers are gone
    w.until(t("10:00"))
    w.ask(t("10:00:10")).until(t("10:30"))
    assert w.memory.woken_soon == 0
    assert w.reached(0, after=t("10:01")) < t("10:02:30")


def test_requests_that_come_each_few_minutes_are_no_flapping():
    every = [t("08:00") + n * 3 * MINUTE for n in range(40)]
    w = walk(pool_spec(), t("08:00"), every).until(t("10:00"))
    assert {round(lasted / MINUTE) for lasted in awake_for(w)} == {2}


def test_a_short_idle_after_is_no_flapping_unless_the_sleep_is_as_short():
    spec = pool_spec(idleAfter="15s")
    every = [t("08:00") + n * 45 * SECOND for n in range(40)]
    w = walk(spec, t("08:00"), every).until(t("08:30"))
    assert w.memory.woken_soon == 0


def test_a_window_that_opens_soon_after_a_sleep_is_no_flapping():
    windows = [once(f"w{n}", f"08:{n}", f"08:{n + 1}", 1) for n in range(10, 40, 3)]
    spec = pool_spec(windows=windows, lead="20s", idleAfter="1m")
    w = walk(spec, t("08:00")).until(t("09:00"))
    assert slept(w) > 5
    assert w.memory.woken_soon == 0


def test_a_sleep_that_an_override_asks_for_is_not_counted():
    w = walk(pool_spec(), t("08:00")).until(t("08:10"))
    for n in range(5):
        w.ask(w.now + SECOND).until(w.now + MINUTE)
        asked = override("Asleep", w.now + 20 * SECOND, by=f"test {n}")
        w.edit(pool_spec(override=asked))
        while w.phase is not Phase.ASLEEP:
            w.until(w.now + SECOND)
    assert w.memory.woken_soon == 0
