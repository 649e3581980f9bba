"""A clock that stepped back: moments in the memory lie in the future, and nothing hangs on them."""

from dataclasses import replace
from datetime import timedelta

from rows import each

from kotatsu_operator.core.decide.decide import decide
from kotatsu_operator.core.pool.decision import Demand, Observation
from kotatsu_operator.core.pool.memory import KnownOverride, Memory, Phase, Route, Routing
from tests.operator.core.values import HOUR, SECOND, override, pool_spec, t

DRAINING = Memory(
    phase=Phase.DRAINING,
    since=t("11:00"),
    route=Routing(Route.ACTIVATOR, 3),
    last_active=t("10:58"),
)
RUNNING = Observation(replicas=1, ready=1, pods=1, acknowledged=3)


def test_a_drain_settles_from_now():
    memory = replace(DRAINING.here(acknowledged_at=t("11:00:01")), last_active=t("09:00"))
    first = decide(pool_spec(), RUNNING, memory, t("10:00"))
    assert (first.sleep, first.recheck) == (False, t("10:00:05"))
    assert decide(pool_spec(), RUNNING, first.memory, t("10:00:05")).sleep


def test_a_drain_timeout_counts_from_now():
    asked = pool_spec(override=override("Asleep", t("20:00")))
    busy = replace(RUNNING, demand=Demand(in_flight=1))
    memory = replace(DRAINING, override=KnownOverride(asked.override.key, t("11:00")))
    first = decide(asked, busy, memory, t("10:00"))
    assert not first.force
    assert decide(asked, busy, first.memory, t("10:01")).force


def test_the_silence_of_pods_counts_from_now():
    unknown = replace(RUNNING, demand=Demand(known=False))
    memory = replace(DRAINING, phase=Phase.WARM, route=Routing(), unknown_since=t("11:00"))
    first = decide(pool_spec(), unknown, memory, t("10:00")).memory
    held = decide(pool_spec(), unknown, first, t("10:29"))
    over = decide(pool_spec(), unknown, held.memory, t("10:30"))
    assert (held.memory.template.metered, over.memory.template.metered) == (None, False)


@each("step", [timedelta(seconds=1), HOUR, timedelta(days=400)])
def test_an_override_lasts_no_longer_than_24_hours_from_now(step):
    asked = pool_spec(override=override("Warm", t("10:00") + timedelta(days=1000)))
    memory = Memory(since=t("09:00"), override=KnownOverride(asked.override.key, t("10:00")))
    now = t("10:00") - step
    seen = Observation(replicas=0, ready=0, pods=0)
    first = decide(asked, seen, memory, now).memory
    assert decide(asked, seen, first, now + 24 * HOUR - SECOND).floor == 1
    assert decide(asked, seen, first, now + 24 * HOUR).floor == 0


def test_activity_never_lies_in_the_future():
    memory = replace(DRAINING, phase=Phase.WARM, last_active=t("11:00"))
    assert decide(pool_spec(), RUNNING, memory, t("10:00")).memory.last_active == t("10:00")
