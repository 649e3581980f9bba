"""When the operator acts, and what it does beside looking: give back, and sweep up."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from kotatsu_operator.controller import app as operator_module
from kotatsu_operator.controller import pool_watch
from kotatsu_operator.controller import restore as restore_module
from kotatsu_operator.controller.app import Operator
from kotatsu_operator.controller.election import LONGEST
from kotatsu_operator.core.pool.spec import BUILT_IN, ScaledKind
from kotatsu_operator.kube.errors import NotFoundError
from kotatsu_operator.kube.objects import key_of
from tests.operator.cluster import (
    SCOPE,
    VOICE,
    FakeKube,
    activator_pod,
    config_map,
    crashed,
    deployment,
    eventually,
    forbidden,
    in_use,
    keep,
    namespace,
    pod,
    published,
    service,
    warm_pool,
)
from tests.operator.controller.test_restore import replicas

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def make_operator(monkeypatch):
    monkeypatch.setattr(restore_module, "_PAUSE", 0.001)
    monkeypatch.setattr(operator_module, "SWEEP_SECONDS", 0.005)

    def make(*objects, scaled=BUILT_IN):
        kube, registry = FakeKube(namespace(), *objects), CollectorRegistry()
        kube.scaled = scaled
        made = Operator(kube, SCOPE, registry)
        in_use(made)
        made.registry = registry
        made._pools.run = lambda *_: asyncio.Event().wait()  # in the place of kopf
        return made, kube

    return make


def slept(**spec):
    return warm_pool(status={"foundReplicas": 3}, **spec)


# --- running ---


async def fail(*_):
    raise ValueError("nobody foresaw this")


@pytest.mark.parametrize("part", ["_informer", "elector", "_features"])
async def test_what_a_part_fails_with_ends_the_operator_and_is_told(
    make_operator, monkeypatch, part
):
    """An operator that ended without a word would look as if it had been asked to."""
    operator, _ = make_operator(config_map())
    operator._informer._synced.set()
    failing = getattr(operator, part)
    of, method = (failing[0], "watch") if part == "_features" else (failing, "run")
    monkeypatch.setattr(of, method, fail)
    with pytest.raises(ValueError, match="nobody foresaw this"):
        await operator.run()


async def test_an_operator_that_is_asked_to_stop_ends_without_an_error(make_operator):
    operator, kube = make_operator(config_map())
    stop = asyncio.Event()
    running = asyncio.create_task(operator.run(stop))
    await eventually(lambda: operator._term is not None)
    stop.set()
    await running
    assert not kube.stored("Lease", "kotatsu-operator")["spec"].get("holderIdentity")


def test_an_operator_that_misses_changes_is_not_ready(make_operator):
    operator, _ = make_operator()
    operator._first._missing.clear()
    operator._informer._missing.clear()
    assert operator.why_not_ready == "the watch of WarmPools has not begun"
    operator._pools._begun.set()
    assert not operator.why_not_ready
    operator._pools.why_blind = "the watch of WarmPools misses changes (pools: 3)"
    assert operator.why_not_ready == operator._pools.why_blind
    operator._informer._watches["Pod"].is_stopped = True
    assert operator.why_not_ready == "the watch has stopped and is started again: Pod"


ROLLOUT = ScaledKind("argoproj.io/v1alpha1", "Rollout", "rollouts")


async def test_a_kind_that_the_cluster_does_not_have_stops_no_other_pool(make_operator):
    """The CRD of a kind of the chart value `targets` may be installed later."""

    def refuse(kind):
        if kind == "Rollout":
            raise NotFoundError("404 page not found")

    kinds = {**BUILT_IN, "Rollout": ROLLOUT}
    operator, kube = make_operator(config_map(), deployment(replicas=1), scaled=kinds)
    kube.on("follow", refuse)
    assert operator._further.awaits("demo", "Rollout")
    stop = asyncio.Event()
    running = asyncio.create_task(operator.run(stop))
    await eventually(lambda: operator._informer.shows("demo"))
    await eventually(lambda: not operator._further.awaits("demo", "Rollout"))
    assert VOICE in operator.cache.workloads
    stop.set()
    await running


# --- leading ---


@pytest.fixture
async def leading(make_operator):
    """Let an operator lead, and take that away again."""
    terms = []

    async def lead(operator):
        operator._pools.unlisted = ""
        operator._informer._missing.clear()
        terms.append(asyncio.create_task(operator._lead()))
        await eventually(lambda: operator._term is not None)
        return terms[-1]

    yield lead
    await end(*terms)


async def end(*tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_looks_know_of_an_outage_that_the_elector_has_met(make_operator):
    operator, kube = make_operator()
    kube.down = True
    await operator.elector.turn()
    assert operator._reconciler.tools.observer.catching_up() == LONGEST


async def test_one_that_stands_by_looks_at_nothing_and_gives_nothing_back(make_operator):
    operator, kube = make_operator(config_map(), deployment(replicas=0), slept())
    operator.cache.keep_pool(slept())
    operator.work_queue.touch(VOICE)
    await operator._pool_gone(slept())
    await asyncio.sleep(0.02)
    assert kube.calls == []


async def test_all_pools_are_known_and_looked_at_when_leading_begins(make_operator, monkeypatch):
    """An older one that claims the same target must not come after the younger was judged."""
    monkeypatch.setattr(pool_watch, "LIST_AGAIN_SECONDS", 0.001)
    operator, kube = make_operator(config_map(), warm_pool(), warm_pool("feed"))
    operator._informer._missing.clear()
    operator._informer._synced.set()
    known = []

    async def lead(work):
        known.extend(operator.cache.pools)
        await work()

    monkeypatch.setattr(operator.elector, "run", lead)
    monkeypatch.setattr(operator_module, "SWEEP_SECONDS", 10)
    kube.down = True
    electing = asyncio.create_task(operator._elect())
    await asyncio.sleep(0.01)
    assert known == []
    kube.down = False
    await eventually(lambda: kube.stored("WarmPool", "feed").get("status"))
    assert sorted(known) == [("demo", "feed"), VOICE]
    assert kube.stored("WarmPool", "voice").get("status")
    await end(electing)


async def test_a_deleted_pools_target_is_given_back_by_the_leader(make_operator, leading):
    operator, kube = make_operator(config_map(), deployment(replicas=0), slept())
    await leading(operator)
    kube.remove("WarmPool", "voice")
    await operator._pool_gone(slept())
    await eventually(lambda: replicas(kube) == 3)


async def test_a_pool_that_is_deleted_as_leading_ends_is_left_to_the_next_leader(
    make_operator, leading
):
    operator, _ = make_operator(config_map(), deployment(replicas=0))
    term = await leading(operator)
    term.cancel()
    await asyncio.sleep(0)  # its tasks end now, and it takes no other
    await operator._pool_gone(slept())
    await end(term)
    assert replicas(operator._kube) == 0


async def test_a_pool_that_vanished_between_two_watches_is_forgotten(make_operator, leading):
    operator, _ = make_operator(config_map(), slept())
    keep(operator.cache, slept(), warm_pool("feed"))
    await leading(operator)
    await eventually(lambda: list(operator.cache.pools) == [VOICE])


async def test_an_api_server_that_is_away_is_asked_again_at_the_next_sweep(make_operator, leading):
    operator, kube = make_operator(config_map(), deployment(replicas=0))
    await operator.records.remember(slept())
    kube.down = True
    await leading(operator)
    await eventually(lambda: len(kube.called("find")) > 1)
    kube.down = False
    await eventually(lambda: replicas(kube) == 3)


async def test_what_was_remembered_and_shown_goes_when_leading_ends(make_operator, leading):
    operator, kube = make_operator(config_map(), deployment(replicas=1), warm_pool())
    keep(operator.cache, kube.stored("WarmPool", "voice"), deployment(replicas=1), service())
    operator.work_queue.touch(VOICE)
    term = await leading(operator)
    await eventually(lambda: operator._reconciler._known)
    await end(term)
    assert operator._reconciler._known == {}
    assert not [s for m in operator.registry.collect() for s in m.samples if s.labels.get("name")]


# --- sweeping ---


@pytest.fixture
async def swept(make_operator):
    """An operator that sweeps all the time, with one live and one vanished activator."""
    slices = [published(name, 1) for name in ("activator-1", "activator-2")]
    operator, kube = make_operator(*slices, activator_pod("activator-1"))
    operator._informer._missing.clear()
    keep(operator.cache, warm_pool(), activator_pod("activator-1"), *slices)
    yield operator, kube
    await end(operator.sweeping)


def begin(operator):
    operator.sweeping = asyncio.create_task(operator._sweep())


async def test_the_slices_of_vanished_activators_are_removed_however_many_tries_it_takes(swept):
    operator, kube = swept
    kube.on("delete", OSError("no"), times=2)
    begin(operator)
    await eventually(lambda: len(kube.all("EndpointSlice")) == 1)
    await asyncio.sleep(0.02)
    (left,) = kube.all("EndpointSlice")
    assert "/activator-1/" in left["metadata"]["annotations"]["kotatsu.dev/activator"]


@pytest.mark.parametrize("is_away", [False, True])
async def test_a_slice_stays_unless_the_api_server_says_that_its_activator_is_gone(swept, is_away):
    """Whatever the watch of pods shows."""
    operator, kube = swept
    kube.put(activator_pod("activator-2"))
    kube.down = is_away
    begin(operator)
    await eventually(lambda: len(kube.called("get")) > 2)
    assert kube.called("delete") == []


async def test_a_slice_of_a_pod_made_again_under_its_name_is_removed(swept):
    operator, kube = swept
    again = activator_pod("activator-2")
    again["metadata"]["uid"] = "another"
    kube.put(again)
    begin(operator)
    await eventually(lambda: len(kube.all("EndpointSlice")) == 1)


async def lose(swept, kube_says=None):
    """Let the watch tell that the only activator is lost while the pool's pod is Ready."""
    operator, kube = swept
    gone = published("activator-2", 1)
    kube.remove("EndpointSlice", gone["metadata"]["name"])
    operator.cache.forget_slice(key_of(gone))
    kube.put(warm_pool())
    lost = crashed(activator_pod("activator-1", ready=False))
    kube.put(lost if kube_says is None else kube_says)
    keep(operator.cache, lost, deployment(replicas=1), pod(ready=True))
    begin(operator)
    return operator, kube


async def test_where_no_activator_is_left_a_lost_ones_slice_is_removed(swept):
    _, kube = await lose(swept)
    await eventually(lambda: kube.all("EndpointSlice") == [])


async def test_the_slice_of_one_that_is_back_by_then_stays(swept):
    _, kube = await lose(swept, activator_pod("activator-1"))
    await eventually(lambda: len(kube.called("get")) > 3)
    assert kube.called("delete") == []


async def test_every_pool_is_looked_at_now_and_then_whatever_the_watches_say(swept):
    operator, _ = swept
    begin(operator)
    await eventually(lambda: VOICE in operator.work_queue._waiting)


# --- what cannot be read ---


async def test_a_list_that_is_refused_is_said_until_it_is_not(make_operator, monkeypatch):
    operator, kube = make_operator(config_map(), warm_pool())
    refused, find = [True], FakeKube.find

    async def find_unless(self, kind, namespace, labels=None):
        if refused and kind.__name__ == "WarmPool":
            raise forbidden()
        return await find(self, kind, namespace, labels)

    monkeypatch.setattr(FakeKube, "find", find_unless)
    monkeypatch.setattr(pool_watch, "LIST_AGAIN_SECONDS", 0.001)
    stop = asyncio.Event()
    running = asyncio.create_task(operator.run(stop))
    await eventually(lambda: operator.elector.leads)
    assert "WarmPool" in operator.left_out
    assert not kube.stored("WarmPool", "voice").get("status")
    refused.clear()
    await eventually(lambda: kube.stored("WarmPool", "voice").get("status"))
    assert not operator.left_out
    stop.set()
    await running


async def test_a_pool_is_not_judged_by_half_a_namespace(make_operator):
    operator, kube = make_operator(config_map(), warm_pool())
    operator.cache.keep_pool(kube.stored("WarmPool", "voice"))
    operator._pools.unlisted = ""
    await operator._reconciler.reconcile(VOICE)
    assert kube.writes == []
