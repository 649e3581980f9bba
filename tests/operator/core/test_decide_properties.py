"""What holds for every decision: any spec, any observation, any memory, any walk through a day."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kotatsu_operator.core.decide import decide
from kotatsu_operator.core.phases import asleep_after
from kotatsu_operator.core.spec import PoolSpec, parse
from kotatsu_operator.core.state import (
    Demand,
    Memory,
    Observation,
    Opening,
    Phase,
    Reason,
    Route,
    Trend,
    WarmUp,
)

from .values import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    TARGET,
    examples,
    kept_in_status,
    once,
    override,
    pool_spec,
    t,
)
from .walk import Walk, check_rules, walk

NOW = t("12:00")
MIDNIGHT = t("00:00")


@st.composite
def windows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Up to four windows of the day, one-off or hourly, with seconds that do not fit a minute."""
    found: list[dict[str, Any]] = []
    for n in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, 22 * 3600))
        length = draw(st.integers(1, 6 * 3600))
        end = min(start + length, 24 * 3600 - 1)
        text = [f"{MIDNIGHT + second * SECOND:%Y-%m-%dT%H:%M:%S}" for second in (start, end)]
        replicas = draw(st.integers(1, 5))
        found.append({"name": f"w{n}", "start": text[0], "end": text[1], "replicas": replicas})
    if draw(st.booleans()):
        minute = draw(st.integers(0, 59))
        length = draw(st.integers(1, 90))
        found.append(
            {"name": "h", "schedule": f"{minute} * * * *", "duration": f"{length}m", "replicas": 1}
        )
    return found


@st.composite
def specs(draw: st.DrawFn, leads: tuple[str, ...] = ("auto", "0s", "45s", "10m")) -> PoolSpec:
    raw: dict[str, Any] = {
        "targetRef": TARGET,
        "windows": draw(windows()),
        "prewarm": {"lead": draw(st.sampled_from(leads))},
        "scaling": {
            "maxReplicas": draw(st.integers(5, 8)),
            "targetConcurrency": draw(st.integers(1, 3)),
            "idleAfter": draw(st.sampled_from(["10s", "2m", "1h"])),
        },
        "drain": {"routeSettle": draw(st.sampled_from(["0s", "5s"]))},
    }
    if draw(st.booleans()):
        mode = draw(st.sampled_from(["Warm", "Asleep"]))
        until = NOW + draw(st.integers(-2 * 3600, 30 * 3600)) * SECOND
        raw["override"] = override(mode, until)
        if mode == "Warm":
            raw["override"]["replicas"] = draw(st.integers(1, 5))
    raw["suspend"] = draw(st.sampled_from([False] * 9 + [True]))
    return parse(raw)


def around_now(draw: st.DrawFn, hours: float = 3) -> datetime:
    return NOW + draw(st.integers(int(-hours * 3600), 60)) * SECOND


def perhaps(draw: st.DrawFn, hours: float = 3) -> datetime | None:
    return around_now(draw, hours) if draw(st.booleans()) else None


@st.composite
def memories(draw: st.DrawFn, spec: PoolSpec) -> Memory:
    """A memory as decisions leave it, with any of its optional parts."""
    phase = draw(st.sampled_from(Phase))
    native = phase in (Phase.WARM, Phase.WARMING) and draw(st.booleans())
    key = spec.override.key if spec.override and draw(st.booleans()) else ""
    openings = [
        Opening(w.name, w.start.replace(tzinfo=NOW.tzinfo)) for w in spec.windows if w.start
    ]
    return Memory(
        phase=phase,
        reason=draw(st.sampled_from(Reason)),
        since=around_now(draw),
        route=Route.NATIVE if native else Route.ACTIVATOR,
        epoch=draw(st.integers(1, 5)),
        acknowledged_at=perhaps(draw, 0.1),
        last_active=perhaps(draw),
        unknown_since=perhaps(draw),
        raised_at=perhaps(draw, 0.1),
        warm_ups=tuple(draw(st.lists(st.builds(WarmUp, st.floats(0, 900), st.integers(1, 5))))),
        trend=Trend(
            tuple((NOW - n * SECOND, draw(st.integers(0, 5))) for n in (4, 2)),
            tuple((NOW - n * SECOND, draw(st.integers(0, 5))) for n in (70, 30, 2)),
        )
        if draw(st.booleans())
        else Trend(),
        override_key=key,
        override_seen=around_now(draw, 25) if key else None,
        override_done=bool(key) and draw(st.booleans()),
        opening=draw(st.sampled_from([None, *openings])),
        lead=draw(st.integers(0, 3600)) * SECOND,
    )


@st.composite
def observations(draw: st.DrawFn, epoch: int) -> Observation:
    replicas = draw(st.integers(0, 12))
    ready = draw(st.integers(0, replicas))
    return Observation(
        replicas=replicas,
        ready=ready,
        pods=ready + draw(st.integers(0, 3)),
        acknowledged=draw(st.sampled_from([None, epoch - 1, epoch])),
        demand=Demand(
            in_flight=draw(st.sampled_from([0, 0, 1, 7])),
            held=draw(st.sampled_from([0, 0, 1, 50])),
            last_request=perhaps(draw),
            ticket=perhaps(draw),
            known=draw(st.booleans()),
        ),
    )


@st.composite
def situations(draw: st.DrawFn, **how: Any) -> tuple[PoolSpec, Observation, Memory]:
    spec = draw(specs(**how))
    memory = draw(st.one_of(st.just(Memory()), memories(spec)))
    return spec, draw(observations(max(memory.epoch, 1))), memory


# --- one decision ---


@examples(400)
@given(situations())
def test_every_decision_keeps_the_rules(
    situation: tuple[PoolSpec, Observation, Memory],
) -> None:
    """Never 0, never below the floor, never above the maximum, arrows, epochs, when to look."""
    spec, seen, memory = situation
    check_rules(spec, seen, memory, NOW, decide(spec, seen, memory, NOW))


@examples(400)
@given(situations(leads=("0s", "45s", "10m")))
def test_deciding_twice_at_the_same_moment_changes_nothing(
    situation: tuple[PoolSpec, Observation, Memory],
) -> None:
    spec, seen, memory = situation
    first = decide(spec, seen, memory, NOW)
    second = decide(spec, seen, first.memory, NOW)
    assert second.notes == ()
    assert (second.replicas, second.floor) == (first.replicas, first.floor)
    assert replace(second.memory, trend=Trend(), acknowledged_at=None) == replace(
        first.memory, trend=Trend(), acknowledged_at=None
    )


@examples(200)
@given(situations())
def test_a_suspended_pool_is_never_acted_on(
    situation: tuple[PoolSpec, Observation, Memory],
) -> None:
    spec, seen, memory = situation
    decision = decide(replace(spec, suspend=True), seen, memory, NOW)
    assert (decision.replicas, decision.sleep, decision.force) == (None, False, False)
    assert decision.notes == ()
    assert memory.since is None or decision.memory.phase is memory.phase


@examples(200)
@given(situations())
def test_a_pool_sleeps_only_acknowledged_settled_and_without_a_floor(
    situation: tuple[PoolSpec, Observation, Memory],
) -> None:
    spec, seen, memory = situation
    decision = decide(spec, seen, memory, NOW)
    if decision.sleep:
        assert decision.floor == 0
        assert seen.acknowledged is not None
        assert seen.acknowledged >= decision.memory.epoch
        assert decision.memory.acknowledged_at is not None
        assert decision.memory.acknowledged_at + spec.drain.route_settle <= NOW
        asleep = asleep_after(decision.memory, spec, NOW)
        assert (asleep.phase, asleep.route) == (Phase.SLEEPING, Route.ACTIVATOR)
        assert asleep.epoch == decision.memory.epoch


@examples(200)
@given(situations())
def test_nobody_is_left_alone_without_a_pod_or_the_activator(
    situation: tuple[PoolSpec, Observation, Memory],
) -> None:
    """The route moves to the pods only when one of them is Ready."""
    spec, seen, memory = situation
    decision = decide(spec, seen, memory, NOW)
    if decision.memory.route is Route.NATIVE and memory.since is not None:
        assert seen.ready > 0 or memory.route is Route.NATIVE


# --- walks ---


@st.composite
def days(draw: st.DrawFn) -> tuple[PoolSpec, list[int], list[int], float]:
    spec = replace(draw(specs()), suspend=False)
    requests = draw(st.lists(st.integers(9 * 3600, 15 * 3600), max_size=12))
    restarts = draw(st.lists(st.integers(9 * 3600, 15 * 3600), max_size=4))
    return spec, sorted(requests), sorted(restarts), draw(st.sampled_from([2, 20, 100]))


def floor_by_hand(spec: PoolSpec, now: datetime) -> int:
    """Highest of the windows open now, worked out for the shapes `windows` draws."""
    found = [0]
    for window in spec.windows:
        if window.start is not None and window.end is not None:
            naive = now.replace(tzinfo=None)
            found.append(window.replicas * (window.start <= naive < window.end))
        else:
            assert window.schedule is not None
            assert window.duration is not None
            past = (now.minute * 60 + now.second - int(window.schedule.split()[0]) * 60) % 3600
            found.append(window.replicas * (past < window.duration.total_seconds()))
    return max(found)


def is_asleep_by_override(spec: PoolSpec, now: datetime) -> bool:
    asked = spec.override
    return asked is not None and asked.mode.value == "Asleep" and now < asked.until


@examples(60)
@given(days(), st.booleans())
def test_a_day_of_windows_requests_and_restarts_keeps_its_promises(
    day: tuple[PoolSpec, list[int], list[int], float], lose_everything: bool
) -> None:
    """Every look is held against the rules by the walk itself; the rest is checked here."""
    spec, requests, restarts, ready_after = day
    w = walk(spec, t("09:00"), [MIDNIGHT + at * SECOND for at in requests], ready_after=ready_after)
    for at in restarts:
        w.until(MIDNIGHT + at * SECOND)
        w.restart((lambda _: Memory()) if lose_everything else kept_in_status)
    w.until(t("16:00"))
    for moment in w.log:
        if not is_asleep_by_override(spec, moment.at):
            assert moment.replicas >= floor_by_hand(spec, moment.at), moment
        assert moment.ready > 0 or moment.route is Route.ACTIVATOR
    for request in w.requests:
        assert request.begun is not None
        assert request.begun - request.at <= ready_after * SECOND


@examples(25)
@given(days())
def test_a_pool_that_nobody_needs_any_more_is_gone(
    day: tuple[PoolSpec, list[int], list[int], float],
) -> None:
    spec, requests, _, ready_after = day
    hourless = replace(spec, windows=tuple(w for w in spec.windows if w.start is not None))
    w = walk(
        hourless, t("09:00"), [MIDNIGHT + at * SECOND for at in requests], ready_after=ready_after
    )
    w.until(MIDNIGHT + 72 * HOUR)
    assert (w.phase, w.pods, w.replicas) == (Phase.ASLEEP, [], 0)


@examples(40)
@given(
    specs(leads=("0s", "45s", "10m")),
    st.sampled_from([0.7, 3, 11, 59, 240]),
    st.lists(st.integers(11 * 3600, 13 * 3600), min_size=1, max_size=8),
)
def test_the_floor_is_the_same_whatever_the_tick_rate(
    spec: PoolSpec, tick: float, samples: list[int]
) -> None:
    begin = t("10:59")
    event_driven = walk(spec, begin)
    ticking = walk(spec, begin, tick=tick, watched=False)
    for second in sorted(samples):
        now = MIDNIGHT + second * SECOND
        floors = []
        for w in (event_driven, ticking):
            w.until(now)
            assert w.last is not None
            floors.append(w.last.floor)
        assert floors[0] == floors[1], now


WINDOW = pool_spec(windows=[once("pitch", "10:00", "10:30", 2)])


def window_walk(ready_after: float) -> Walk:
    return walk(WINDOW, t("09:55"), ready_after=ready_after)


@examples(60)
@given(
    st.integers(int((t("09:58:52") - MIDNIGHT) / SECOND), int((t("10:30") - MIDNIGHT) / SECOND)),
    st.integers(0, 999),
    st.sampled_from(["kept", "lost"]),
    st.integers(0, 20),
)
def test_a_restart_at_any_moment_of_a_window_never_puts_the_pool_to_sleep_inside_it(
    second: int, millisecond: int, status: str, down: int
) -> None:
    at = MIDNIGHT + second * SECOND + timedelta(milliseconds=millisecond)
    w = window_walk(8).until(at)
    w.operator_up = False
    w.until(at + down * SECOND)
    w.restart(kept_in_status if status == "kept" else lambda _: Memory())
    w.until(t("10:40"))
    assert w.lowest(t("10:00"), t("10:29:59.999"), "ready") == 2
    assert w.told("WindowCold", "WindowLate") == []
    assert (w.replicas, w.pods) == (0, [])


def test_the_walks_day_is_the_day_the_windows_are_drawn_for() -> None:
    assert f"{MIDNIGHT:%Y-%m-%d}" == DAY
    assert NOW - MIDNIGHT == 12 * HOUR == 720 * MINUTE
