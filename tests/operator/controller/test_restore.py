"""A target gets back what it had, only ever from 0, however often it takes; and its record."""

import asyncio
import json
import logging

import pytest
from rows import each

from kotatsu_operator.controller import restore as restore_module
from kotatsu_operator.controller.restore import Records, restore
from kotatsu_operator.core.report.record import Entry, parts_of
from kotatsu_operator.kube.client import EVERYWHERE
from kotatsu_operator.kube.errors import ConflictError
from tests.operator.cluster import (
    MINE,
    NAMESPACE,
    RECORD,
    FakeKube,
    config_map,
    deployment,
    forbidden,
    warm_pool,
)

pytestmark = pytest.mark.timeout(60)

ENTRY = Entry("demo", "voice", "Deployment", "voice", {"foundReplicas": 3})


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(restore_module, "_PAUSE", 0.001)


def slept(name="voice", **spec):
    return warm_pool(name, status={"foundReplicas": 3}, **spec)


def record(kube):
    data = kube.stored("ConfigMap", RECORD).get("data") or {}
    return {uid: json.loads(text)["foundReplicas"] for uid, text in data.items()}


def replicas(kube):
    return kube.stored("Deployment", "voice")["spec"]["replicas"]


def another(name="other", **how):
    pool = warm_pool(name, **how)
    pool["spec"]["targetRef"]["name"] = "voice"
    return pool


async def recorded(*objects):
    """A record in which a pool stands that is gone since."""
    kube = FakeKube(config_map(), *objects)
    await Records(kube, NAMESPACE).remember(slept())
    return kube


async def test_a_target_gets_its_replicas_however_many_tries_it_takes():
    kube = FakeKube(deployment(replicas=0))
    kube.on("get_scale", OSError("away"), times=3)
    assert await restore(kube, ENTRY)
    assert replicas(kube) == 3


async def test_a_target_that_cannot_be_given_back_is_said_so(caplog):
    kube = FakeKube(deployment(replicas=0))
    kube.down = True
    assert not await restore(kube, ENTRY)
    assert [r.levelno for r in caplog.records][-1] == logging.ERROR


# --- before a sleep ---


async def test_a_pool_is_written_down_beside_the_others():
    kube = await recorded()
    await Records(kube, NAMESPACE).remember(warm_pool("feed", status=MINE | {"foundReplicas": 2}))
    assert record(kube) == {"pool-voice": 3, "pool-feed": 2}


async def test_what_stands_there_already_costs_no_call():
    kube = FakeKube(config_map())
    records = Records(kube, NAMESPACE)
    await records.remember(slept())
    calls = len(kube.calls)
    await records.remember(slept())
    assert len(kube.calls) == calls


async def test_somebody_elses_write_in_between_is_kept():
    kube = FakeKube(config_map())
    theirs = {"theirs": '{"foundReplicas": 1}'}
    kube.on("replace", lambda *_: kube.edit("ConfigMap", RECORD, data=theirs), times=1)
    await Records(kube, NAMESPACE).remember(slept())
    assert record(kube) == {"theirs": 1, "pool-voice": 3}


async def test_a_part_of_the_record_is_created_when_there_is_something_to_record():
    kube = FakeKube()
    records = Records(kube, NAMESPACE)
    await records.settle([])
    assert kube.all("ConfigMap") == []
    await records.remember(slept())
    await records.remember(warm_pool("feed", status=MINE | {"foundReplicas": 2}))
    assert record(kube) == {"pool-voice": 3, "pool-feed": 2}


async def test_without_the_config_map_pools_sleep_all_the_same_and_it_is_said_once(caplog):
    kube = FakeKube()
    kube.on("apply", forbidden())
    records = Records(kube, NAMESPACE)
    await records.remember(slept())
    await records.remember(slept("feed"))
    (told,) = caplog.records
    assert RECORD in told.getMessage()


async def test_without_an_api_server_nothing_goes_to_sleep():
    kube = FakeKube(config_map())
    kube.down = True
    with pytest.raises(OSError, match="away"):
        await Records(kube, NAMESPACE).remember(slept())


# --- a pool deleted while we watched ---


async def test_a_deleted_pools_target_is_restored_and_struck_out():
    kube = await recorded(deployment(replicas=0))
    await Records(kube, NAMESPACE).gone(slept(), {})
    assert replicas(kube) == 3
    assert record(kube) == {}


async def test_a_pool_that_put_nothing_to_sleep_leaves_its_target_alone():
    kube = FakeKube(config_map(), deployment(replicas=0))
    await Records(kube, NAMESPACE).gone(warm_pool(), {})
    assert replicas(kube) == 0


async def test_a_target_that_another_pool_has_is_that_pools():
    other = another()
    kube = await recorded(deployment(replicas=0))
    other = kube.put(other)
    await Records(kube, NAMESPACE).gone(slept(), {(NAMESPACE, "other"): other})
    assert replicas(kube) == 0
    assert kube.stored("WarmPool", "other")["status"] == {"foundReplicas": 3}


# --- a pool deleted while nobody watched ---


async def test_a_pool_that_is_there_keeps_its_target_asleep():
    kube = await recorded(deployment(replicas=0), slept())
    pools = await Records(kube, NAMESPACE).settle()
    assert replicas(kube) == 0
    assert record(kube) == {"pool-voice": 3}
    assert [p["metadata"]["name"] for p in pools] == ["voice"]


async def test_pools_that_slept_before_there_was_a_record_are_written_down():
    kube = FakeKube(config_map(), slept())
    await Records(kube, NAMESPACE).settle()
    assert record(kube) == {"pool-voice": 3}


async def test_a_pool_made_anew_inherits_what_its_target_gets_back():
    kube = await recorded(deployment(replicas=0), warm_pool(uid="another", status=MINE))
    await Records(kube, NAMESPACE).settle()
    assert replicas(kube) == 0
    assert kube.stored("WarmPool", "voice")["status"] == MINE | {"foundReplicas": 3}
    assert record(kube) == {}
    await Records(kube, NAMESPACE).settle()
    assert record(kube) == {"another": 3}


async def test_an_heir_that_changes_meanwhile_inherits_the_next_time():
    kube = await recorded(deployment(replicas=0), another())
    kube.on("patch_status", ConflictError("modified"))
    await Records(kube, NAMESPACE).settle()
    assert record(kube) == {"pool-voice": 3}
    kube.on("patch_status", None)
    await Records(kube, NAMESPACE).settle()
    assert record(kube) == {}


async def test_a_target_that_cannot_be_restored_now_stays_written_down():
    kube = await recorded(deployment(replicas=0))
    kube.on("get_scale", OSError("away"))
    await Records(kube, NAMESPACE).settle()
    assert record(kube) == {"pool-voice": 3}


async def test_a_target_whose_pool_went_unseen_is_restored_once_and_struck_out():
    kube = await recorded(deployment(replicas=0))
    records = Records(kube, NAMESPACE)
    await records.settle()
    assert (replicas(kube), record(kube)) == (3, {})
    kube.edit("Deployment", "voice", spec={"replicas": 0})  # by somebody, on purpose
    await records.settle()
    assert replicas(kube) == 0


# --- a record that somebody has edited ---


@each(
    "entry",
    [
        {"target": {"kind": "Deployment", "name": "../../theirs/deployments/web"}},
        {"foundReplicas": "many"},
        {"hpa": {"name": "../../theirs/horizontalpodautoscalers/web", "minReplicas": 50}},
        {"hpa": {}},
        {"target": {"kind": "Service", "name": "voice"}, "knative": {"revisions": [{}]}},
    ],
    name=json.dumps,
)
async def test_nothing_is_asked_for_what_the_operator_did_not_write(entry):
    target = {"kind": "Deployment", "name": "voice"}
    told = {"pool": "x", "target": target, "foundReplicas": 3} | entry
    kube = FakeKube(config_map(edited=json.dumps(told)), deployment(replicas=0))
    await Records(kube, NAMESPACE).settle()
    asked = {call[1] for call in kube.called("get_scale", "put_scale", "put_minimum", "annotate")}
    assert asked <= {"voice"}
    assert [call[1:] for call in kube.called("get") if call[1] != "ConfigMap"] == []
    assert record(kube) == {}


# --- one record for the whole cluster ---

HOME = "kotatsu"
NAMESPACES = ["demo", "shop", "mail"]


def there(obj, namespace):
    """An object of another namespace."""
    uid = f"{namespace}-{obj['metadata'].get('uid', '')}"
    return obj | {"metadata": obj["metadata"] | {"namespace": namespace, "uid": uid}}


def parts():
    return [
        {"kind": "ConfigMap", "metadata": {"name": part.name, "namespace": HOME}}
        for part in parts_of(HOME)
    ]


def ours(namespace, name="voice"):
    """A pool that this install has put to sleep."""
    status = {"foundReplicas": 3, "internal": {"activators": f"{HOME}/0"}}
    return there(warm_pool(name, status=status), namespace)


def entries(kube):
    data = [obj.get("data") or {} for obj in kube.all("ConfigMap")]
    return {uid: json.loads(text)["namespace"] for some in data for uid, text in some.items()}


def shared(kube):
    return Records(kube, HOME)


async def test_a_comparison_of_the_cluster_is_one_list_and_a_read_of_each_part():
    pools = [ours(f"n{number}") for number in range(50)]
    kube = FakeKube(*parts(), *pools)
    records = shared(kube)
    await records.settle()
    assert len(entries(kube)) == 50
    kube.calls.clear()
    await records.settle()
    assert kube.called("find") == [("find", "WarmPool", EVERYWHERE)]
    assert len(kube.calls) == 1 + len(parts())


async def test_targets_of_deleted_pools_are_restored_where_they_are():
    kube = FakeKube(*parts())
    for namespace in NAMESPACES:
        kube.put(there(deployment(replicas=0), namespace))
        await shared(kube).remember(ours(namespace))
    await shared(kube).settle()
    assert [obj["spec"]["replicas"] for obj in kube.all("Deployment")] == [3, 3, 3]
    assert entries(kube) == {}


async def test_a_pool_of_the_same_name_elsewhere_inherits_nothing():
    kube = FakeKube(*parts(), there(deployment(replicas=0), "shop"), ours("mail"))
    await shared(kube).remember(ours("shop"))
    await shared(kube).settle()
    assert kube.stored("Deployment", "shop/voice")["spec"]["replicas"] == 3
    assert entries(kube) == {"mail-pool-voice": "mail"}


async def test_pools_that_go_to_sleep_together_are_written_together():
    kube = FakeKube(*parts())
    records = shared(kube)
    pools = [ours("demo", f"web-{number}") for number in range(100)]
    await asyncio.gather(*map(records.remember, pools))
    assert len(entries(kube)) == 100
    assert len(kube.called("replace")) <= 2


async def test_the_record_of_a_namespace_restores_nothing_in_another():
    theirs = json.loads(Entry("shop", "voice", "Deployment", "voice").text())
    forged = json.dumps(theirs | {"foundReplicas": 99})
    kube = FakeKube(config_map(x=forged), there(deployment(replicas=0), "shop"))
    await Records(kube, NAMESPACE).settle()
    assert kube.stored("Deployment", "shop/voice")["spec"]["replicas"] == 0
