"""What holds for every decision: any spec, any observation, any memory, any walk through a day."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kotatsu_operator.core.budget.limit import Allowed
from kotatsu_operator.core.decide.decide import decide
from kotatsu_operator.core.pool.decision import Demand, Observation
from kotatsu_operator.core.pool.memory import (
    KnownOverride,
    Memory,
    Opening,
    Phase,
    Process,
    Reason,
    Route,
    Routing,
    Trend,
    WarmUp,
)
from kotatsu_operator.core.pool.spec import OnExhausted, PoolSpec
from tests.operator.core.values import (
    MINUTE,
    SECOND,
    cron,
    examples,
    kept_in_status,
    once,
    override,
    pool_spec,
    t,
)
from tests.operator.core.walk import Walk, check_rules, walk

NOW = t("12:00")
MIDNIGHT = t("00:00")


SEEDS = st.integers(0, 2**32)
"""Situations are thrown with a die of the standard library: a hundred times faster to draw."""


def windows(die: Random) -> list[dict[str, Any]]:
    """Up to four windows of the day, one-off or hourly, with seconds that do not fit a minute."""
    found: list[dict[str, Any]] = []
    for n in range(die.randint(0, 3)):
        start = die.randint(0, 22 * 3600)
        end = min(start + die.randint(1, 6 * 3600), 24 * 3600 - 1)
        text = [f"{MIDNIGHT + second * SECOND:%Y-%m-%dT%H:%M:%S}" for second in (start, end)]
        found.append(
            {"name": f"w{n}", "start": text[0], "end": text[1], "replicas": die.randint(1, 5)}
        )
    if die.random() < 0.3:
        found.append(cron(f"{die.randint(0, 59)} * * * *", f"{die.randint(1, 90)}m", 1, name="h"))
    return found


LEADS = (None, "0s", "45s", "10m")


def any_spec(die: Random, leads: tuple[str | None, ...] = LEADS) -> PoolSpec:
    raw: dict[str, Any] = {
        "windows": windows(die),
        "lead": die.choice(leads),
        "maxReplicas": die.randint(5, 8),
        "requestsPerPod": die.randint(1, 3),
        "idleAfter": die.choice(["10s", "2m", "1h"]),
        "settle": die.choice([0, 5]),
    }
    if die.random() < 0.5:
        mode = die.choice(["Warm", "Asleep"])
        raw["override"] = override(mode, NOW + die.randint(-2 * 3600, 30 * 3600) * SECOND)
        if mode == "Warm":
            raw["override"]["replicas"] = die.randint(1, 5)
    if die.random() < 0.4:
        raw |= die.choice([{}, {"parkedFor": "10m"}, {"parkedFor": "1h"}])
        for window in raw["windows"]:
            window["mode"] = die.choice(["Warm", "Parked"])
    return pool_spec(**raw)


def past(die: Random, hours: float = 3) -> datetime:
    """A moment before now, rarely a little after it (another clock)."""
    return NOW + die.randint(int(-hours * 3600), 60) * SECOND


def perhaps(die: Random, hours: float = 3) -> datetime | None:
    return past(die, hours) if die.random() < 0.5 else None


def any_memory(die: Random, spec: PoolSpec) -> Memory:
    """A memory as decisions leave it, with any of its optional parts."""
    if die.random() < 0.1:
        return Memory()
    phase = die.choice(list(Phase))
    native = phase in (Phase.WARM, Phase.WARMING) and die.random() < 0.7
    key = spec.override.key if spec.override and die.random() < 0.7 else ""
    openings = [Opening(w.name, w.start.replace(tzinfo=UTC)) for w in spec.windows if w.start]
    trend = Trend(
        tuple((NOW - n * SECOND, die.randint(0, 5)) for n in (4, 2)),
        tuple((NOW - n * SECOND, die.randint(0, 5)) for n in (70, 30, 2)),
    )
    return Memory(
        phase=phase,
        reason=die.choice(list(Reason)),
        since=past(die),
        route=Routing(Route.NATIVE if native else Route.ACTIVATOR, die.randint(1, 5)),
        last_active=perhaps(die),
        unknown_since=perhaps(die),
        raised_at=perhaps(die, 0.1),
        warm_ups=tuple(
            WarmUp(die.uniform(0, 900), die.randint(1, 5)) for _ in range(die.randint(0, 5))
        ),
        override=KnownOverride(
            key, past(die, 25) if key else None, bool(key) and die.random() < 0.5
        ),
        opening=die.choice([None, *openings]),
        lead=die.randint(0, 3600) * SECOND,
        ahead=die.choice([0, 0, 30, 900]) * SECOND,
        process=Process(
            acknowledged_at=perhaps(die, 0.1),
            looked_at=perhaps(die, 0.1),
            trend=die.choice([trend, Trend()]),
        ),
    )


def any_observation(die: Random, epoch: int) -> Observation:
    replicas = die.choice([0, die.randint(0, 12)])
    ready = die.randint(0, replicas)
    return Observation(
        replicas=replicas,
        ready=ready,
        pods=ready + die.randint(0, 3),
        acknowledged=die.choice([None, epoch - 1, epoch, epoch]),
        demand=Demand(
            in_flight=die.choice([0, 0, 0, 1, 7]),
            held=die.choice([0, 0, 0, 1, 50]),
            last_request=perhaps(die),
            ticket=perhaps(die),
            known=die.random() < 0.8,
        ),
        edited=die.random() < 0.2,
        ahead=die.choice([0, 0, 10, 600]) * SECOND,
    )


def situation(
    seed: int, leads: tuple[str | None, ...] = LEADS
) -> tuple[PoolSpec, Observation, Memory]:
    die = Random(seed)
    spec = any_spec(die, leads)
    memory = any_memory(die, spec)
    return spec, any_observation(die, max(memory.route.epoch, 1)), memory


# --- one decision ---


@examples(200)
@given(SEEDS)
def test_every_decision_keeps_the_rules(seed):
    """Those of `check_rules`, by which the walks are judged too."""
    spec, seen, memory = situation(seed)
    check_rules(spec, seen, memory, NOW, decide(spec, seen, memory, NOW))


@examples(200)
@given(SEEDS)
def test_deciding_twice_at_the_same_moment_changes_nothing(seed):
    spec, seen, memory = situation(seed, leads=("0s", "45s", "10m"))
    first = decide(spec, seen, memory, NOW)
    second = decide(spec, seen, first.memory, NOW)
    assert second.notes == ()
    assert (second.replicas, second.floor) == (first.replicas, first.floor)
    untimed = {"trend": Trend(), "acknowledged_at": None}
    assert second.memory.here(**untimed) == first.memory.here(**untimed)


@examples(200)
@given(SEEDS)
def test_a_suspended_pool_is_never_acted_on(seed):
    spec, seen, memory = situation(seed)
    decision = decide(replace(spec, suspend=True), seen, memory, NOW)
    assert (decision.replicas, decision.sleep, decision.force) == (None, False, False)
    assert decision.notes == ()
    assert memory.since is None or decision.memory.phase is memory.phase


# --- budgets ---


def spent(die: Random, policy: OnExhausted) -> Allowed:
    """A budget that was exhausted in the last hours, in a period that ends some time."""
    end = NOW + die.randint(1, 24 * 3600) * SECOND
    return Allowed(policy, NOW - die.randint(0, 3 * 3600) * SECOND, end, end)


@examples(200)
@given(SEEDS, st.sampled_from(OnExhausted))
def test_every_decision_under_a_spent_budget_keeps_the_rules(seed, policy):
    spec, seen, memory = situation(seed)
    budget = spent(Random(seed), policy)
    decision = decide(spec, seen, memory, NOW, budget)
    check_rules(spec, seen, memory, NOW, decision)
    assert decision.recheck <= budget.recheck


@examples(200)
@given(SEEDS)
def test_a_spent_budget_that_only_warns_decides_nothing(seed):
    spec, seen, memory = situation(seed)
    budget = spent(Random(seed), OnExhausted.WARN)
    free, warned = decide(spec, seen, memory, NOW), decide(spec, seen, memory, NOW, budget)
    assert replace(warned, recheck=NOW) == replace(free, recheck=NOW)


@examples(200)
@given(SEEDS)
def test_a_spent_budget_that_sleeps_leaves_no_floor_and_starts_nothing(seed):
    spec, seen, memory = situation(seed)
    decision = decide(spec, seen, memory, NOW, spent(Random(seed), OnExhausted.SLEEP))
    assert (decision.floor, decision.replicas) == (0, None)
    if seen.replicas > 0 or memory.phase not in (Phase.ASLEEP, Phase.SLEEPING):
        assert memory.since is None or decision.memory.phase is Phase.DRAINING
    else:
        assert decision.memory.reason is Reason.BUDGET


@examples(300)
@given(SEEDS)
def test_a_spent_budget_without_new_warmth_raises_only_for_what_began_before(seed):
    spec, seen, memory = situation(seed)
    budget = spent(Random(seed), OnExhausted.BLOCK_STARTS)
    decision = decide(spec, seen, memory, NOW, budget)
    free = decide(spec, seen, memory, NOW)
    assert decision.floor <= free.floor
    if decision.replicas is not None and decision.replicas > max(seen.replicas, 1):
        assert decision.replicas == decision.floor
    if seen.replicas == 0 and memory.phase in (Phase.ASLEEP, Phase.SLEEPING):
        assert decision.replicas is None or decision.floor > 0
    if decision.floor > 0 and decision.window:
        overridden = spec.override is not None and spec.override.mode.value == "Warm"
        assert overridden or had_begun(spec, decision.window, budget.exhausted_at)


def had_begun(spec: PoolSpec, window: str, at: datetime) -> bool:
    """Whether a window had begun at a moment; of an hourly one, some opening may have."""
    [start] = [w.start for w in spec.windows if w.name == window]
    return start is None or start.replace(tzinfo=UTC) <= at


# --- walks ---


def any_day(seed: int) -> tuple[Walk, Random]:
    """A pool at 10:00 with requests to come until 13:00."""
    die = Random(seed)
    requests = [t("10:00") + die.randint(0, 3 * 3600) * SECOND for _ in range(die.randint(0, 9))]
    turns = [die.choice([0, 0, 7, 300]) * SECOND for _ in range(24)]
    how = {"ready_after": die.choice([2, 20, 100]), "sees_held": die.random() < 0.5}
    return walk(any_spec(die), t("10:00"), requests, ahead=lambda now: turns[now.hour], **how), die


def floor_by_hand(spec: PoolSpec, now: datetime) -> int:
    """Highest of the windows open now, worked out for the shapes `windows` draws."""
    found = [0]
    for window in spec.windows:
        if window.start is not None and window.end is not None:
            naive = now.replace(tzinfo=None)
            found.append(window.replicas * (window.start <= naive < window.end))
        else:
            past = (now.minute * 60 + now.second - int(window.schedule.split()[0]) * 60) % 3600
            found.append(window.replicas * (past < window.duration.total_seconds()))
    return max(found)


def is_asleep_by_override(spec: PoolSpec, now: datetime) -> bool:
    asked = spec.override
    return asked is not None and asked.mode.value == "Asleep" and now < asked.until


@examples(25)
@given(SEEDS, st.booleans())
def test_hours_of_windows_requests_and_restarts_keep_their_promises(seed, lose_everything):
    """Every look is held against the rules by the walk itself; the rest is checked here."""
    w, die = any_day(seed)
    for at in sorted(die.randint(0, 3 * 3600) for _ in range(die.randint(0, 4))):
        w.until(t("10:00") + at * SECOND)
        w.restart((lambda _: Memory()) if lose_everything else kept_in_status)
    w.until(t("13:30"))
    for moment in w.log:
        if not is_asleep_by_override(w.spec, moment.at):
            assert moment.replicas >= floor_by_hand(w.spec, moment.at), moment
    for request in w.requests:
        assert request.begun is not None
        # Who has lost the memory of an Asleep override carries it out again.
        if not (lose_everything and is_asleep_by_override(w.spec, request.at)):
            assert request.begun - request.at <= w.ready_after * SECOND


@examples(15)
@given(SEEDS)
def test_a_pool_that_nobody_needs_any_more_is_gone(seed):
    w, _ = any_day(seed)
    w.until(t("13:00"))
    w.edit(replace(w.spec, windows=(), override=None, parked_for=None))
    w.until(t("13:01") + w.ready_after * SECOND + w.spec.idle_after + MINUTE)
    assert (w.phase, w.pods, w.replicas) == (Phase.ASLEEP, [], 0)


@examples(25)
@given(SEEDS, st.sampled_from([0.7, 3, 11, 59, 240]))
def test_the_floor_is_the_same_whatever_the_tick_rate(seed, tick):
    die = Random(seed)
    spec = any_spec(die, leads=("0s", "45s", "10m"))
    begin, length = t("11:30"), int(300 * tick**0.5)
    event_driven = walk(spec, begin)
    ticking = walk(spec, begin, tick=tick, watched=False)
    for second in sorted(die.randint(0, length) for _ in range(6)):
        now = begin + second * SECOND
        floors = []
        for w in (event_driven, ticking):
            w.until(now)
            w.look()
            floors.append(w.last.floor)
        assert floors[0] == floors[1], now


@examples(40)
@given(
    st.integers(int((t("09:58:52") - MIDNIGHT) / SECOND), int((t("10:30") - MIDNIGHT) / SECOND)),
    st.integers(0, 999),
    st.sampled_from(["kept", "lost"]),
    st.integers(0, 20),
)
def test_a_restart_at_any_moment_of_a_window_never_puts_the_pool_to_sleep_inside_it(
    second, millisecond, status, down
):
    at = MIDNIGHT + second * SECOND + timedelta(milliseconds=millisecond)
    spec = pool_spec(windows=[once("pitch", "10:00", "10:30", 2)])
    found = kept_in_status if status == "kept" else lambda _: Memory()
    w = walk(spec, t("09:55")).until(at).restart(found, back=at + down * SECOND).until(t("10:40"))
    assert w.lowest(t("10:00"), t("10:29:59.999"), "ready") == 2
    assert w.told("WindowCold", "WindowLate") == []
    assert (w.replicas, w.pods) == (0, [])
