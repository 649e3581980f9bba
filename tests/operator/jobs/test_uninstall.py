"""Before an uninstall: nobody acts, what sleeps gets its pods, activators leave the path."""

import asyncio
import json

import pytest
from prometheus_client import CollectorRegistry

from kotatsu_operator.controller.election import TIMES
from kotatsu_operator.controller.elector import Elector
from kotatsu_operator.core.objects import activators_of
from kotatsu_operator.core.pool.spec import BUILT_IN, ScaledKind
from kotatsu_operator.core.protocol import (
    LEASE_NAME,
    OPERATOR,
    POOL_LABEL,
    ROUTE_LABEL,
    ROUTE_TAKEN,
    SET_ANNOTATION,
    UNINSTALL,
    own_set,
)
from kotatsu_operator.jobs import patience, uninstall
from kotatsu_operator.jobs.uninstall import Uninstall, UninstallError
from kotatsu_operator.kube.client import EVERYWHERE
from kotatsu_operator.kube.errors import ConflictError, HttpError, NotFoundError
from tests.operator.cluster import (
    MINE,
    NAMESPACE,
    RECORD,
    SET,
    FakeKube,
    activator_pod,
    config_map,
    deployment,
    eventually,
    forbidden,
    named,
    owned,
    pod,
    published,
    revision,
    service,
    warm_pool,
)
from tests.operator.controller.test_restore import HOME, entries, parts, replicas, shared, there


class Cluster:
    """A namespace with a sleeping pool; the kubelet and the activator do their part."""

    def __init__(self, *objects):
        self.kube = FakeKube(config_map(), *objects)
        self.said = []
        self.pods_come = self.activators_leave = True
        self.refused, self.refusals = "", 0
        self.kube.on("get", self._time_passes)
        self.kube.on("find", self._find)

    def _find(self, kind, namespace, *_):
        if namespace == self.refused:
            self.refusals += 1
            raise forbidden()
        self._time_passes()

    def _time_passes(self, *_):
        if self.pods_come:
            for obj in self.kube.all("Deployment"):
                ready = {"readyReplicas": obj["spec"]["replicas"]}
                if obj.get("status") != ready:
                    self.kube.edit("Deployment", named(obj), status=ready)
        if self.activators_leave:
            for pool in self.kube.all("WarmPool"):
                if pool["status"].get("route") == {"target": "Native", "epoch": 1}:
                    for obj in self.kube.all("EndpointSlice"):
                        self.kube.edit("EndpointSlice", named(obj), endpoints=[])

    async def uninstall(self, home=NAMESPACE, **how):
        await Uninstall(self.kube, home, 60, self.said.append, 0.0, **how).run()

    def has_said(self, text):
        return any(text in line for line in self.said)

    async def begin(self, until):
        """An uninstall that goes on, once it has said this."""
        running = asyncio.create_task(self.uninstall())
        await eventually(lambda: self.has_said(until))
        return running

    def pool(self):
        return self.kube.stored("WarmPool", "voice")

    def conditions(self):
        return {c["type"]: (c["status"], c["reason"]) for c in self.pool()["status"]["conditions"]}


def asleep(*, restore=3, **spec):
    conditions = [
        {"type": t, "status": "True", "reason": "Asleep", "message": "", "lastTransitionTime": "x"}
        for t in ("Accepted", "Ready")
    ]
    status = {
        "phase": "Asleep",
        "route": {"target": "Activator", "epoch": 1},
        "conditions": conditions,
        "internal": {"activators": SET, "shown": {"next": "opens 10:00", "cost": "1.00 JPY"}},
        **({} if restore is None else {"foundReplicas": restore}),
    }
    return warm_pool(status=status, **spec)


@pytest.fixture
def cluster():
    return Cluster(asleep(), deployment(replicas=0), published("activator-1", 1))


async def test_a_service_that_route_activator_has_taken_is_waited_for_as_any_other():
    pool = asleep(route="Activator")
    pool["status"]["internal"] = {"activators": SET, "takenService": "voice"}
    taken = service()
    taken["spec"]["selector"]["kotatsu.dev/route"] = "Activator"
    cluster = Cluster(pool, deployment(replicas=0), taken, published("activator-1", 1))
    await cluster.uninstall()
    assert cluster.kube.stored("Service", "voice")["spec"]["selector"] == {"app": "voice"}
    assert cluster.pool()["status"]["route"]["target"] == "Native"
    assert "takenService" not in cluster.pool()["status"]["internal"]
    assert cluster.conditions()["Ready"] == ("Unknown", "Uninstalled")


async def test_a_sleeping_target_gets_its_replicas_and_the_activators_leave_the_path(cluster):
    await cluster.uninstall()
    assert replicas(cluster.kube) == 3
    assert cluster.pool()["status"]["route"] == {"target": "Native", "epoch": 1}
    assert cluster.pool()["status"]["phase"] == "Warm"
    shown = cluster.pool()["status"]["internal"]["shown"]
    assert shown == {"cost": "1.00 JPY"}, "kubectl get tells what it has cost, and no next step"
    assert cluster.conditions() == {
        "Accepted": ("True", "Asleep"),
        "Ready": ("Unknown", "Uninstalled"),
    }, "it promises nothing that nobody keeps"
    assert "foundReplicas" not in cluster.pool()["status"]
    assert not cluster.kube.all("EndpointSlice")
    assert cluster.said[-1].startswith("done")


def parked():
    """A pool, its Deployment, and a pod of it with a smaller request."""
    pool = asleep(restore=None)
    pool["status"] |= {"phase": "Parked", "reduced": True}
    container = {"name": "voice", "resources": {"requests": {"cpu": "1"}}}
    target = deployment(replicas=1)
    target["spec"]["template"]["spec"] = {"containers": [container]}
    of = pod(ready=True)
    small = {"name": "voice", "resources": {"requests": {"cpu": "5m"}}}
    of["spec"]["containers"] = [small]
    return [pool, target, of, published("activator-1", 1)]


async def test_parked_pods_that_may_not_be_restored_do_not_hold_an_uninstall_up():
    cluster = Cluster(*parked())
    cluster.kube.on("resize", forbidden())
    await cluster.uninstall()
    assert cluster.has_said("which keep their smaller requests")
    assert "reduced" not in cluster.pool()["status"]


async def test_the_revisions_of_a_knative_service_get_their_min_scale_back():
    saved = {"name": "voice-1", "minScale": "1", "written": ["5"]}
    pool = warm_pool(status={"internal": {"knative": {"revisions": [saved]}}})
    pool["spec"]["targetRef"]["kind"] = "Service"
    cluster = Cluster(pool, revision("voice-1", min_scale="5"))
    await cluster.uninstall()
    assert cluster.has_said("demo/voice: Revision voice-1 has its own min-scale again")
    assert "knative" not in cluster.pool()["status"]["internal"]


async def test_the_route_changes_only_when_all_pods_are_ready(cluster):
    cluster.pods_come = False
    running = await cluster.begin(until="0 of 3 pods")
    assert cluster.pool()["status"]["route"]["target"] == "Activator"
    cluster.kube.edit("Deployment", "voice", status={"readyReplicas": 2})
    await eventually(lambda: cluster.has_said("2 of 3 pods"))
    assert cluster.pool()["status"]["route"]["target"] == "Activator"
    cluster.pods_come = True
    await running


FLOCK = ScaledKind("birds.example/v1", "Flock", "flocks")


def flock(*pods, **status):
    """A target of a kind whose status counts no Ready pods, its sleeping pool, and pods."""
    pool = asleep(
        restore=2, targetRef={"apiVersion": FLOCK.api_version, "kind": "Flock", "name": "voice"}
    )
    made = deployment(replicas=0) | {"kind": "Flock", "status": status}
    cluster = Cluster(pool, made, published("activator-1", 1), *pods)
    cluster.kube.scaled = {**BUILT_IN, "Flock": FLOCK}
    return cluster


async def test_of_a_kind_whose_status_counts_no_ready_pods_its_pods_are_counted():
    cluster = flock(pod("other", app="other", ready=True), pod("old", ready=True, terminating=True))
    running = await cluster.begin(until="0 of 2 pods of Flock")
    cluster.kube.put(pod("voice-1", ready=True))
    await eventually(lambda: cluster.has_said("1 of 2 pods of Flock"))
    cluster.kube.put(pod("voice-2", ready=True))
    await running
    assert cluster.kube.stored("Flock", "voice")["spec"]["replicas"] == 2
    assert cluster.said[-1].startswith("done")


async def test_a_target_whose_pods_are_unknown_is_not_waited_for():
    cluster = flock()
    cluster.kube.edit("Flock", "voice", spec={"selector": None})
    await cluster.uninstall()
    assert cluster.said[-1].startswith("done")


async def test_it_ends_only_when_no_activator_is_an_endpoint(cluster):
    cluster.activators_leave = False
    running = await cluster.begin(until="still an endpoint of voice")
    assert not running.done()
    cluster.activators_leave = True
    await running


async def test_activators_that_never_leave_end_it_with_what_to_do(cluster):
    cluster.activators_leave = False
    with pytest.raises(UninstallError) as caught:
        await cluster.uninstall()
    assert "not done after 60 s: activator activator-1 is still an endpoint" in str(caught.value)
    assert "--no-hooks" in str(caught.value)


async def test_a_target_that_starts_slowly_is_left_to_start_and_the_others_are_done(cluster):
    """Its line comes now and then, each with the time that is left."""
    cluster.pods_come = False
    cluster.kube.edit("Deployment", "voice", status={"readyReplicas": 3})
    pool, target = never_ready()
    pool["status"]["internal"] = {"activators": SET, "warmUps": [[300, 1, 0]]}
    for made in (pool, target):
        cluster.kube.put(made)
    await cluster.uninstall()
    lines = [line for line in cluster.said if "waiting for pods" in line]
    assert 3 <= len(set(lines)) == len(lines) <= 4
    lack = "0 of 3 pods of Deployment demo/feed are Ready (a start has taken 5m)"
    assert cluster.has_said(f"demo/feed: {lack} after 45 s, so it is not waited for any longer")
    assert cluster.said[-1].endswith(f"; not Ready in time: {lack}")
    for name in ("feed", "voice"):
        status = cluster.kube.stored("WarmPool", name)["status"]
        assert (status["phase"], status["route"]["target"]) == ("Warm", "Native")


async def test_activators_leave_a_service_of_which_only_some_pods_are_ready_in_time(cluster):
    cluster.pods_come = False
    cluster.kube.edit("Deployment", "voice", status={"readyReplicas": 2})
    await cluster.uninstall()
    assert cluster.has_said("2 of 3 pods of Deployment demo/voice are Ready after 45 s")
    assert not cluster.has_said("no endpoint")
    assert not cluster.kube.all("EndpointSlice")


@pytest.mark.parametrize("cause", ["0/3 nodes are available", "exceeded quota: pods"])
async def test_a_target_that_is_late_is_named_with_what_its_pods_lack(cluster, cause):
    cluster.pods_come = False
    no_node = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    rejected = {"type": "ReplicaFailure", "status": "True", "message": cause}
    if "quota" in cause:
        cluster.kube.edit("Deployment", "voice", status={"conditions": [rejected]})
    else:
        waits = pod(phase="Pending")
        waits["status"]["conditions"] = [no_node | {"message": cause}]
        cluster.kube.put(waits)
    await cluster.uninstall()
    assert cause in cluster.said[-1]


async def test_a_target_whose_pod_has_crashed_twice_is_waited_for(cluster):
    """It may wait for its database, which is restored beside it."""
    cluster.pods_come = False
    loops = pod(phase="Running")
    said = "back-off 10s restarting failed container=app pod=voice-1"
    waits = {"reason": "CrashLoopBackOff", "message": said}
    loops["status"]["containerStatuses"] = [{"name": "app", "state": {"waiting": waits}}]
    cluster.kube.put(loops)
    running = await cluster.begin(until="0 of 3 pods")
    await asyncio.sleep(20)
    assert not cluster.has_said("cannot start")
    cluster.pods_come = True
    await running
    assert cluster.conditions()["Ready"] == ("Unknown", "Uninstalled")


def never_ready(name="feed"):
    """A pool that is Warming and never had a Ready pod, with its Deployment."""
    pool = asleep(targetRef={"name": name})
    pool["metadata"] |= {"name": name, "uid": f"uid-{name}"}
    pool["status"] |= {"phase": "Warming", "conditions": [
        {"type": "Proven", "status": "False", "reason": "NeverReady", "message": "",
         "lastTransitionTime": "x"},
    ]}  # fmt: skip
    return [pool, deployment(name, replicas=1)]


async def test_a_target_that_has_never_been_ready_is_given_back_and_not_waited_for(cluster):
    cluster.pods_come = False
    cluster.kube.edit("Deployment", "voice", status={"readyReplicas": 3})
    for made in never_ready():
        cluster.kube.put(made)
    await cluster.uninstall()
    said = [line for line in cluster.said if line.startswith("demo/feed")]
    assert any("have never been Ready, so it is not waited for" in line for line in said)
    status = cluster.kube.stored("WarmPool", "feed")["status"]
    assert status["route"]["target"] == "Native"
    assert status["conditions"][0]["message"].endswith("never been Ready, so it is not waited for")
    assert cluster.pool()["status"]["route"]["target"] == "Native"


async def test_no_activator_stays_in_front_of_a_target_that_is_not_waited_for():
    cluster = Cluster(*never_ready(), published("activator-1", 1, pool="feed"))
    cluster.pods_come = cluster.activators_leave = False
    found = []

    def publishes_again(kind, *_):
        """An activator sees the status only after its slice was deleted once."""
        there = [obj["metadata"]["labels"][POOL_LABEL] for obj in cluster.kube.all("EndpointSlice")]
        is_its_own = activators_of(cluster.kube.stored("WarmPool", "feed")) == SET
        if kind == "EndpointSlice" and "feed" not in there and (is_its_own or len(found) < 3):
            cluster.kube.put(published("activator-1", 1, pool="feed"))
            found.append(kind)

    cluster.kube.on("find", publishes_again)
    await cluster.uninstall()
    assert found
    assert not cluster.kube.all("EndpointSlice"), "nobody is left to serve or to delete them"


async def test_a_target_whose_pod_cannot_start_is_named_and_not_waited_for(cluster):
    cluster.pods_come = False
    broken = pod(phase="Pending")
    broken["status"]["containerStatuses"] = [
        {"name": "app", "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}
    ]
    cluster.kube.put(broken)
    await cluster.uninstall()
    assert replicas(cluster.kube) == 3
    words = "pod voice-1 cannot start: container app: ErrImagePull (not found)"
    assert cluster.has_said(f"{words}, so it is not waited for")
    assert cluster.said[-1].startswith("done")


async def test_all_targets_that_are_waited_for_are_named_with_the_time_that_is_left(cluster):
    cluster.pods_come = False
    pool, target = never_ready()
    pool["status"]["internal"] = {"activators": SET, "warmUps": [[5, 1, 0]]}
    for made in (pool, target):
        cluster.kube.put(made)
    running = await cluster.begin(until="waiting for pods")
    [line] = [line for line in cluster.said if "waiting for pods" in line]
    assert "0 of 3 pods of Deployment demo/voice are Ready" in line
    assert "0 of 3 pods of Deployment demo/feed are Ready" in line
    assert line.endswith(" s more at most")
    ready = {c["type"]: c for c in cluster.pool()["status"]["conditions"]}["Ready"]
    assert ready["reason"] == "Uninstalling"
    assert "0 of 3 pods of Deployment demo/voice" in ready["message"]
    cluster.pods_come = True
    await running
    assert cluster.conditions()["Ready"] == ("Unknown", "Uninstalled")


async def test_what_kotatsu_found_at_0_stays_there_and_that_is_said():
    cluster = Cluster(asleep(restore=None), deployment(replicas=0), published("activator-1", 1))
    await cluster.uninstall()
    assert replicas(cluster.kube) == 0
    assert any("stays at 0 replicas" in s and "no endpoint" in s for s in cluster.said)
    assert "needs Kotatsu" not in cluster.said[-1]
    assert cluster.said[-1].endswith("; what remains: Deployment demo/voice stays at 0")


# --- manifests that let a Service select no pod ---


def with_term(*managers, name="voice"):
    """A Service with the term of route Activator, and who owns its selector."""
    made = service(name)
    made["spec"]["selector"][ROUTE_LABEL] = ROUTE_TAKEN
    made["metadata"]["managedFields"] = list(managers)
    return made


HELM = owned("selector", "helm")
FLUX = owned("selector", "kustomize-controller", operation="Apply")
OURS = owned("selector", OPERATOR)


def of_manifest(*managers, taken=False, route="Activator", activators=1):
    """A sleeping app whose Service has the term."""
    pool = asleep(route=route)
    pool["status"]["internal"] |= {"takenService": "voice"} if taken else {}
    parts = [pool, deployment(replicas=0), published("activator-1", 1), with_term(*managers)]
    return Cluster(*parts, *[activator_pod() for _ in range(activators)])


def selector(cluster):
    return cluster.kube.stored("Service", "voice")["spec"]["selector"]


@pytest.mark.parametrize(
    ("managers", "how", "by"),
    [
        ([HELM], {}, "helm"),
        ([HELM], {"route": "Auto"}, "helm"),
        ([FLUX], {}, "kustomize-controller"),
        ([OURS, FLUX], {"taken": True}, "kustomize-controller"),
        ([OURS, FLUX], {}, "kustomize-controller"),
        ([], {}, "another client"),
    ],
    ids=["Helm 3", "with route Auto", "Flux", "applied later", "no status says so", "no owner"],
)
async def test_a_service_whose_manifest_has_the_term_is_refused_by_name(managers, how, by):
    cluster = of_manifest(*managers, **how)
    await operator(cluster.kube).turn()
    before, version = selector(cluster), cluster.kube.version
    with pytest.raises(UninstallError) as caught:
        await cluster.uninstall()
    text = f"{by} writes `kotatsu.dev/route: Activator` into the selector of Service demo/voice"
    assert f"\n- {text}: remove the line from its manifest\n" in str(caught.value)
    assert "uninstall.overrideManifests" in str(caught.value)
    assert (selector(cluster), cluster.kube.version) == (before, version), "nothing has changed"


@pytest.mark.parametrize(
    ("managers", "taken"),
    [([OURS], True), ([OURS], False), ([HELM], True)],
    ids=["as always", "its status is lost", "Helm has changed another label since"],
)
async def test_a_term_of_the_operator_is_removed_whoever_has_changed_the_selector(managers, taken):
    cluster = of_manifest(*managers, taken=taken)
    await cluster.uninstall()
    assert selector(cluster) == {"app": "voice"}
    assert cluster.said[-1].startswith("done: no Service needs Kotatsu any more")


async def test_a_term_that_is_acknowledged_is_removed_and_what_remains_is_said():
    cluster = of_manifest(FLUX)
    await cluster.uninstall(override_manifests=True)
    assert selector(cluster) == {"app": "voice"}
    assert replicas(cluster.kube) == 3
    assert cluster.pool()["status"]["route"]["target"] == "Native"
    assert not cluster.kube.all("EndpointSlice")
    assert "needs Kotatsu" not in cluster.said[-1]
    assert cluster.said[-1].endswith(
        "what remains: kustomize-controller writes `kotatsu.dev/route: Activator` into the "
        "selector of Service demo/voice: remove the line from its manifest"
    )


async def test_without_activators_a_manifest_holds_nothing_up():
    """As under an Argo CD that runs the Job after the deletion: the Service has no endpoint."""
    cluster = of_manifest(HELM, activators=0)
    await cluster.uninstall()
    assert selector(cluster) == {"app": "voice"}
    assert replicas(cluster.kube) == 3


async def test_a_service_of_another_install_is_not_judged():
    theirs = [*of("away/0", "theirs", route="Activator"), there(with_term(HELM), "theirs")]
    cluster = Cluster(*parts(), *theirs, there(activator_pod(), HOME))
    await cluster.uninstall(HOME)
    assert cluster.said[-1].startswith("done: no Service needs Kotatsu any more")


def without_selector():
    """A sleeping pool with route Activator whose Service selects no pod at all."""
    bare = service()
    del bare["spec"]["selector"]
    parts = [asleep(route="Activator"), deployment(replicas=0), published("activator-1", 1)]
    return Cluster(*parts, bare, activator_pod())


async def test_a_service_without_a_selector_is_refused_by_name():
    cluster = without_selector()
    with pytest.raises(UninstallError) as caught:
        await cluster.uninstall()
    text = "Service demo/voice has no selector: add the labels of the pods of Deployment voice"
    assert text in str(caught.value)
    assert replicas(cluster.kube) == 0


async def test_a_service_without_a_selector_is_not_waited_for_and_that_is_said():
    cluster = without_selector()
    cluster.activators_leave = False
    await cluster.uninstall(override_manifests=True)
    assert replicas(cluster.kube) == 3
    assert cluster.said[-1].endswith("add the labels of the pods of Deployment voice")
    assert cluster.pool()["status"]["route"]["target"] == "Activator"


async def test_a_pool_without_a_target_and_one_never_decided_on_are_no_hindrance():
    await Cluster(asleep()).uninstall()
    await Cluster(warm_pool(status={}), deployment(replicas=1)).uninstall()
    await Cluster().uninstall()


async def test_a_pool_of_a_kind_that_the_chart_does_not_name_keeps_nobody_waiting():
    typo = warm_pool(
        "typo", status=MINE, targetRef={"apiVersion": "argoproj.io/v1", "kind": "R", "name": "r"}
    )
    cluster = Cluster(asleep(), deployment(replicas=0), published("activator-1", 1), typo)
    await cluster.uninstall()
    assert cluster.has_said("demo/typo: R r stays as it is: the chart value `targets`")
    assert cluster.kube.stored("Deployment", "voice")["spec"]["replicas"] > 0


def record(cluster, name):
    """Write the entry of a deleted pool whose target had two replicas."""
    entry = {
        "namespace": NAMESPACE,
        "pool": name,
        "target": {"kind": "Deployment", "name": name},
        "foundReplicas": 2,
    }
    cluster.kube.edit("ConfigMap", RECORD, data={f"uid-{name}": json.dumps(entry)})


async def test_targets_come_back_from_the_record_after_the_crd_was_deleted(cluster):
    record(cluster, "feed")
    cluster.kube.put(deployment("feed", replicas=0))

    def no_crd(kind, *_):
        if kind == "WarmPool":
            raise NotFoundError("the server could not find the requested resource")

    cluster.kube.on("find", no_crd)
    await cluster.uninstall()
    assert cluster.kube.stored("Deployment", "feed")["spec"]["replicas"] == 2
    assert cluster.kube.all("ConfigMap") == []


async def test_a_pool_made_anew_gets_what_the_deleted_one_had_also_without_an_operator():
    cluster = Cluster(asleep(restore=None), deployment(replicas=0), published("activator-1", 1))
    record(cluster, "voice")
    await cluster.uninstall()
    assert replicas(cluster.kube) == 2


async def test_a_record_that_is_gone_and_may_not_be_created_holds_nothing_up(cluster):
    cluster.kube.remove("ConfigMap", RECORD)
    cluster.kube.on("apply", forbidden())
    await cluster.uninstall()
    assert replicas(cluster.kube) == 3


async def test_the_pod_of_helm_test_goes_and_no_other_does(cluster):
    labels = {"app.kubernetes.io/name": "kotatsu", "app.kubernetes.io/component": "test"}
    cluster.kube.put(pod("kotatsu-test", labels=labels, phase="Succeeded"))
    cluster.kube.put(pod("voice-test"))
    await cluster.uninstall()
    assert [named(obj) for obj in cluster.kube.all("Pod")] == ["voice-test"]


async def test_the_record_stays_while_it_has_a_target_that_is_not_restored(cluster):
    record(cluster, "feed")
    cluster.kube.put(deployment("feed", replicas=0))

    def conflict(workload, *_):
        if workload == "feed":
            raise ConflictError("modified")

    cluster.kube.on("put_scale", conflict)
    await cluster.uninstall()
    assert "uid-feed" in cluster.kube.stored("ConfigMap", RECORD)["data"]


async def test_an_edit_in_between_is_read_again(cluster):
    def edit(name, _):
        cluster.kube.edit("WarmPool", name, status={"lastWake": {"seconds": 1}})

    cluster.kube.on("patch_status", edit, times=1)
    await cluster.uninstall()
    assert cluster.pool()["status"]["lastWake"]
    assert cluster.pool()["status"]["route"]["target"] == "Native"


async def test_an_api_server_that_is_away_is_waited_for(cluster):
    cluster.kube.down = True
    running = await cluster.begin(until="the API server")
    cluster.kube.down = False
    await running
    assert replicas(cluster.kube) == 3


# --- the Lease ---


def operator(kube, name="operator-a"):
    return Elector(kube, (NAMESPACE, name), CollectorRegistry())


async def test_a_role_that_is_a_moment_late_is_waited_for(cluster):
    cluster.refused = EVERYWHERE
    running = asyncio.create_task(cluster.uninstall())
    await eventually(lambda: cluster.refusals > 2)
    assert replicas(cluster.kube) == 0
    cluster.refused = ""
    await running
    assert replicas(cluster.kube) == 3
    assert not cluster.has_said("cannot be read")


async def test_a_leader_loses_its_lease_first_and_one_installed_later_leads_at_once(cluster):
    leader = operator(cluster.kube)
    await leader.turn()
    seen = []

    async def look(*_):
        await leader.turn()
        seen.append(leader.leads)

    cluster.kube.on("put_scale", look)
    await cluster.uninstall()
    assert seen == [False]
    await leader.turn()
    assert not leader.leads  # it waits for its own end, although the Lease is gone
    installed = operator(cluster.kube, "operator-z")
    await installed.turn()
    assert installed.leads


async def test_a_leader_gets_its_time_to_stop(cluster):
    await operator(cluster.kube).turn()
    running = await cluster.begin(until="the operators stop acting")
    await asyncio.sleep(TIMES.renew_deadline)
    assert replicas(cluster.kube) == 0
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_an_uninstall_that_fails_lets_the_operators_go_on(cluster):
    leader = operator(cluster.kube)
    await leader.turn()
    cluster.activators_leave = False
    with pytest.raises(UninstallError):
        await cluster.uninstall()
    await leader.turn()
    await leader.turn()
    assert leader.leads


async def test_the_lease_is_renewed_for_as_long_as_it_takes(cluster):
    await operator(cluster.kube).turn()
    cluster.pods_come = False
    running = asyncio.create_task(cluster.uninstall())
    await asyncio.sleep(40)
    assert len([c for c in cluster.kube.called("replace") if c[1] == "Lease"]) > 3
    assert cluster.kube.stored("Lease", LEASE_NAME)["spec"]["holderIdentity"] == UNINSTALL
    cluster.pods_come = True
    await running
    assert cluster.kube.all("Lease") == []


async def test_without_the_crd_there_are_no_pools_and_it_ends_at_once():
    """For an unknown API group the API server answers 404 in plain text."""
    cluster = Cluster()
    cluster.kube.on("find", HttpError(404, "404 page not found"))
    await cluster.uninstall()
    assert "there are no WarmPools" in cluster.said
    assert not cluster.has_said("cannot be read")


async def test_after_everything_of_kotatsu_is_gone_it_still_restores_what_sleeps():
    """As under an Argo CD that runs the Job after the deletion: no Lease, record or activator."""
    cluster = Cluster(asleep(), deployment(replicas=0))
    cluster.kube.remove("ConfigMap", RECORD)
    await cluster.uninstall()
    assert replicas(cluster.kube) == 3
    assert cluster.pool()["status"]["route"] == {"target": "Native", "epoch": 1}
    assert "there is no Lease: no operator runs" in cluster.said


# --- the whole cluster ---


def of(activators, namespace, **how):
    """A sleeping pool of a set of activators, and what belongs to it."""
    pool = asleep(**how)
    pool["status"]["internal"] = {"activators": activators}
    slices = [published("activator-1", 1)]
    return [there(obj, namespace) for obj in (pool, deployment(replicas=0), *slices)]


def awake(kube):
    """The namespaces with pods."""
    return {d["metadata"]["namespace"] for d in kube.all("Deployment") if d["spec"]["replicas"]}


@pytest.mark.slow
async def test_an_install_restores_its_own_pools_in_every_namespace():
    mine = [obj for number in range(12) for obj in of(f"{HOME}/0", f"n{number}")]
    mine += of(own_set(HOME, "own"), "own")
    others = [*of("away/0", "theirs"), *of("", "alone")]
    cluster = Cluster(*parts(), *mine, *others)
    await cluster.uninstall(HOME)
    assert awake(cluster.kube) == {"own", *(f"n{number}" for number in range(12))}
    assert cluster.said[-1].startswith("done")
    assert len(cluster.kube.called("find")) < 10, "it lists the cluster, not each namespace"
    assert [o["metadata"]["namespace"] for o in cluster.kube.all("ConfigMap")] == [NAMESPACE]


@pytest.mark.parametrize("endpoints", [{"endpoints": []}, {}])
async def test_of_the_slices_of_activators_only_its_own_are_removed(endpoints):
    def emptied(activators, namespace):
        made = there(published("activator-1", 1), namespace) | endpoints
        made["metadata"]["annotations"][SET_ANNOTATION] = activators
        return made

    sets = {"shop": f"{HOME}/0", "theirs": "away/0", "alone": ""}
    cluster = Cluster(*parts(), *(emptied(of, namespace) for namespace, of in sets.items()))
    await cluster.uninstall(HOME)
    left = {obj["metadata"]["namespace"] for obj in cluster.kube.all("EndpointSlice")}
    assert left == {"theirs", "alone"}


async def test_what_deleted_pools_have_left_is_restored_in_every_namespace():
    cluster = Cluster(*parts(), there(deployment(replicas=0), "shop"))
    pool = of(f"{HOME}/0", "shop")[0]
    await shared(cluster.kube).remember(pool)
    assert entries(cluster.kube) == {"shop-pool-voice": "shop"}
    await cluster.uninstall(HOME)
    assert awake(cluster.kube) == {"shop"}


async def test_a_long_uninstall_says_how_far_it_is(monkeypatch):
    monkeypatch.setattr(patience, "SAY_EVERY", 0.0)
    cluster = Cluster(*parts(), *of(f"{HOME}/0", "shop"), *of(f"{HOME}/0", "mail"))
    await cluster.uninstall(HOME)
    assert "restored targets: 1 of 2; for 60 s more at most" in cluster.said


async def test_a_cluster_that_cannot_be_listed_is_named_as_such(monkeypatch):
    monkeypatch.setattr(uninstall, "REFUSED_FOR", 0.0)
    cluster = Cluster(*parts(), *of(f"{HOME}/0", "shop"))
    cluster.refused = EVERYWHERE
    await cluster.uninstall(HOME)
    assert any(line.startswith("the cluster cannot be read (forbidden") for line in cluster.said)
    assert cluster.said[-1] == "done: the WarmPools and their CRD stay"
