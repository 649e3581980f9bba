"""Days of a pool that depends on others, or on which others depend (spec.dependsOn)."""

from dataclasses import replace
from datetime import timedelta

import pytest
from rows import each

from kotatsu_operator.core.decide.decide import decide
from kotatsu_operator.core.plan.plan import plan_at
from kotatsu_operator.core.pool.decision import UNORDERED, Observation, Order, order_of
from kotatsu_operator.core.pool.memory import Memory, Phase, Reason
from kotatsu_operator.core.report.conditions import pool_conditions
from tests.operator.core.values import SECOND, once, override, pool_spec, t
from tests.operator.core.walk import Walk, walk

QUICK = {"idleAfter": "30s"}
PITCH = once("pitch", "10:00", "11:00", 1)
AWAITS = Order(awaits="db")
NEEDED, LEAVING = Order(needed_by="web"), Order(needed_by="web", may_outlast=False)


def now_on(w: Walk, order: Order) -> Walk:
    """The phase of another pool has changed, so the operator looks."""
    w.order = order
    w.look()
    return w


# --- up ---


def test_a_window_starts_no_pod_before_what_it_depends_on_is_warm():
    spec = pool_spec(windows=[PITCH], lead="1m", dependsOn=["db"])
    w = walk(spec, t("09:50"), order=AWAITS).until(t("10:05"))
    assert (w.phase, w.replicas) == (Phase.WARMING, 0)
    now_on(w, UNORDERED)
    assert w.replicas == 1


def test_the_wait_is_no_part_of_the_warm_up():
    spec = pool_spec(windows=[PITCH], dependsOn=["db"])
    w = walk(spec, t("09:50"), order=AWAITS).until(t("10:05"))
    now_on(w, UNORDERED).until(t("10:06"))
    assert [up.seconds for up in w.memory.warm_ups] == [pytest.approx(8.0)]


def test_a_warm_up_that_an_activator_began_is_measured_too():
    w = walk(pool_spec(dependsOn=["db"]), t("09:50"), order=AWAITS, raises=False)
    w.ask(t("09:51")).until(t("09:51:10"))
    w.scale(1)
    now_on(w, UNORDERED).until(t("09:51:30"))
    assert [up.seconds for up in w.memory.warm_ups] == [pytest.approx(8.0)]


def test_a_learned_lead_includes_that_of_the_pools_before():
    spec, memory = pool_spec(windows=[PITCH], dependsOn=["db"]), Memory()
    alone = plan_at(spec, memory, t("09:00"))
    after = plan_at(spec, memory, t("09:00"), before=20 * SECOND)
    assert after.lead == alone.lead + 20 * SECOND
    written = replace(memory, lead=after.lead)
    assert plan_at(spec, written, t("09:00")).lead == after.lead
    fixed = replace(spec, lead=5 * SECOND)
    assert plan_at(fixed, memory, t("09:00"), before=20 * SECOND).lead == 5 * SECOND


def test_a_pool_is_woken_for_one_that_depends_on_it():
    w = walk(pool_spec(), t("09:50"))
    now_on(w, NEEDED).until(t("09:51"))
    assert (w.phase, w.memory.reason, w.replicas) == (Phase.WARM, Reason.DEMAND, 1)


BLOCKED = Order(awaits="db", blocked="is suspended")


def test_a_pool_that_nobody_starts_is_waited_for_for_a_minute():
    spec = pool_spec(windows=[PITCH], lead="2m", dependsOn=["db"])
    w = walk(spec, t("09:50"), order=BLOCKED).until(t("09:58:59"))
    assert (w.phase, w.replicas) == (Phase.WARMING, 0)
    w.until(t("10:05"))
    assert (w.phase, w.reached(1, after=t("09:50"))) == (Phase.WARM, t("09:59"))
    assert [up.seconds for up in w.memory.warm_ups] == [pytest.approx(8.0)]


def test_what_a_pool_waits_for_and_starts_without_is_said_by_ready():
    spec = pool_spec(windows=[PITCH])
    waits = Memory(phase=Phase.WARMING, since=t("10:00"))
    seen = Observation(replicas=0, ready=0, pods=0, acknowledged=1, order=BLOCKED)

    def ready(**later):
        now = replace(seen, **later)
        decision = decide(spec, now, waits, t("10:00:30"))
        return pool_conditions(spec, now, decision)[1]

    said = [ready(), ready(replicas=1), ready(replicas=1, ready=1)]
    assert [one["reason"] for one in said] == ["AwaitsDependency", "Warming", "Warm"]
    lacks = "; WarmPool db, on which it depends, is suspended and has no Ready pod"
    assert all(one["message"].endswith(lacks) for one in said)
    assert "once WarmPool db is Warm, on which it depends, or 1m after" in said[0]["message"]


# --- down ---


def test_a_pool_stays_while_one_that_depends_on_it_is_not_asleep():
    w = walk(pool_spec(**QUICK), t("09:50"), order=NEEDED).until(t("10:50"))
    assert w.phase is Phase.WARM
    now_on(w, LEAVING).until(t("10:51"))
    assert w.phase is Phase.WARM
    now_on(w, UNORDERED).until(t("10:52"))
    assert w.phase is Phase.ASLEEP


def test_a_sleep_that_somebody_asks_for_waits_for_a_pool_on_its_way_down():
    w = walk(pool_spec(), t("09:50"), order=NEEDED).until(t("10:00"))
    w.edit(pool_spec(override=override("Asleep", t("12:00"))))
    now_on(w, LEAVING).until(t("10:10"))
    assert (w.phase, w.replicas) == (Phase.DRAINING, 1)
    now_on(w, UNORDERED).until(t("10:11"))
    assert w.phase is Phase.ASLEEP


def test_a_pool_that_stays_awake_delays_such_a_sleep_by_the_drain_timeout():
    w = walk(pool_spec(), t("09:50"), order=NEEDED).until(t("10:00"))
    w.edit(pool_spec(override=override("Asleep", t("12:00")))).until(t("10:00:59"))
    assert w.replicas == 1
    w.until(t("10:05"))
    assert w.phase is Phase.ASLEEP


# --- reading the others ---


def other(name: str, phase: str, **status: object) -> dict:
    return {"metadata": {"name": name}, "spec": {}, "status": {"phase": phase, **status}}


@each(
    "phase, awaited",
    [("Asleep", "db"), ("Warming", "db"), ("Warm", ""), ("Parked", ""), ("Draining", "db")],
)
def test_a_pool_waits_until_the_others_are_warm_or_parked(phase, awaited):
    assert order_of([other("db", phase)], []).awaits == awaited


def waits_for(*pools: dict) -> tuple[str, str]:
    order = order_of(pools, [])
    return order.awaits, order.blocked


REFUSED = {"conditions": [
    {"type": "Accepted", "status": "False", "reason": "ServiceNotFound"}
]}  # fmt: skip


@each("left, why", [
    ({"suspend": True}, "is suspended"),
    (REFUSED, "is refused"),
    ({"reason": "Override"}, "has an override Asleep"),
    ({"reason": "Budget"}, "has spent its budget"),
])  # fmt: skip
def test_of_a_pool_that_the_operator_leaves_alone_ready_pods_count(left, why):
    spec = {"suspend": True} if "suspend" in left else {}
    status = {k: v for k, v in left.items() if k != "suspend"}

    def order(phase, replicas, ready):
        db = other("db", phase, desiredReplicas=replicas, readyReplicas=ready, **status)
        return waits_for(db | {"spec": spec})

    for phase in ("Asleep", "Draining"):
        assert order(phase, 1, 1) == ("", "")
        assert order(phase, 1, 0) == ("db", "")
        assert order(phase, 0, 0) == ("db", why)


def test_a_suspended_pool_whose_pods_are_gone_is_not_ready_whatever_its_phase():
    db = other("db", "Warm") | {"spec": {"suspend": True}}
    assert waits_for(db) == ("db", "is suspended")


def test_one_that_starts_is_waited_for_before_one_that_does_not():
    db, cache = other("db", "Asleep", reason="Override"), other("cache", "Warming")
    assert waits_for(db, cache) == ("cache", "")


def test_a_suspended_pool_keeps_no_other_awake_and_a_refused_one_if_it_has_pods():
    suspended = other("web", "Warm", desiredReplicas=1) | {"spec": {"suspend": True}}
    assert order_of([], [suspended]).needed_by == ""
    assert order_of([], [other("web", "Warm", **REFUSED)]).needed_by == ""
    runs = other("web", "Warm", desiredReplicas=1, **REFUSED)
    assert order_of([], [runs]).needed_by == "web"


def test_the_order_names_who_needs_a_pool_and_whether_that_one_stays():
    pools = [other("a", "Asleep"), other("b", "Sleeping")]
    assert order_of([], pools) == Order(needed_by="b", may_outlast=False)
    assert order_of([], [*pools, other("c", "Warm")]) == Order(needed_by="b", may_outlast=True)
    assert order_of([], [other("a", "Asleep")]).needed_by == ""


def test_the_lead_before_is_the_longest_of_the_others():
    pools = [other("a", "Warm", lead="20s"), other("b", "Warm", lead="1m"), other("c", "Warm")]
    assert order_of(pools, []).lead == timedelta(minutes=1)
