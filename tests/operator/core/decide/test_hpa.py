"""Sharing a target with a HorizontalPodAutoscaler: what minReplicas is, and who moves replicas."""

from dataclasses import replace

from rows import each

from kotatsu_operator.core.decide.decide import decide
from kotatsu_operator.core.objects import Autoscaler
from kotatsu_operator.core.pool.decision import Demand, Observation
from kotatsu_operator.core.pool.memory import Memory, Original, Phase, Route, Routing
from kotatsu_operator.core.pool.spec import PoolSpec
from tests.operator.core.values import once, override, pool_spec, t

HPA = Autoscaler("voice", min_replicas=2, max_replicas=6)
RAISED = replace(HPA, min_replicas=4, ours=True)
WAS, ZERO = Original("voice", 2), Original("voice", 0)
ASLEEP, WARM, DRAINING, SLEEPING = Phase.ASLEEP, Phase.WARM, Phase.DRAINING, Phase.SLEEPING


def window(replicas: int, **fields: object) -> PoolSpec:
    pitch = once("pitch", "10:00", "12:00", replicas)
    return pool_spec(windows=[pitch], lead="0s", **fields)


def decided(spec, phase, at, replicas, *, hpa=RAISED, original=WAS, demand=Demand()):  # noqa: B008
    route = Route.NATIVE if phase is WARM else Route.ACTIVATOR
    memory = Memory(
        phase=phase, since=t("08:00"), route=Routing(route, 1), last_active=t("08:00"),
        original=original,
    )  # fmt: skip
    seen = Observation(replicas=replicas, ready=replicas, pods=replicas, demand=demand)
    return decide(spec, replace(seen, autoscaler=hpa), memory, t(at))


@each("why, asked, phase, at, replicas, busy, minimum, scale", [
    ("a window raises both", 4, ASLEEP, "10:00", 0, 0, 4, 4),
    ("and the scale to the whole floor", 4, WARM, "11:00", 2, 0, 4, 4),
    ("demand above the floor is the autoscaler's work", 4, WARM, "11:00", 5, 50, 4, None),
    ("a floor below what it was lowers nothing", 1, WARM, "11:00", 4, 0, 2, None),
    ("after the window a busy pool has what it was", 4, WARM, "12:30", 4, 9, 2, None),
    ("before the window a busy pool is left to it", 4, WARM, "09:00", 3, 1, 2, None),
    ("a request wakes one pod", 4, ASLEEP, "09:00", 0, 1, 2, 1),
    ("no higher than its maximum", 9, WARM, "11:00", 5, 0, 6, 6),
    ("which is enough", 9, WARM, "11:00", 6, 0, 6, None),
    ("it is left while pods go", 4, DRAINING, "12:31", 4, 0, 4, None),
    ("and given back at 0", 4, SLEEPING, "12:31", 0, 0, 2, None),
])  # fmt: skip
def test_the_minimum_follows_the_floor_and_the_scale_only_goes_up_to_it(
    why, asked, phase, at, replicas, busy, minimum, scale
):
    hpa = HPA if phase is ASLEEP else RAISED
    demand = Demand(held=busy) if phase is ASLEEP else Demand(in_flight=busy)
    decision = decided(window(asked), phase, at, replicas, hpa=hpa, demand=demand)
    assert (decision.minimum, decision.replicas) == (minimum, scale), why
    assert decision.memory.original == WAS


@each(
    "phase, replicas, suspend, minimum",
    [(WARM, 1, False, 1), (SLEEPING, 0, False, 1), (WARM, 1, True, 0)],
)
def test_a_minimum_of_zero_neither_ends_nor_starts_the_pods_of_a_pool_and_is_given_back(
    phase, replicas, suspend, minimum
):
    spec = pool_spec(suspend=suspend)
    decision = decided(spec, phase, "08:01", replicas, hpa=replace(RAISED, min_replicas=1),
                       original=ZERO)  # fmt: skip
    assert (decision.minimum, decision.memory.original) == (minimum, ZERO)


@each("hpa, known, original", [
    (replace(HPA, min_replicas=0), None, ZERO),
    (replace(HPA, min_replicas=3), WAS, Original("voice", 3)),  # edited while it was raised
    (replace(HPA, name="new", ours=True), WAS, Original("new", 2)),
    (None, WAS, None),
])  # fmt: skip
def test_what_people_set_last_is_what_is_given_back(hpa, known, original):
    decision = decided(window(4), WARM, "11:00", 4, hpa=hpa, original=known)
    assert decision.memory.original == original
    assert (decision.minimum is None) == (hpa is None)


def test_a_suspended_pool_gives_it_back_and_moves_nothing():
    decision = decided(window(4, suspend=True), WARM, "11:00", 4)
    assert (decision.minimum, decision.replicas) == (2, None)


def test_a_floor_above_its_maximum_is_warm_with_what_there_can_be():
    spec = pool_spec(override=override("Warm", t("12:00"), replicas=9))
    decision = decided(spec, Phase.WARMING, "10:00", 6)
    assert (decision.floor, decision.memory.phase) == (9, WARM)
