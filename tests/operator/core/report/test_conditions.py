"""The conditions that people read in a WarmPool's status."""

from dataclasses import replace
from datetime import timedelta

from rows import each

from kotatsu_operator.core.pool.decision import Decision, Observation
from kotatsu_operator.core.pool.memory import Memory, Phase
from kotatsu_operator.core.report.conditions import pool_conditions
from tests.operator.core.values import pool_spec, t

SPEC = pool_spec()
SEEN = Observation(replicas=2, ready=2, pods=2, acknowledged=1)


def conditions(phase, *, spec=SPEC, floor=0, **seen):
    decision = Decision(Memory(phase=phase, since=t("09:00")), None, t("10:00"), floor=floor)
    found = pool_conditions(spec, replace(SEEN, **seen), decision)
    return {c["type"]: (c["status"], c["reason"]) for c in found}


@each("phase, seen, ready, warm", [
    (Phase.ASLEEP, {"ready": 0}, ("True", "Asleep"), ("False", "Asleep")),
    (Phase.SLEEPING, {"ready": 2}, ("True", "Asleep"), ("False", "Sleeping")),
    (Phase.WARMING, {"ready": 0}, ("False", "Warming"), ("False", "Warming")),
    (Phase.WARM, {"ready": 2}, ("True", "Warm"), ("True", "Warm")),
    (Phase.WARM, {"ready": 0}, ("True", "Warm"), ("False", "PodsNotReady")),
    (Phase.DRAINING, {"ready": 2}, ("True", "Draining"), ("False", "Draining")),
])  # fmt: skip
def test_a_pool_is_ready_when_a_request_will_be_answered_also_while_asleep(
    phase, seen, ready, warm
):
    found = conditions(phase, **seen)
    assert (found["Ready"], found["Warm"]) == (ready, warm)
    assert found["Accepted"] == ("True", "Accepted")


@each("phase, ready", [
    (Phase.ASLEEP, ("False", "NoActivator")),
    (Phase.SLEEPING, ("False", "NoActivator")),
    (Phase.DRAINING, ("True", "KeptAwake")),
    (Phase.WARM, ("True", "Warm")),
    (Phase.WARMING, ("False", "Warming")),
])  # fmt: skip
def test_without_an_activator_a_sleeping_pool_is_not_ready(phase, ready):
    assert conditions(phase, acknowledged=None)["Ready"] == ready


@each("kind, how, said", {
    "catching up after an outage of the API server": (
        "Ready", {"phase": Phase.DRAINING, "catching_up": timedelta(seconds=90)},
        ("True", "CatchingUp")),
    "a part of the floor": ("Warm", {"floor": 3, "ready": 2}, ("False", "PodsNotReady")),
    "the whole floor": ("Warm", {"floor": 2, "ready": 2}, ("True", "Warm")),
    "suspended": ("Accepted", {"spec": pool_spec(suspend=True)}, ("True", "Suspended")),
})  # fmt: skip
def test_a_condition_says_why(kind, how, said):
    assert conditions(**{"phase": Phase.WARM} | how)[kind] == said
