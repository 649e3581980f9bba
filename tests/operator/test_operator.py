"""What the operator does beside looking: give targets back, and sweep up after activators."""

import asyncio
import logging

import pytest
from prometheus_client import CollectorRegistry

from kotatsu_operator import operator as operator_module
from kotatsu_operator.kube import ConflictError
from kotatsu_operator.operator import Operator
from tests.operator.cluster import (
    VOICE,
    FakeKube,
    activator_pod,
    deployment,
    eventually,
    warm_pool,
)
from tests.operator.test_world import published

pytestmark = pytest.mark.timeout(20)


@pytest.fixture
async def make_operator(monkeypatch):
    monkeypatch.setattr(operator_module, "_RESTORE_PAUSE", 0.001)
    monkeypatch.setattr(operator_module, "SWEEP_SECONDS", 0.005)
    made = []

    def make(*objects):
        kube = FakeKube(*objects)
        made.append(Operator(kube, ["demo"], CollectorRegistry()))
        return made[-1], kube

    yield make
    for operator in made:
        await operator._http.aclose()


def slept(**spec):
    return warm_pool(status={"restoreReplicas": 3}, **spec)


def replicas(kube):
    return kube.stored("Deployment", "voice")["spec"]["replicas"]


# --- a deleted pool ---


async def test_a_sleeping_target_gets_its_replicas_back(make_operator):
    operator, kube = make_operator(deployment(replicas=0))
    await operator._restore(slept())
    assert replicas(kube) == 3


async def test_a_target_that_runs_is_left_as_it_is(make_operator):
    operator, kube = make_operator(deployment(replicas=1))
    await operator._restore(slept())
    assert replicas(kube) == 1


@pytest.mark.parametrize(
    "pool",
    [slept(onDelete="Keep"), warm_pool(), warm_pool(status={}), slept(timeZone="Mars/Base")],
    ids=["keep", "never slept", "no status", "not accepted"],
)
async def test_a_target_that_is_not_to_be_given_back_is_left_asleep(make_operator, pool):
    operator, kube = make_operator(deployment(replicas=0))
    await operator._restore(pool)
    assert kube.calls == []


async def test_a_target_that_another_pool_has_is_that_pools(make_operator):
    operator, kube = make_operator(deployment(replicas=0))
    other = warm_pool("other")
    other["spec"]["targetRef"]["name"] = "voice"
    operator.world.keep_pool(other)
    await operator._restore(slept())
    assert kube.calls == []


async def test_a_target_whose_status_changes_meanwhile_gets_its_replicas_all_the_same(
    make_operator,
):
    operator, kube = make_operator(deployment(replicas=0))
    conflicts = iter(range(3))

    def conflict(*_):
        for _number in conflicts:
            raise ConflictError("modified")

    kube.on("put_scale", conflict)
    await operator._restore(slept())
    assert replicas(kube) == 3


async def test_a_target_that_somebody_scales_meanwhile_is_left_to_them(make_operator):
    operator, kube = make_operator(deployment(replicas=0))
    kube.on("put_scale", lambda *_: kube.edit("Deployment", "voice", spec={"replicas": 7}))
    await operator._restore(slept())
    assert replicas(kube) == 7


async def test_an_api_server_that_is_away_is_waited_for(make_operator):
    operator, kube = make_operator(deployment(replicas=0))
    kube.down = True
    restoring = asyncio.create_task(operator._restore(slept()))
    await eventually(lambda: len(kube.calls) > 2)
    kube.down = False
    await restoring
    assert replicas(kube) == 3


async def test_a_target_that_cannot_be_given_back_is_said_so(make_operator, caplog):
    operator, kube = make_operator(deployment(replicas=0))
    kube.down = True
    await operator._restore(slept())
    assert [r.levelno for r in caplog.records][-1] == logging.ERROR


async def test_a_target_that_is_gone_too_is_not_missed(make_operator):
    operator, _ = make_operator()
    await operator._restore(slept())


# --- sweeping ---


@pytest.fixture
async def swept(make_operator):
    """An operator that sweeps all the time, with one live and one vanished activator."""
    slices = [published(name, 1) for name in ("activator-1", "activator-2")]
    operator, kube = make_operator(*slices)
    operator.world.keep_pool(warm_pool())
    operator.world.keep_pod(activator_pod("activator-1"))
    for obj in slices:
        operator.world.keep_slice(obj)
    yield operator, kube
    operator.sweeping.cancel()
    await asyncio.gather(operator.sweeping, return_exceptions=True)


def begin(operator):
    operator.sweeping = asyncio.create_task(operator._sweep())


async def test_the_slices_of_vanished_activators_are_removed(swept):
    operator, kube = swept
    begin(operator)
    await eventually(lambda: len(kube.all("EndpointSlice")) == 1)
    await asyncio.sleep(0.02)
    (left,) = kube.all("EndpointSlice")
    assert left["metadata"]["ownerReferences"][0]["name"] == "activator-1"


async def test_a_slice_that_cannot_be_removed_is_tried_again(swept):
    operator, kube = swept
    kube.down = True
    begin(operator)
    await eventually(lambda: len(kube.called("delete")) > 1)
    kube.down = False
    await eventually(lambda: len(kube.all("EndpointSlice")) == 1)


async def test_every_pool_is_looked_at_now_and_then_whatever_the_watches_say(swept):
    operator, _ = swept
    begin(operator)
    await eventually(lambda: VOICE in operator.planner._due)
