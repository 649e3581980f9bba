"""Pods that wait for nodes which join 90 s late: what is learned, and what is reported."""

from dataclasses import replace
from datetime import timedelta

import pytest

from kotatsu_operator.core.decide.decide import decide
from kotatsu_operator.core.plan.lead import decisive
from kotatsu_operator.core.pool.memory import Memory, Phase, Tally, WarmUp
from kotatsu_operator.core.pool.observation import Observation
from kotatsu_operator.core.pool.start import Parts, PodStart, Starting
from kotatsu_operator.core.report.conditions import pool_conditions
from tests.operator.core.values import SECOND, cron, once, pool_spec, t
from tests.operator.core.walk import walk

NODE, START = 90 * SECOND, 8 * SECOND
"""A machine of a cloud joins a minute and a half after a pod waits for it."""

EVERY_DAY = pool_spec(windows=[cron("0 10 * * *", "1h", 1)])


def openings(days: int, first_start: timedelta) -> Tally:
    """The results of one window a day; each night the pod's node is removed."""
    begun = Memory(first_start=first_start)
    late = (NODE + START).total_seconds()
    pool = walk(EVERY_DAY, t("09:00"), memory=begun, ready_after=late)
    return pool.until(t("09:00") + timedelta(days=days)).memory.windows


def test_from_the_second_window_on_a_hundred_of_a_hundred_are_ready_though_no_node_is_there():
    assert openings(101, first_start=60 * SECOND) == Tally(ready=100, cold=1, late=1)


def test_with_the_first_start_of_a_cluster_that_adds_nodes_the_first_is_ready_too():
    assert openings(100, first_start=240 * SECOND) == Tally(ready=100)


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
    told = replace(WARMING, no_node=True)
    ready = Observation(replicas=2, ready=2, pods=2, acknowledged=1)
    warm = decide(SPEC, ready, told, t("10:01")).memory
    assert (warm.phase, warm.no_node) == (Phase.WARM, False)


def test_a_long_message_of_the_scheduler_is_cut_so_that_the_event_is_accepted():
    seen = replace(WAITING, starting=Starting(None, 2, "x" * 5000))
    [note] = decide(SPEC, seen, WARMING, t("09:59:01")).notes
    assert len(note.message) < 1024


@pytest.mark.parametrize(("waiting", "said"), [(1, "1 pod finds"), (2, "2 pods find")])
def test_the_condition_says_how_many_wait_and_not_the_words_that_change(waiting: int, said: str):
    seen = replace(WAITING, starting=Starting(None, waiting, SAID))
    decision = decide(SPEC, seen, WARMING, t("09:59:01"))
    ready = pool_conditions(SPEC, seen, decision)[1]
    assert (ready["reason"], ready["status"]) == ("NoNode", "False")
    assert said in ready["message"]
    assert SAID not in ready["message"]


def test_a_warm_up_is_remembered_with_its_parts():
    last = PodStart(t("10:00:30"), t("10:00:31"), t("10:00:43"), t("10:00:47"))
    seen = Observation(replicas=2, ready=2, pods=2, acknowledged=1, starting=Starting(last))
    [took] = decide(SPEC, seen, WARMING, t("10:00:48")).memory.warm_ups
    assert took == WarmUp(108, 2, "", Parts(node=90, sandbox=1, pull=12, start=5))


def test_the_decisive_warm_up_is_the_slow_one_of_the_template():
    ups = [WarmUp(10, 1, "a"), WarmUp(99, 1, "old"), WarmUp(30, 1, "a"), WarmUp(20, 1, "a")]
    assert decisive(ups, "a") == ups[2]
    assert decisive(ups, "new") == ups[1]
    assert decisive([], "a") is None
