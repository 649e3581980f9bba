"""A pod template counts as unproven until all pods asked for have been Ready with it once."""

from dataclasses import replace

from rows import each

from kotatsu_operator.core.decide.decide import decide
from kotatsu_operator.core.plan.lead import MARGIN, auto_lead
from kotatsu_operator.core.pool.decision import Observation
from kotatsu_operator.core.pool.memory import (
    FIRST_START,
    Memory,
    Phase,
    Route,
    Routing,
    Template,
    WarmUp,
)
from tests.operator.core.values import MINUTE, SECOND, once, pool_spec, t

SPEC = pool_spec(windows=[once("pitch", "10:00", "12:00", 2)])
SETTLE = SPEC.platform.route_settle
ASLEEP = Memory(
    phase=Phase.ASLEEP,
    since=t("06:00"),
    route=Routing(Route.ACTIVATOR, 1),
    warm_ups=(WarmUp(10.0, 2, "old"),),
    template=Template("old", proven=True),
)
NOBODY = Observation(replicas=0, ready=0, pods=0, template="old")


def after(memory: Memory, at: str, **seen: object) -> Memory:
    return decide(SPEC, replace(NOBODY, **seen), memory, t(at)).memory


@each("asked_at, pods, updated, proven", [
    ("10:00", 2, 0, False), ("10:00", 2, 1, False), ("10:00", 2, 2, True),
    ("07:00", 1, 1, True),  # for a request
])  # fmt: skip
def test_it_is_proven_when_all_pods_asked_for_are_ready_with_it(asked_at, pods, updated, proven):
    before = after(ASLEEP, asked_at, template="new")
    seen = {"replicas": pods, "ready": pods, "pods": pods, "template": "new", "updated": updated}
    assert after(before, f"{asked_at}:59", **seen).template.proven is proven


def test_what_was_proven_stays_so_when_its_pods_are_gone():
    assert after(ASLEEP, "08:00").template.proven


def test_a_pool_seen_for_the_first_time_is_unproven():
    memory = decide(SPEC, NOBODY, Memory(), t("08:00")).memory
    assert (memory.template.hash, memory.template.proven) == ("old", False)


def test_what_was_learned_before_templates_were_known_is_of_the_one_in_force():
    before = replace(ASLEEP, template=Template(), warm_ups=(WarmUp(10.0, 2),))
    memory = after(before, "08:00")
    assert (memory.template.proven, memory.warm_ups) == (True, (WarmUp(10.0, 2, "old"),))


def test_a_quick_lead_is_not_believed_of_a_new_template():
    quick = [WarmUp(10.0, 2, "old")]
    assert auto_lead(quick, 2, SETTLE, "old") == 11 * SECOND + MARGIN + SETTLE
    assert auto_lead(quick, 2, SETTLE, "new") == FIRST_START + MARGIN + SETTLE


def test_a_slow_one_is_until_something_better_is_known():
    slow = [WarmUp(300.0, 2, "old")]
    assert auto_lead(slow, 2, SETTLE, "new") == auto_lead(slow, 2, SETTLE, "old") > 5 * MINUTE


def test_the_first_warm_up_of_a_new_template_ends_the_guessing():
    known = replace(ASLEEP, warm_ups=(WarmUp(300.0, 2, "old"),))
    warming = after(known, "09:57", template="new")
    assert warming.phase is Phase.WARMING
    seen = {"replicas": 2, "ready": 2, "pods": 2, "template": "new", "updated": 2}
    assert after(warming, "09:57:30", **seen).warm_ups == (WarmUp(30.0, 2, "new", window=True),)


def test_a_template_that_changes_while_pods_start_measures_neither():
    warming = after(ASLEEP, "10:00")
    assert warming.raised_at is not None
    seen = {"replicas": 2, "ready": 2, "pods": 4, "template": "new"}
    memory = after(warming, "10:00:20", **seen)
    assert memory.warm_ups == ASLEEP.warm_ups
    assert not memory.template.proven
