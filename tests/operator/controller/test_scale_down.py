"""Steps 4 to 6 of the way down: whatever comes in between, nobody loses a pod by mistake."""

from dataclasses import replace

import pytest
from rows import each

from kotatsu_operator.controller.scale_down import ScaleDown, SleepStep
from kotatsu_operator.core.pool.decision import Demand
from kotatsu_operator.core.pool.memory import Announced, Memory, Phase, Reason, Route, Routing
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

    async def remember(self, pool):
        before = [call[0] for call in self.kube.calls]
        self.remembered.append((pool["metadata"]["name"], before))
        if self.unwritable:
            raise OSError("away")

    def ticket(self):
        self.kube.edit("WarmPool", "voice", status={"demand": {"at": "2026-11-25T10:00:05Z"}})

    def edit(self):
        self.kube.edit("WarmPool", "voice", spec={"x": 1})

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
    done = [call[0] for call in attempt.kube.calls]
    assert done == ["get", "get_scale", "look", "patch_status", "put_scale"]
    assert (attempt.phase, attempt.replicas) == ("Sleeping", 0)
    assert attempt.steps == list(SleepStep)


async def test_what_it_returns_is_what_it_has_written(attempt):
    ended = await attempt()
    assert ended.pool == attempt.kube.stored("WarmPool", "voice")
    assert (ended.memory.phase, ended.memory.since) == (Phase.SLEEPING, t("10:00:06"))
    assert ended.memory.route.epoch == 4


async def test_the_target_is_recorded_once_before_anything_is_changed(attempt):
    await attempt()
    assert attempt.remembered == [("voice", ["get", "get_scale"])]


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


OTHERS = "another client has changed the phase"


@pytest.mark.parametrize("force", [False, True])
@each(
    "status, generation, why",
    [
        ({}, 0, "the spec was edited"),
        ({"phase": "Warm"}, 1, OTHERS),
        ({"phase": "Sleeping"}, 1, OTHERS),
        ({"route": {"target": "Activator", "epoch": 5}}, 1, OTHERS),
        ({"demand": {"at": "2026-11-25T10:00:05Z"}}, 1, "a request was announced"),
    ],
)
async def test_a_stale_decision_changes_nothing_and_says_why(status, generation, why, force):
    attempt = Attempted(**status)
    ended = await attempt(generation=generation, force=force)
    assert (ended.asleep, ended.why) == (False, why)
    assert ended.pool == attempt.kube.stored("WarmPool", "voice")
    assert [call[0] for call in attempt.kube.calls] == ["get", "get_scale"]


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


# --- what comes between two steps ---


@pytest.mark.parametrize("moment", ["look", SleepStep.BEFORE_ANNOUNCING])
@pytest.mark.parametrize("change", [Attempted.ticket, Attempted.edit])
@pytest.mark.parametrize("force", [False, True])
async def test_a_request_or_an_edit_after_the_reading_makes_the_announcement_fail(
    attempt, moment, change, force
):
    attempt.meanwhile[moment] = lambda: change(attempt)
    ended = await attempt(force=force)
    assert not ended.asleep
    assert ended.why == "a request was announced or the pool was edited meanwhile"
    assert (attempt.replicas, attempt.phase) == (2, "Draining")
    assert attempt.kube.writes == ["patch_status"]


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
    attempt.kube.on("patch_status", OSError("away"))
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
