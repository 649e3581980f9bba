"""Days with parked pods: an idle pool keeps them with small requests until a request comes."""

from decimal import Decimal

from rows import each

from kotatsu_operator.core.pool.memory import Phase, Reason, Route
from tests.operator.core.values import HOUR, MINUTE, SECOND, once, override, pool_spec, t
from tests.operator.core.walk import PARKED, Walk, walk

PRICES = {"currency": "JPY", "cpuHour": "1"}
DAILY = {"period": "Day"}
IDLE_AFTER = 2 * MINUTE


def pool(*requests: str, **fields: object) -> Walk:
    """A pool that sleeps since 08:00 and may park one pod for half an hour."""
    given = {"parkedFor": "30m", **fields}
    spec = pool_spec(**{name: value for name, value in given.items() if value is not None})
    return walk(spec, t("08:00"), [t(clock) for clock in requests])


def reduced(w: Walk) -> list[bool]:
    return [pod.is_reduced for pod in w.pods if pod.gone_at is None]


# --- parking ---


def test_an_idle_pool_is_parked_behind_the_activators_and_not_asleep():
    w = pool("08:30").until(t("08:40"))
    assert (w.phase, w.memory.reason, w.replicas) == (Phase.PARKED, Reason.IDLE, 1)
    assert (reduced(w), w.memory.route.target) == ([True], Route.ACTIVATOR)
    assert w.times(Phase.PARKED) == [t("08:30:08.2") + IDLE_AFTER]
    assert w.told() == ["Warming", "Warm", "Parked"]


def test_it_sleeps_when_it_has_been_parked_long_enough():
    w = pool("08:30").until(t("10:00"))
    assert w.phase is Phase.ASLEEP
    assert w.times(Phase.DRAINING) == [w.times(Phase.PARKED)[0] + 30 * MINUTE]
    assert not w.memory.reduced


def test_a_request_to_a_parked_pool_is_served_at_once_and_restores_its_requests():
    w = pool("08:30", "08:45").until(t("08:45:30"))
    assert w.requests[1].begun == t("08:45")
    assert (w.phase, w.memory.route.target, reduced(w)) == (Phase.WARM, Route.NATIVE, [False])
    assert len(w.pods) == w.made == 1, "another pod was started"


def test_of_several_pods_one_stays():
    w = pool(windows=[once("pitch", "09:00", "09:30", 3)]).until(t("09:40"))
    assert (w.phase, w.replicas, reduced(w)) == (Phase.PARKED, 1, [True])


def test_an_idle_pool_whose_pods_cannot_be_parked_sleeps():
    w = walk(pool_spec(parkedFor="30m"), t("08:00"), [t("08:30")], parking="Guaranteed")
    assert w.until(t("08:40")).phase is Phase.ASLEEP


def test_without_a_time_to_stay_a_pool_is_parked_in_windows_alone():
    window = once("pitch", "09:00", "10:00", 2) | {"mode": "Parked"}
    w = pool("08:30", windows=[window], parkedFor=None).until(t("08:40"))
    assert w.phase is Phase.ASLEEP
    w.until(t("09:30"))
    assert (w.phase, reduced(w)) == (Phase.PARKED, [True, True])


# --- windows ---


def test_a_window_may_ask_for_parked_pods():
    window = once("pitch", "09:00", "10:00", 2) | {"mode": "Parked"}
    w = pool(windows=[window], parkedFor=None).until(t("09:00"))
    assert (w.phase, w.memory.reason, w.replicas) == (Phase.PARKED, Reason.WINDOW, 2)
    assert reduced(w) == [True, True]
    assert w.told("WindowCold", "WindowLate") == []
    w.until(t("09:59:59"))
    assert w.phase is Phase.PARKED
    w.until(t("10:05"))
    assert w.phase is Phase.ASLEEP


def test_a_window_for_parked_pods_ends_the_way_down_to_sleep():
    window = once("pitch", "09:00", "10:00", 1) | {"mode": "Parked"}
    w = pool("08:57:52", windows=[window], parkedFor=None, lead="1s").until(t("09:00:01"))
    assert w.told() == ["Warming", "Warm", "Draining", "SleepAborted", "Warm", "Parked"]
    assert w.made == 1


def test_a_warm_window_restores_parked_pods_before_it_opens():
    windows = [once("all-day", "08:30", "12:00", 1) | {"mode": "Parked"}]
    windows.append(once("pitch", "10:00", "10:30", 2))
    w = pool(windows=windows).until(t("09:00"))
    assert w.phase is Phase.PARKED
    w.until(t("10:00"))
    assert (w.phase, w.ready, reduced(w)) == (Phase.WARM, 2, [False, False])
    w.until(t("10:40"))
    assert (w.phase, w.replicas) == (Phase.PARKED, 1)


def test_a_window_for_parked_pods_is_warm_where_none_can_be_parked():
    window = once("pitch", "09:00", "10:00", 2) | {"mode": "Parked"}
    spec = pool_spec(parkedFor="1h", windows=[window])
    w = walk(spec, t("08:00"), parking="Guaranteed").until(t("09:30"))
    assert (w.phase, w.ready) == (Phase.WARM, 2)


# --- overrides and budgets ---


def test_an_asleep_override_ends_parking():
    w = pool("08:30").until(t("08:40"))
    w.edit(pool_spec(parkedFor="30m", override=override("Asleep", t("09:30")))).until(t("08:41"))
    assert w.phase is Phase.ASLEEP


def test_a_warm_override_restores_the_requests():
    w = pool("08:30").until(t("08:40"))
    w.edit(pool_spec(parkedFor="30m", override=override("Warm", t("09:30"), replicas=1)))
    w.until(t("08:41"))
    assert (w.phase, reduced(w)) == (Phase.WARM, [False])


def test_a_spent_budget_ends_parking():
    w = pool("08:30", prices=PRICES, budget=DAILY | {"limit": "0.0357"}).until(t("09:00"))
    assert w.phase is Phase.ASLEEP


# --- what goes wrong ---


def test_requests_count_as_restored_only_when_every_watch_has_shown_it():
    w = pool("08:30", "08:45").until(t("08:45:10"))
    assert w.memory.reduced
    w.until(t("08:46"))
    assert not w.memory.reduced


@each("hours", [1, 5])
def test_a_pool_whose_parking_was_removed_sleeps(hours):
    w = pool("08:30", parkedFor="24h").until(t("08:30") + hours * HOUR)
    assert w.phase is Phase.PARKED
    w.edit(pool_spec()).until(w.now + MINUTE + 10 * SECOND)
    assert w.phase is Phase.ASLEEP


# --- spent budgets ---

DEARER = PRICES | {"cpuHour": "60"}
ALL_DAY = once("all-day", "08:30", "12:00", 2) | {"mode": "Parked"}


def spent_while_parked(policy: str, *requests: str, **fields: object) -> Walk:
    """Two pods in a window for parked ones, whose budget is spent while they are parked."""
    budget = DAILY | {"limit": "2", "onExhausted": policy}
    return pool(*requests, windows=[ALL_DAY], prices=DEARER, budget=budget, lead="10s", **fields)


def test_a_spent_budget_leaves_an_open_window_parked():
    w = spent_while_parked("BlockStarts").until(t("11:59"))
    assert w.standing == "Exhausted"
    assert (w.phase, w.replicas, reduced(w)) == (Phase.PARKED, 2, [True, True])
    assert w.until(t("12:01")).phase is Phase.ASLEEP, "idle pods are not kept"


def test_a_request_to_a_parked_window_is_served_after_the_budget_is_spent():
    w = spent_while_parked("BlockStarts", "11:30").until(t("11:30:30"))
    assert w.requests[0].begun == t("11:30")
    assert (w.phase, reduced(w)) == (Phase.WARM, [False, False])


def test_a_budget_that_puts_pools_to_sleep_ends_a_parked_window():
    w = spent_while_parked("Sleep").until(t("11:59"))
    assert (w.phase, w.memory.reason) == (Phase.ASLEEP, Reason.BUDGET)


def test_the_limit_is_seen_at_once_at_the_rate_of_parked_pods():
    w = spent_while_parked("Warn").until(t("12:00"))
    seen = next(m.at for m in w.log if any(n.reason == "BudgetExhausted" for n in m.notes))
    before = Decimal((seen - t("08:30")).total_seconds()) / 60 * 2 * PARKED
    assert abs(w.ledger.limit - before) < Decimal("0.6"), "two pods needed some seconds to start"
    looks = [m.at for m in w.log if t("08:31") < m.at < seen]
    assert len(looks) < 2 * (seen - t("08:31")) / MINUTE, "and not by looking all the time"
