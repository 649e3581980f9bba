"""A target gets back what it had, only ever from 0, however often it takes."""

import asyncio
import logging
from dataclasses import replace

import pytest

from kotatsu_operator.controller import restore as restore_module
from kotatsu_operator.controller.deployment import RESTORES
from kotatsu_operator.controller.restore import restore
from kotatsu_operator.controller.target import owed_to
from kotatsu_operator.core.pool.spec import OnDelete
from kotatsu_operator.core.report.record import Entry
from kotatsu_operator.kube.errors import ConflictError
from tests.operator.cluster import NAMESPACE, FakeKube, deployment, eventually

pytestmark = pytest.mark.timeout(60)

ENTRY = Entry("voice", "Deployment", "voice", OnDelete.RESTORE, {"restoreReplicas": 3})


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(restore_module, "_PAUSE", 0.001)


def replicas(kube):
    return kube.stored("Deployment", "voice")["spec"]["replicas"]


@pytest.mark.parametrize("found", [3, 0])
async def test_a_sleeping_target_gets_the_replicas_that_its_pool_found(found):
    kube = FakeKube(deployment(replicas=0))
    assert await restore(kube, NAMESPACE, replace(ENTRY, owed={"restoreReplicas": found}))
    assert replicas(kube) == found


async def test_a_target_that_runs_is_left_as_it_is():
    kube = FakeKube(deployment(replicas=1))
    assert await restore(kube, NAMESPACE, ENTRY)
    assert replicas(kube) == 1


async def test_a_target_whose_status_changes_meanwhile_gets_its_replicas_all_the_same():
    kube = FakeKube(deployment(replicas=0))
    conflicts = iter(range(3))

    def conflict(*_):
        for _number in conflicts:
            raise ConflictError("modified")

    kube.on("put_scale", conflict)
    assert await restore(kube, NAMESPACE, ENTRY)
    assert replicas(kube) == 3


async def test_a_target_that_somebody_scales_meanwhile_is_left_to_them():
    kube = FakeKube(deployment(replicas=0))
    kube.on("put_scale", lambda *_: kube.edit("Deployment", "voice", spec={"replicas": 7}))
    assert await restore(kube, NAMESPACE, ENTRY)
    assert replicas(kube) == 7


async def test_an_api_server_that_is_away_is_waited_for():
    kube = FakeKube(deployment(replicas=0))
    kube.down = True
    restoring = asyncio.create_task(restore(kube, NAMESPACE, ENTRY))
    await eventually(lambda: len(kube.calls) > 2)
    kube.down = False
    assert await restoring
    assert replicas(kube) == 3


async def test_a_target_that_cannot_be_given_back_is_said_so(caplog):
    kube = FakeKube(deployment(replicas=0))
    kube.down = True
    assert not await restore(kube, NAMESPACE, ENTRY)
    assert [r.levelno for r in caplog.records][-1] == logging.ERROR


async def test_a_target_that_is_gone_too_is_not_missed():
    assert await restore(FakeKube(), NAMESPACE, ENTRY)


async def test_what_is_owed_is_all_given_back_even_if_one_part_cannot_be():
    owed = {"restoreReplicas": 3, "hpa": {"name": "voice", "minReplicas": 2}}
    entry = Entry("voice", "Deployment", "voice", OnDelete.RESTORE, owed)
    kube = FakeKube(deployment(replicas=0))
    kube.on("get", _away)
    assert not await restore(kube, NAMESPACE, entry)
    assert replicas(kube) == 3


def test_keeping_leaves_pods_as_they_are_but_no_floor_that_nobody_lifts():
    owed = {"restoreReplicas": 3, "hpa": {}, "knative": {}}
    entry = Entry("voice", "Deployment", "voice", OnDelete.KEEP, owed)
    assert list(owed_to(entry, RESTORES)) == ["hpa"]


def _away(*_):
    raise OSError("away")
