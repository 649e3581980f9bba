"""Days with windows: warm before they open, warm until they close, asleep after."""

from itertools import pairwise
from typing import Any

from rows import each

from kotatsu_operator.core.pool.memory import Phase, Reason, Route, Tally, WarmUp
from kotatsu_operator.core.pool.spec import PoolSpec
from tests.operator.core.values import HOUR, MINUTE, SECOND, cron, once, override, pool_spec, t
from tests.operator.core.walk import walk

PITCH = once("pitch", "10:00", "12:00", 2)
AUTO_START = 68 * SECOND  # nothing learned: 60 s, 3 s margin, 5 s for the route to settle


def pool(*windows: dict[str, Any], **fields: Any) -> PoolSpec:
    return pool_spec(windows=list(windows), **fields)


# --- one window ---


def test_a_window_is_warm_from_its_first_second_to_its_last_and_the_pool_asleep_after_it():
    w = walk(pool(PITCH), t("08:00")).until(t("11:59:59"))
    assert w.times(Phase.WARMING) == [t("10:00") - AUTO_START]
    assert w.times(Phase.WARM) == [t("10:00") - AUTO_START + 8 * SECOND]
    assert w.lowest(t("10:00"), t("11:59:59"), "ready") == 2
    assert (w.phase, w.memory.reason) == (Phase.WARM, Reason.WINDOW)
    assert w.memory.route.target is Route.NATIVE
    w.until(t("13:00"))
    assert w.times(Phase.DRAINING) == [t("12:00")]
    assert w.reached(0, after=t("12:00")) <= t("12:00") + 5 * SECOND + 2 * SECOND
    assert (w.phase, w.pods, w.memory.route.target) == (Phase.ASLEEP, [], Route.ACTIVATOR)
    assert w.told() == ["Warming", "Warm", "Draining", "Asleep"]


def test_a_window_that_ends_while_it_is_used_keeps_the_pool_for_idle_after():
    w = walk(pool(PITCH), t("08:00"), [t("11:59:50")]).until(t("12:10"))
    asleep = w.reached(0, after=t("12:00"))
    assert asleep == t("11:59:50.2") + 2 * MINUTE
    assert w.lowest(t("12:00"), asleep - SECOND) >= 1


@each("between", {"alone": [], "with another in between": [cron("0 22 26 * *", "1h", 1)]})
def test_a_lead_of_a_day_starts_the_pods_a_day_early(between):
    window = {**PITCH, "start": "2026-11-27T08:30", "end": "2026-11-27T09:00", "replicas": 5}
    w = walk(pool(window, *between, lead="24h"), t("08:00") + 23 * HOUR)
    w.until(t("09:00") + 24 * HOUR)
    assert w.reached(5, after=t("08:00")) == t("08:30") + 24 * HOUR


# --- several windows ---


@each("first, second", [(2, 2), (2, 5), (5, 2)])
def test_adjacent_windows_do_not_flutter(first, second):
    a, b = once("a", "10:00", "11:00", first), once("b", "11:00", "12:00", second)
    w = walk(pool(a, b), t("09:00")).until(t("12:30"))
    scales = [m.replicas for m in w.log if t("10:00") <= m.at < t("12:00")]
    changes = sum(x != y for x, y in pairwise(scales))
    assert changes == (first != second)
    assert w.lowest(t("10:00"), t("10:59:59"), "ready") == first
    assert w.lowest(t("11:00"), t("11:59:59"), "ready") == second
    assert w.told("Draining") == ["Draining"]
    assert w.told("WindowCold", "WindowLate") == []


def test_a_gap_shorter_than_the_lead_does_not_put_the_pool_to_sleep():
    a, b = once("a", "10:00", "11:00"), once("b", "11:00:30", "12:00")
    w = walk(pool(a, b, lead="1m"), t("09:00")).until(t("12:30"))
    assert w.lowest(t("10:00"), t("11:59:59"), "ready") == 2
    assert w.times(Phase.DRAINING) == [t("12:00")]


# --- punctuality ---


NEAR = [once("a", "10:00", "12:00", 2), once("b", "10:05", "12:00", 2)]


@each("spec, takes, name, late", {
    "alone": (pool(PITCH), 90, "pitch", 22),
    "though the next one is being warmed for already": (
        pool(*NEAR, lead="10m"), 630, "a", 30),
})  # fmt: skip
def test_a_late_warm_up_is_told_once_when_it_opens_cold_and_once_when_it_is_ready(
    spec, takes, name, late
):
    w = walk(spec, t("08:00"), ready_after=takes).until(t("12:30"))
    told = [n for m in w.log for n in m.notes if n.reason in ("WindowCold", "WindowLate")]
    assert [n.message for n in told] == [
        f"window {name} opened before all replicas were Ready",
        f"window {name} was Ready {late} s late",
    ]
    assert all(n.warning for n in told)


def test_a_missed_minute_does_not_skip_the_window():
    w = walk(pool(PITCH), t("08:00")).until(t("09:50")).restart(back=t("10:10")).until(t("12:30"))
    assert w.times(Phase.WARM) == [t("10:10:08")]
    assert w.told("WindowCold", "WindowLate") == ["WindowCold", "WindowLate"]


def test_a_window_whose_late_pods_are_ready_when_the_operator_is_back_counts_as_cold_too():
    w = walk(pool(PITCH), t("08:00"), ready_after=90).until(t("09:59:55"))
    w.restart(back=t("10:10")).until(t("12:30"))
    assert w.told("WindowCold", "WindowLate") == ["WindowCold", "WindowLate"]
    assert w.memory.windows == Tally(cold=1, late=1)


@each(
    "why, start, windows, lead",
    [
        ("Ready in the opening second", "08:00", [PITCH], "8s"),
        ("made in the middle of its window", "11:00", [PITCH], None),
        ("a newer window has closed", "09:00", [once("long", "10:00", "14:00", 2),
                                                once("peak", "11:00", "12:00", 5)], None),
        ("one that opened with it has closed", "09:00", [once("a", "10:00", "10:30", 1),
                                                         once("b", "10:00", "12:00", 1)], None),
    ],
)  # fmt: skip
def test_a_window_is_not_late(why, start, windows, lead):
    w = walk(pool(*windows, lead=lead), t(start)).until(t("14:30"))
    assert w.told("WindowCold", "WindowLate") == [], why
    assert w.times(Phase.WARM)[0] <= t("11:00:08")


def test_a_small_window_is_not_cold_because_a_bigger_one_is_being_warmed_for():
    a, b = once("a", "10:00", "12:00", 1), once("b", "10:01", "12:00", 5)
    w = walk(pool(a, b, lead="40m"), t("09:00"), ready_after=120).until(t("09:21:01"))
    assert w.replicas == 5
    for pod in w.pods[1:]:
        pod.ready_at = t("10:00:30")
    w.until(t("12:30"))
    assert w.told("WindowCold", "WindowLate") == []


def test_a_window_told_cold_stays_so_through_an_override_and_is_told_late_after_it():
    w = walk(pool(PITCH), t("08:00"), ready_after=600).until(t("10:01"))
    w.edit(pool(PITCH, override=override("Asleep", t("10:30")))).until(t("10:20"))
    assert (w.memory.opening.cold, w.memory.opening.ready_at) == (True, None)
    w.until(t("11:00"))
    assert w.told("WindowCold", "WindowLate") == ["WindowCold", "WindowLate"]


def test_how_early_each_of_two_windows_was_ready_is_not_rewritten_by_later_looks():
    opening = walk(pool(*NEAR, lead="10m"), t("09:00")).until(t("10:04")).memory.opening
    assert (opening.window, opening.early) == ("b", 10 * MINUTE)


EARLY = {"lead": "10m"}
NINE = once("a", "09:00", "12:00", 2)
TOO_SOON = {**PITCH, "start": "2026-11-25T09:51:30"}
LATER_AND_MORE = {**PITCH, "start": "2026-11-25T10:30", "replicas": 5}


@each("why, before, takes, at, after, is_late, counted", [
    ("it opens too soon now", pool(PITCH, **EARLY), 120, "09:51", pool(TOO_SOON, **EARLY),
     False, Tally()),
    ("another is deleted while it is warmed for", pool(NINE, once("b", "10:00", "12:00", 5),
     **EARLY), 8, "09:55", pool(NINE, **EARLY), False, None),
    ("an open one has more pods now", pool(PITCH), 8, "11:00", pool(LATER_AND_MORE),
     False, Tally(ready=1)),
    ("it is added seconds before", pool(), 8, "09:59:55", pool(PITCH), False, Tally()),
    ("it gets more pods while it is warmed for", pool(PITCH), 62, "09:59:55",
     pool({**PITCH, "replicas": 3}), False, None),
    ("something else is edited", pool(PITCH), 90, "09:59:55",
     pool(PITCH, maxReplicas=9), True, Tally(cold=1, late=1)),
    ("it is added well before", pool(), 90, "09:00", pool(PITCH), True, Tally(cold=1, late=1)),
    ("it is resumed after it has opened", pool(PITCH, suspend=True), 8, "10:30", pool(PITCH),
     False, Tally()),
])  # fmt: skip
def test_an_edit_excuses_only_what_could_not_be_prepared(
    why, before, takes, at, after, is_late, counted
):
    w = walk(before, t("08:00"), ready_after=takes).until(t(at)).edit(after).until(t("12:30"))
    assert w.told("WindowCold", "WindowLate") == ["WindowCold", "WindowLate"] * is_late, why
    assert counted in (None, w.memory.windows), why


def test_an_edit_while_the_operator_is_away_is_excused_when_it_is_back():
    w = walk(pool(PITCH), t("08:00")).until(t("11:00"))
    w.operator_up = False
    w.edit(pool({**PITCH, "start": "2026-11-25T11:01", "replicas": 5}))
    w.restart(back=t("11:05")).until(t("12:30"))
    assert w.told("WindowCold", "WindowLate") == []


def test_openings_are_counted_by_how_punctual_they_were():
    """After a slow warm-up the next one begins earlier, and its window is punctual."""
    day = pool(PITCH, once("later", "15:00", "16:00", 2), once("last", "18:00", "19:00", 2))
    w = walk(day, t("08:00"), ready_after=200).until(t("16:30"))
    assert w.memory.windows == Tally(ready=1, cold=1, late=1)
    w.ready_after = 4000
    w.until(t("20:00"))
    assert w.memory.windows == Tally(ready=1, cold=2, late=1)


# --- pacing ---


def test_a_pool_whose_turn_is_early_keeps_its_whole_lead_after_it():
    w = walk(pool(PITCH), t("08:00"), ahead=lambda _: 40 * SECOND).until(t("12:30"))
    assert w.times(Phase.WARMING) == [t("10:00") - AUTO_START - 40 * SECOND]
    assert w.memory.windows == Tally(ready=1)


@each("lead", [None, "1m"])
def test_a_turn_that_becomes_later_does_not_call_a_warm_up_off(lead):
    turn = t("10:00") - 100 * SECOND
    early = lambda now: 300 * SECOND if now < turn else 0 * SECOND  # noqa: E731
    w = walk(pool(PITCH, lead=lead), t("08:00"), ahead=early).until(turn)
    w.restart().until(t("12:30"))
    assert len(w.times(Phase.WARMING)) == 1
    assert w.lowest(turn, t("11:59:59"), "ready") == 2
    assert w.memory.ahead == 0 * SECOND


def test_a_request_never_waits_for_its_turn():
    w = walk(pool(PITCH), t("08:00"), [t("08:30")], ahead=lambda _: HOUR).until(t("08:31"))
    assert w.times(Phase.WARMING) == [t("08:30")]


def test_an_override_that_kept_the_pool_asleep_leaves_the_window_unpunished():
    asleep = override("Asleep", t("10:30"))
    w = walk(pool(PITCH, override=asleep), t("08:00")).until(t("12:30"))
    assert w.times(Phase.WARM) == [t("10:30:08")]
    assert w.told("WindowCold", "WindowLate") == []


@each("down", [0, 3, 30, 600])
def test_an_operator_that_is_away_while_its_window_ends_lets_it_sleep_afterwards(down):
    w = walk(pool(PITCH), t("08:00")).until(t("11:59:58"))
    back = w.now + down * SECOND
    w.restart(back=back).until(t("12:30"))
    assert w.reached(0, after=t("12:00")) <= max(t("12:00"), back) + 7 * SECOND


def test_a_resumed_pool_is_no_longer_called_suspended():
    w = walk(pool(PITCH, suspend=True), t("08:00")).until(t("08:10")).edit(pool(PITCH))
    assert (w.phase, w.memory.reason) == (Phase.ASLEEP, Reason.IDLE)


# --- what is learned ---


def test_the_second_window_is_warmed_for_as_early_as_the_first_has_taught():
    """8 s measured, plus a tenth, rounded up: 9 s; with margin and settle time 17 s."""
    w = walk(pool(PITCH, once("later", "15:00", "16:00", 2)), t("08:00")).until(t("16:00"))
    assert w.times(Phase.WARMING) == [t("10:00") - AUTO_START, t("15:00") - 17 * SECOND]
    assert w.told("WindowCold") == []


def test_the_lead_does_not_shrink_while_a_window_is_being_warmed_for():
    """The first warm-up teaches 17 s when 60 s are left: the floor stays."""
    w = walk(pool(PITCH), t("08:00")).until(t("10:00"))
    floors = {m.floor for m in w.log if m.at >= t("10:00") - AUTO_START}
    assert floors == {2}
    assert w.memory.lead == 17 * SECOND


def test_pods_that_could_not_start_for_hours_do_not_start_all_later_windows_hours_early():
    day = pool(once("fair", "10:00", "14:00", 1), once("later", "20:00", "21:00", 1))
    w = walk(day, t("08:00"), ready_after=3 * 3600).until(t("18:59:59"))
    assert [u.seconds for u in w.memory.warm_ups] == [3 * 3600]
    assert (w.memory.lead, w.replicas) == (HOUR, 0)


def test_a_fixed_lead_that_is_corrected_counts_at_once():
    daily = cron("0 10 * * *", "1h")
    w = walk(pool(daily, lead="24h"), t("12:00")).until(t("12:10"))
    assert w.phase is Phase.WARM
    w.edit(pool(daily, lead="1m")).until(t("12:30"))
    assert w.replicas == 0


def test_many_small_windows_do_not_hide_the_replicas_of_a_big_one_from_the_lead():
    many = [once(f"small{n}", "15:00", "16:00", 2) for n in range(10)]
    big = once("zbig", "15:00", "16:00", 8)
    w = walk(pool(PITCH, *many, big), t("08:00")).until(t("15:00"))
    assert w.times(Phase.WARMING)[1] == t("15:00") - 26 * SECOND


def test_a_big_window_that_opens_just_after_a_small_one_is_warmed_for_in_time():
    small, big = once("small", "15:00", "16:00", 2), once("zbig", "15:00:10", "16:00", 8)
    w = walk(pool(PITCH, small, big), t("08:00")).until(t("15:01"))
    assert w.reached(8, after=t("14:00")) == t("15:00:10") - 26 * SECOND


def test_replicas_that_are_added_for_a_bigger_window_are_measured_too():
    w = walk(pool(PITCH, once("peak", "11:00", "11:30", 5)), t("08:00")).until(t("11:30"))
    assert w.memory.warm_ups == (WarmUp(8.0, 2, window=True), WarmUp(8.0, 5, window=True))


def test_a_pool_warmed_up_by_somebody_else_teaches_nothing():
    """The operator comes back to a pool that an activator woke: how long it took is not known."""
    w = walk(pool(), t("08:00"), [t("08:10")]).restart(back=t("08:10:30"))
    assert (w.phase, w.memory.route.target) == (Phase.WARM, Route.NATIVE)
    assert w.memory.warm_ups == ()


def test_a_window_each_minute_is_one_long_warmth():
    w = walk(pool(cron("* * * * *", "1m", 1)), t("08:00")).until(t("08:30"))
    assert w.lowest(t("08:01"), t("08:30")) == 1
    assert w.told() == ["Warming", "Warm"]
