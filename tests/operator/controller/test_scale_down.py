"""Steps 4 to 6 of the way down: whatever comes in between, nobody loses a pod by mistake."""

from dataclasses import replace

import pytest
from rows import each

from kotatsu_operator.controller.scale_down import ScaleDown, SleepStep
from kotatsu_operator.core.pool.decision import Demand
from kotatsu_operator.core.pool.memory import (
    Announced,
    Memory,
    Phase,
    Process,
    Reason,
    Route,
    Routing,
)
from kotatsu_operator.core.report.status import memory_status
from kotatsu_operator.core.schema import joined
from tests.operator.cluster import VOICE, FakeKube, deployment, warm_pool
from tests.operator.core.values import override, pool_spec, t

SPEC = pool_spec()
IDLE = Demand()
DRAINING = Memory(
    phase=Phase.DRAINING,
    reason=Reason.IDLE,
    since=t("10:00"),
    route=Routing(Route.ACTIVATOR, 4),
    last_active=t("09:58"),
    process=Process(acknowledged_at=t("10:00:01")),
)


class Attempted:
    """One attempt, with everything that may happen during it."""

    def __init__(self, replicas=2, **status):
        written = joined(memory_status(DRAINING, SPEC), status)
        self.kube = FakeKube(warm_pool(status=written), deployment(replicas=replicas))
        self.steps = []
        self.meanwhile = {}
        self.remembered, self.unwritable = [], False

    async def hook(self, key, step):
        assert key == VOICE
        self.steps.append(step)
        if step in self.meanwhile:
            self.meanwhile[step]()

    async def __call__(self, demand=IDLE, *, memory=DRAINING, spec=SPEC, generation=1, force=False):
        async def look():
            self.kube.calls.append(("look",))
            if "look" in self.meanwhile:
                self.meanwhile["look"]()
            return demand

        steps = ScaleDown(self.kube, VOICE, spec, lambda: t("10:00:06"), self.hook, self.remember)
        return await steps.attempt(memory, generation, look, force=force)

    async def remember(self, pool, replicas):
        self.remembered.append(
            (pool["metadata"]["name"], replicas, [c[0] for c in self.kube.calls])
        )
        if self.unwritable:
            raise OSError("away")

    def ticket(self):
        self.kube.edit("WarmPool", "voice", status={"demand": {"at": "2026-11-25T10:00:05Z"}})

    @property
    def replicas(self):
        return self.kube.stored("Deployment", "voice")["spec"]["replicas"]

    @property
    def phase(self):
        return self.kube.stored("WarmPool", "voice")["status"]["phase"]


@pytest.fixture
def attempt():
    return Attempted()


def stays_awake(attempt):
    """Nothing at all has been written."""
    return attempt.replicas == 2 and attempt.phase == "Draining" and not attempt.kube.writes


# --- when nothing comes in between ---


async def test_it_looks_announces_and_lowers_in_this_order(attempt):
    ended = await attempt()
    assert ended.asleep
    assert [call[0] for call in attempt.kube.calls] == [
        "get",
        "get_scale",
        "look",
        "patch_status",
        "put_scale",
    ]
    assert (attempt.phase, attempt.replicas) == ("Sleeping", 0)
    assert attempt.steps == list(SleepStep)


async def test_what_it_returns_is_what_it_has_written(attempt):
    ended = await attempt()
    assert ended.pool == attempt.kube.stored("WarmPool", "voice")
    assert (ended.memory.phase, ended.memory.since) == (Phase.SLEEPING, t("10:00:06"))
    assert ended.memory.route.epoch == 4


async def test_the_replicas_to_give_back_are_noted_the_first_time_only():
    attempt = Attempted(internal={"foundReplicas": 2})
    await attempt()
    assert attempt.kube.stored("WarmPool", "voice")["status"]["restoreReplicas"] == 2
    again = Attempted(replicas=1, restoreReplicas=5)
    await again()
    assert again.kube.stored("WarmPool", "voice")["status"]["restoreReplicas"] == 5


async def test_what_it_gives_back_is_written_down_before_anything_is_changed():
    attempt = Attempted(internal={"foundReplicas": 2})
    await attempt()
    assert attempt.remembered == [("voice", 2, ["get", "get_scale"])]
    again = Attempted(replicas=1, restoreReplicas=5)
    await again()
    assert again.remembered[0][1] == 5


async def test_what_could_not_be_written_down_does_not_sleep(attempt):
    attempt.unwritable = True
    with pytest.raises(OSError, match="away"):
        await attempt()
    assert stays_awake(attempt)


async def test_an_override_that_asked_for_it_is_carried_out(attempt):
    spec = pool_spec(override=override("Asleep", t("12:00")))
    ended = await attempt(spec=spec)
    assert ended.memory.override.done
    assert attempt.kube.stored("WarmPool", "voice")["status"]["internal"]["override"]["done"]


# --- what makes the decision stale before it looks ---


async def test_an_edited_spec_is_decided_on_anew(attempt):
    ended = await attempt(generation=0)
    assert (ended.asleep, ended.why) == (False, "the spec was edited")
    assert stays_awake(attempt)
    assert ("look",) not in attempt.kube.calls


@each(
    "status",
    [{"phase": "Warm"}, {"phase": "Sleeping"}, {"route": {"target": "Activator", "epoch": 5}}],
)
async def test_a_phase_or_route_that_somebody_else_has_moved_is_respected(status):
    attempt = Attempted(**status)
    ended = await attempt()
    assert (ended.asleep, ended.why) == (False, "another client has changed the phase")
    assert not attempt.kube.writes


async def test_a_request_that_the_decision_did_not_know_stops_it(attempt):
    attempt.ticket()
    ended = await attempt()
    assert (ended.asleep, ended.why) == (False, "a request was announced")
    assert stays_awake(attempt)
    assert ended.pool["status"]["demand"]


async def test_a_request_that_the_decision_did_know_does_not():
    attempt = Attempted(demand={"at": "2026-11-25T10:00:02Z"})
    assert (await attempt(memory=replace(DRAINING, announced=Announced(t("10:00:02"))))).asleep


@pytest.mark.parametrize("kind", ["WarmPool", "Deployment"])
async def test_a_pool_or_target_that_is_gone_is_left(attempt, kind):
    attempt.kube.remove(kind, "voice")
    ended = await attempt()
    assert not ended.asleep
    assert not attempt.kube.writes


# --- what it sees when it looks ---


@pytest.mark.parametrize(
    "demand", [Demand(in_flight=1), Demand(held=1), Demand(known=False), Demand(1, 1, known=False)]
)
async def test_requests_in_flight_or_held_or_unknown_keep_it_awake(attempt, demand):
    ended = await attempt(demand)
    assert (ended.asleep, ended.why) == (False, f"{demand.concurrency} requests in flight")
    assert stays_awake(attempt)


@pytest.mark.parametrize("demand", [Demand(in_flight=3), Demand(known=False)])
async def test_force_does_not_wait_for_them(attempt, demand):
    assert (await attempt(demand, force=True)).asleep
    assert attempt.replicas == 0


async def test_force_does_not_overrule_what_is_stale(attempt):
    attempt.ticket()
    assert not (await attempt(force=True)).asleep
    assert stays_awake(attempt)


# --- what comes between two steps ---

BEFORE_THE_ANNOUNCEMENT = ["look", SleepStep.BEFORE_ANNOUNCING]


@pytest.mark.parametrize("moment", BEFORE_THE_ANNOUNCEMENT)
@pytest.mark.parametrize("force", [False, True])
async def test_a_request_announced_after_the_reading_makes_the_announcement_fail(
    attempt, moment, force
):
    attempt.meanwhile[moment] = attempt.ticket
    ended = await attempt(force=force)
    assert (ended.asleep, ended.why) == (
        False,
        "a request was announced or the pool was edited meanwhile",
    )
    assert (attempt.replicas, attempt.phase) == (2, "Draining")
    assert attempt.kube.writes == ["patch_status"]


@pytest.mark.parametrize("moment", BEFORE_THE_ANNOUNCEMENT)
async def test_an_edit_of_the_pool_after_the_reading_makes_the_announcement_fail(attempt, moment):
    attempt.meanwhile[moment] = lambda: attempt.kube.edit("WarmPool", "voice", spec={"x": 1})
    assert not (await attempt()).asleep
    assert attempt.replicas == 2
    assert attempt.kube.called("put_scale") == []


async def test_a_pool_deleted_before_the_announcement_is_not_lowered(attempt):
    attempt.meanwhile["look"] = lambda: attempt.kube.remove("WarmPool", "voice")
    assert not (await attempt()).asleep
    assert attempt.kube.called("put_scale") == []


@pytest.mark.parametrize("moment", ["look", SleepStep.BEFORE_ANNOUNCING, SleepStep.BEFORE_LOWERING])
async def test_a_target_changed_after_the_reading_is_not_lowered(attempt, moment):
    """By a person, an autoscaler, a rollout: the pool is Sleeping with pods, which is seen."""
    attempt.meanwhile[moment] = lambda: attempt.kube.edit(
        "Deployment", "voice", spec={"replicas": 5}
    )
    ended = await attempt()
    assert not ended.asleep
    assert ended.why.startswith("the target changed")
    assert (attempt.replicas, attempt.phase) == (5, "Sleeping")
    assert (ended.memory.phase, ended.pool["status"]["phase"]) == (Phase.SLEEPING, "Sleeping")


async def test_a_target_deleted_after_the_reading_is_left(attempt):
    attempt.meanwhile["look"] = lambda: attempt.kube.remove("Deployment", "voice")
    ended = await attempt()
    assert not ended.asleep
    assert ended.memory.phase is Phase.SLEEPING


async def test_a_request_after_the_announcement_finds_the_sleeping_announced(attempt):
    """It waits for the next pod, or ends in the old one, which finishes what it has."""
    seen = []

    def request():
        seen.append(attempt.phase)
        attempt.ticket()

    attempt.meanwhile[SleepStep.BEFORE_LOWERING] = request
    assert (await attempt()).asleep
    assert seen == ["Sleeping"]


# --- an API server that goes away ---


async def test_an_announcement_that_gets_no_answer_lowers_nothing(attempt):
    def away():
        attempt.kube.down = True

    attempt.meanwhile[SleepStep.BEFORE_ANNOUNCING] = away
    with pytest.raises(OSError, match="away"):
        await attempt()
    assert attempt.kube.called("put_scale") == []
    assert attempt.replicas == 2


async def test_an_announcement_that_was_made_but_not_confirmed_lowers_nothing(attempt):
    def made_but_lost(name, status):
        attempt.kube.edit("WarmPool", "voice", status=status)
        raise TimeoutError

    attempt.kube.on("patch_status", made_but_lost)
    with pytest.raises(TimeoutError):
        await attempt()
    assert (attempt.phase, attempt.replicas) == ("Sleeping", 2)


async def test_a_workload_of_another_kind_is_lowered_by_its_own_scale():
    attempt = Attempted()
    obj = deployment(replicas=2) | {"kind": "StatefulSet"}
    attempt.kube = FakeKube(warm_pool(status=memory_status(DRAINING, SPEC)), obj)
    spec = pool_spec(targetRef={"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "voice"})
    assert (await attempt(spec=spec)).asleep
    assert attempt.kube.stored("StatefulSet", "voice")["spec"]["replicas"] == 0
