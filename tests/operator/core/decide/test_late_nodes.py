"""Pods that wait for nodes which join 90 s late: what is learned, and what is reported."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from rows import each

from kotatsu_operator.core.decide.decide import decide
from kotatsu_operator.core.plan.activity import is_starting
from kotatsu_operator.core.plan.lead import KEEP, auto_lead, decisive, with_warm_up
from kotatsu_operator.core.pool.decision import Decision, Observation, PodStart, Starting
from kotatsu_operator.core.pool.memory import Memory, Parts, Phase, Tally, Template, WarmUp
from kotatsu_operator.core.pool.spec import PoolSpec
from kotatsu_operator.core.report.conditions import pool_conditions, target_conditions
from tests.operator.core.values import HOUR, SECOND, cron, once, pool_spec, t
from tests.operator.core.walk import Walk, walk

NODE, START = 90 * SECOND, 8 * SECOND
"""A machine of a cloud joins a minute and a half after a pod waits for it."""

EVERY_HOUR = cron("0 * * * *", "2m", 1)
BEGIN = t("09:30")


@pytest.mark.slow
@each("hours, first_start, results", {
    "from the second window on": (101, 60 * SECOND, Tally(ready=100, cold=1, late=1)),
    "and the first, with the first start of a cluster that adds nodes": (
        100, 240 * SECOND, Tally(ready=100)),
})  # fmt: skip
def test_a_hundred_of_a_hundred_windows_are_ready_though_no_node_is_there(
    hours, first_start, results
):
    """One window an hour; between two of them the pod's node is removed."""
    begun, late = Memory(first_start=first_start), (NODE + START).total_seconds()
    pool = walk(pool_spec(windows=[EVERY_HOUR]), BEGIN, memory=begun, ready_after=late)
    assert pool.until(BEGIN + hours * HOUR).memory.windows == results


@dataclass
class LateNodes(Walk):
    """A walk in a cluster that adds a node 90 s after a pod or a placeholder waits for it.

    The node is removed when nothing is on it.
    """

    joins_at: datetime | None = None
    placeholders: list[int] = field(default_factory=list)
    """Each number of pods for which capacity was held, when it changed."""

    def scale(self, replicas: int) -> None:
        if replicas > len(self.pods):
            joins_at = self.joins_at = self.joins_at or self.now + NODE
            self.ready_after = (max(joins_at - self.now, timedelta()) + START).total_seconds()
        super().scale(replicas)

    def _act(self, decision: Decision, seen: Observation) -> bool:
        settled = super()._act(decision, seen)
        held = self.memory.capacity
        if held != (self.placeholders or [0])[-1]:
            self.placeholders.append(held)
        if held and self.joins_at is None:
            self.joins_at = self.now + NODE
        if not held and not self.pods and not self.replicas:
            self.joins_at = None
        return settled


def after(hours: int, **fields: str) -> LateNodes:
    """A walk with so many windows."""
    pool = LateNodes(pool_spec(windows=[EVERY_HOUR], **fields), BEGIN)
    pool.until(BEGIN)
    pool.until(BEGIN + hours * HOUR)
    return pool


@pytest.mark.slow
def test_with_capacity_ahead_a_hundred_of_a_hundred_are_ready_from_the_first_on():
    assert after(100, capacityAhead="2m").memory.windows == Tally(ready=100)


def test_capacity_is_held_from_its_time_until_the_pods_are_ready_and_not_longer():
    pool = after(1, capacityAhead="2m")
    assert pool.placeholders == [1, 0]
    held = [m.at for m in pool.log if m.at < t("10:00")]
    assert t("10:00") - 68 * SECOND - 120 * SECOND in held, "it did not look when it was due"


def ahead(replicas: int = 5, **fields: object) -> PoolSpec:
    """A pool that asks for nodes ten minutes before its pods start, at 9:59."""
    pitch = once("pitch", "10:00", "12:00", replicas)
    return pool_spec(**{"windows": [pitch], "lead": "1m", "capacityAhead": "10m"} | fields)


def test_pods_that_are_there_need_no_capacity():
    at = t("09:57")
    warm = Memory(phase=Phase.WARM, since=t("09:00"), last_active=at)
    two = Observation(replicas=2, ready=2, pods=2, acknowledged=1)
    assert decide(ahead(), two, warm, at).memory.capacity == 3


@each("fields, held", [
    ({}, 5),
    ({"maxReplicas": 4}, 4),
    ({"suspend": True}, 0),
    ({"capacityAhead": None}, 0),
])  # fmt: skip
def test_capacity_ends_with_what_asks_for_it(fields, held):
    spec = pool_spec(
        **{"windows": [once("pitch", "10:00", "12:00", 5)], "lead": "1m", "capacityAhead": "10m"}
        | fields
    )
    asleep = Memory(since=t("09:00"), capacity=5)
    seen = Observation(replicas=0, ready=0, pods=0, acknowledged=1)
    assert decide(spec, seen, asleep, t("09:55")).memory.capacity == held


def test_an_evicted_placeholder_stays_away_while_the_pods_start():
    spec = pool_spec(windows=[once("pitch", "10:00", "12:00", 2)], lead="1m", capacityAhead="10m")
    held = replace(WARMING, capacity=2)
    decision = decide(spec, WAITING, held, t("09:59:30"))
    assert (decision.memory.capacity, decision.grows) == (2, False)


SPEC = pool_spec(windows=[once("pitch", "10:00", "12:00", 2)])
SAID = "0/3 nodes are available: 3 Insufficient cpu."
WAITING = Observation(replicas=2, ready=0, pods=0, acknowledged=1, starting=Starting(None, 2, SAID))
WARMING = Memory(phase=Phase.WARMING, since=t("09:59"), raised_at=t("09:59"))


def test_a_warm_up_that_finds_no_node_says_so_once_with_the_schedulers_words():
    first = decide(SPEC, WAITING, WARMING, t("09:59:01"))
    [note] = [n for n in first.notes if n.reason == "WarmUpUnschedulable"]
    assert note.warning
    assert note.message.startswith(f"2 of 2 pods find no node: {SAID}; ")
    again = decide(SPEC, WAITING, first.memory, t("09:59:02"))
    assert again.notes == ()


def test_the_next_warm_up_says_so_again():
    told = WARMING.here(told=("WarmUpUnschedulable",))
    ready = Observation(replicas=2, ready=2, pods=2, acknowledged=1)
    warm = decide(SPEC, ready, told, t("10:01")).memory
    assert (warm.phase, warm.process.told) == (Phase.WARM, ())


def test_a_long_message_of_the_scheduler_is_cut_so_that_the_event_is_accepted():
    seen = replace(WAITING, starting=Starting(None, 2, "x" * 5000))
    [note] = decide(SPEC, seen, WARMING, t("09:59:01")).notes
    assert len(note.message) < 1024


@pytest.mark.parametrize(("waiting", "said"), [(1, "1 pod finds"), (2, "2 pods find")])
def test_the_condition_says_how_many_wait_and_not_the_words_that_change(waiting, said):
    seen = replace(WAITING, starting=Starting(None, waiting, SAID))
    decision = decide(SPEC, seen, WARMING, t("09:59:01"))
    ready = pool_conditions(SPEC, seen, decision)[1]
    assert (ready["reason"], ready["status"]) == ("NoNode", "False")
    assert said in ready["message"]
    assert SAID not in ready["message"]


FAILING = "pod voice-1 cannot start: container app: ErrImagePull (not found)"
BROKEN = replace(WAITING, starting=Starting(failing=FAILING))


def test_a_pod_that_cannot_start_is_one_event_and_the_message_of_ready():
    first = decide(SPEC, BROKEN, WARMING, t("09:59:01"))
    assert [(n.reason, n.message, n.warning) for n in first.notes] == [
        ("PodsCannotStart", FAILING, True)
    ]
    # A container of a crash loop runs now and then.
    runs = decide(SPEC, replace(BROKEN, starting=Starting()), first.memory, t("09:59:02"))
    again = decide(SPEC, BROKEN, runs.memory, t("09:59:03"))
    assert (runs.notes, again.notes) == ((), ())
    ready = pool_conditions(SPEC, BROKEN, first)[1]
    found = ready["reason"], ready["status"], ready["message"]
    assert found == ("PodsCannotStart", "False", FAILING)


def test_pods_of_a_corrected_template_get_the_same_patience_as_the_first():
    memory = replace(WARMING, template=Template("broken"), last_active=t("09:59:01"))
    seen = replace(BROKEN, template="broken")
    memory = decide(SPEC, seen, memory, t("09:59:01")).memory
    assert not is_starting(memory)
    seen = replace(seen, template="corrected", starting=Starting())
    memory = decide(SPEC, seen, memory, t("09:59:05")).memory
    assert is_starting(memory)
    again = decide(SPEC, replace(BROKEN, template="corrected"), memory, t("09:59:20"))
    assert [n.reason for n in again.notes] == ["PodsCannotStart"]


def test_of_a_warm_pool_the_template_is_unproven_for_the_pods_own_reason():
    """A rollout to an image that does not exist leaves the old pods Ready."""
    seen = replace(BROKEN, ready=2, pods=3)
    decision = decide(SPEC, seen, replace(WARMING, phase=Phase.WARM), t("10:01"))
    found = {c["type"]: c for c in target_conditions(SPEC, seen, decision, t("10:01"))}
    assert found["Proven"]["status"] == "False"
    assert found["Proven"]["message"] == FAILING


@each("looked, seconds", [(None, 160), ("10:01:30", 160), ("10:05:07", 372)])
def test_when_no_operator_saw_the_pods_become_ready_the_kubelets_time_counts(looked, seconds):
    last = PodStart(t("09:59"), ready_at=t("10:01:39"))
    seen = Observation(replicas=2, ready=2, pods=2, acknowledged=1, starting=Starting(last))
    memory = WARMING.here(looked_at=looked and t(looked))
    [took] = decide(SPEC, seen, memory, t("10:05:12")).memory.warm_ups
    assert took.seconds == seconds


def test_a_warm_up_is_remembered_with_its_parts():
    last = PodStart(t("10:00:30"), t("10:00:31"), t("10:00:43"), t("10:00:47"))
    seen = Observation(replicas=2, ready=2, pods=2, acknowledged=1, starting=Starting(last))
    [took] = decide(SPEC, seen, WARMING, t("10:00:48")).memory.warm_ups
    assert took == WarmUp(108, 2, "", Parts(node=90, sandbox=1, pull=12, start=5), window=True)


def test_requests_that_find_nodes_by_day_do_not_shorten_the_lead_of_a_window_without_any():
    late = WarmUp((NODE + START).total_seconds(), 1, window=True)
    ups: tuple[WarmUp, ...] = (late,)
    for _ in range(3 * KEEP):
        ups = with_warm_up(ups, WarmUp(START.total_seconds(), 1))
    assert auto_lead(ups, 1, 5 * SECOND) > NODE + START
    assert decisive(ups, "") == late
    assert len(ups) == KEEP


def test_a_slow_window_is_forgotten_after_five_others():
    slow, usual = WarmUp(300, 1, window=True), WarmUp(10, 1, window=True)
    ups = with_warm_up((usual,) * (KEEP - 1), slow)
    leads = []
    for _ in range(5):
        leads.append(decisive(ups, ""))
        ups = with_warm_up(ups, usual)
    assert leads == [slow] * 5
    assert decisive(ups, "") == usual


def test_the_decisive_warm_up_is_the_slow_one_of_the_template():
    ups = [WarmUp(10, 1, "a"), WarmUp(99, 1, "old"), WarmUp(30, 1, "a"), WarmUp(20, 1, "a")]
    assert decisive(ups, "a") == ups[2]
    assert decisive(ups, "new") == ups[1]
    assert decisive([], "a") is None
