"""`restore` in the states that a removed Kotatsu can leave, and what it does not do."""

import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from itertools import product
from typing import Any, cast
from urllib.parse import unquote

import pytest
from plugin.kit import NOW, Ran, demo_mode
from plugin.setups import (
    Object,
    Objects,
    Recorded,
    activator,
    autoscaler,
    deployment,
    operator,
    plural,
    pod,
    service,
    warm_pool,
)
from rows import each

from kotatsu_demo_mode.api import STRATEGIC
from kotatsu_demo_mode.errors import ConflictError, ForbiddenError, NotFoundError, NotServedError
from kotatsu_operator.core.protocol import (
    ACTIVATOR_ANNOTATION,
    INSTALL_LABEL,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    SERVICE_LABEL,
    record_part,
)


class Left(Recorded):
    """What is left on an API server, without the CRD if there is no pool; writes change it."""

    def __init__(self, *objects: Object, has_crd: bool | None = None) -> None:
        super().__init__([*objects])
        pools = any(o["kind"] == "WarmPool" for o in objects)
        self.has_crd = pools if has_crd is None else has_crd
        self.forbidden: set[str] = set()
        """Kinds, and objects, that may not be written."""
        self.on_write: Callable[[], None] = lambda: None
        self.writes: list[str] = []
        for number, o in enumerate(self._objects):
            o["metadata"].setdefault("uid", f"uid-{o['metadata']['name']}")
            o["metadata"]["resourceVersion"] = str(number)

    def get(self, path: str, labelSelector: str = "", **query: str) -> Object:  # noqa: N803
        if path.endswith("/warmpools") and not self.has_crd:
            raise NotServedError("this cluster has no CRD warmpools.kotatsu.dev")
        if path == "/apis":
            return {"groups": [{"preferredVersion": {"groupVersion": "argoproj.io/v1alpha1"}}]}
        if path == "/apis/argoproj.io/v1alpha1":
            names = ("rollouts", "rollouts/scale", "rollouts/status")
            return {"resources": [{"name": name, "kind": "Rollout"} for name in names]}
        return super().get(path, labelSelector, **query)

    def patch(self, path: str, body: Object, kind: str, query: Mapping[str, str]) -> Object:
        found = self._written(path.removesuffix("/scale").removesuffix("/resize"), query)
        meta = body.get("metadata", {})
        version = meta.get("resourceVersion", found["metadata"]["resourceVersion"])
        if version != found["metadata"]["resourceVersion"]:
            raise ConflictError("the object has been modified")
        if "dryRun" in query:
            return found
        if kind == STRATEGIC:
            for given in body["spec"].get("containers", ()):
                [container] = [c for c in found["spec"]["containers"] if c["name"] == given["name"]]
                container["resources"]["requests"].update(given["resources"]["requests"])
        else:
            _merge(found, {k: v for k, v in body.items() if k != "metadata"})
            _merge(found["metadata"], {"annotations": meta.get("annotations", {})})
        found["metadata"]["resourceVersion"] += "1"
        # The API server leaves out 0, and then records no owner.
        owners = {f"f:{field}": {} for field, value in body.get("spec", {}).items() if value}
        found["metadata"]["managedFields"] = [
            {"manager": query["fieldManager"], "fieldsV1": {"f:spec": owners}}
        ]
        return found

    def delete(self, path: str, **query: str) -> None:
        found = self._written(path, query)
        if "dryRun" not in query:
            self._objects.remove(found)

    def _written(self, path: str, query: Mapping[str, str]) -> Object:
        self.on_write()
        *_, kinds, name = unquote(path).split("/")
        for what in {kinds, f"{kinds}/{name}"} & self.forbidden:
            raise ForbiddenError(f"you have no permission: {what} is forbidden")
        for o in self._objects:
            if (plural(o["kind"]), o["metadata"]["name"]) == (kinds, name):
                if "dryRun" not in query:
                    self.writes.append(f"{kinds}/{name}")
                return o
        raise NotFoundError(f"there is no {path}")

    def of(self, kind: str, name: str = "web") -> Object:
        """An object as it is now."""
        found = [o for o in self._objects if (o["kind"], o["metadata"]["name"]) == (kind, name)]
        return deepcopy(found[0])

    def has(self, kind: str) -> bool:
        return any(o["kind"] == kind for o in self._objects)

    def restore(self, *words: str) -> Ran:
        return demo_mode("restore", *words, cluster=self)


def _merge(into: Object, change: Mapping[str, Any]) -> None:
    for key, value in change.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = deepcopy(value)


def sleeping(name: str = "web") -> Object:
    """A Deployment at 0 replicas."""
    return deployment(name, replicas=0)


def scaled(manager: str) -> Object:
    """A Deployment that runs, and who has set its replicas."""
    made = deployment(replicas=1)
    owned = {"manager": manager, "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    made["metadata"]["managedFields"] = [owned]
    return made


def pool(name: str = "web", status: Object | None = None, **spec: Any) -> Object:
    """A pool that sleeps, which activators in the namespace kotatsu have served."""
    made = warm_pool(name, **{"targetRef": {"name": name}, **spec})
    found = {"phase": "Asleep", "foundReplicas": 3} if status is None else status
    inner = {"activators": "kotatsu/0", **found.get("internal", {})}
    return made | {"status": found | {"internal": inner}}


def record(
    kind: str = "Deployment",
    *targets: str,
    namespaces: Sequence[str] = ("demo",),
    home: str = "kotatsu",
    **owed: Any,
) -> Object:
    """The part of the record with entries of deleted pools, for targets of the name web.

    Without what is owed, it is empty.
    """
    data = {
        f"uid-{target}-of-{of}": json.dumps(
            {"namespace": of, "pool": target} | {"target": {"kind": kind, "name": target}, **owed}
        )
        for of in (namespaces if owed else ())
        for target in targets or ("web",)
    }
    meta = {"name": record_part(namespaces[0]), "namespace": home}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def kept(cluster: Left) -> list[str]:
    """The entries that are left in the record."""
    return list(cluster.of("ConfigMap", record_part("demo"))["data"])


HOME = "--home=kotatsu"


def slice_of(activator_uid: str, of: str = "web") -> Object:
    """An activator's slice."""
    labels = {MANAGED_BY_LABEL: MANAGED_BY, SERVICE_LABEL: of, "kotatsu.dev/pool": of}
    named = {ACTIVATOR_ANNOTATION: f"demo/kotatsu-activator-1/{activator_uid}"}
    meta = {"name": f"{of}-slice", "labels": labels, "annotations": named}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": meta,
        "endpoints": [{"addresses": ["10.1.1.1"]}],
    }


def without_selector() -> Object:
    made = service()
    del made["spec"]["selector"]
    return made


STATES: dict[str, Objects] = {
    "the chart is gone, pools are there": [pool(), sleeping()],
    "the hook was skipped, and the record is empty": [pool(), record(), sleeping()],
    "the CRD is gone, the record is there": [record(foundReplicas=3), sleeping()],
    "a pool was deleted without an operator": [
        pool("other", status={}),
        record(foundReplicas=3),
        sleeping(),
    ],
    "a pool was deleted and made again": [
        pool(status={"internal": {"foundReplicas": 0}}),
        record(foundReplicas=3),
        sleeping(),
    ],
    "the operator is scaled to 0": [pool(), sleeping(), operator(ready=0)],
}


@each("state, words", product(STATES, [("--all",), ("-A",), ("web",)]))
def test_a_sleeping_target_gets_its_replicas_back_and_a_second_run_changes_nothing(
    state: str, words: tuple[str, ...]
):
    cluster = Left(*STATES[state])
    ran = cluster.restore(*words, HOME)
    assert (ran.code, ran.err) == (0, "")
    assert "demo/web: Deployment web has 3 replicas again\n" in ran.out
    assert cluster.of("Deployment")["spec"]["replicas"] == 3
    written = len(cluster.writes)
    again = cluster.restore("-A", HOME)
    assert (again.code, again.err) == (0, "")
    assert [w for w in cluster.writes[written:] if not w.startswith("configmaps")] == []


def test_a_target_that_was_found_at_0_stays_there_unless_pods_are_asked_for():
    cluster = Left(pool(status={"foundReplicas": 0}), sleeping())
    ran = cluster.restore("web")
    assert ran.code == 0
    assert "stays at 0 replicas, as the pool found it; --replicas gives it pods" in ran.out
    cluster.restore("web", "--replicas", "2")
    assert cluster.of("Deployment")["spec"]["replicas"] == 2


def owed_by_everything() -> Left:
    """What one target may get back, of which each object has a path of its own."""
    floor = {"manager": "kotatsu-operator", "fieldsV1": {"f:spec": {"f:minReplicas": {}}}}
    small = pod("web-1", {"app": "web"})
    small["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "5m", "memory": "64Mi"}}
    inner = {"hpa": {"name": "web", "minReplicas": 2}}
    return Left(
        pool(status={"foundReplicas": 3, "reduced": True, "internal": inner}),
        sleeping(),
        autoscaler(minReplicas=5, metadata={"managedFields": [floor]}),
        small,
    )


def test_each_object_is_written_as_the_operator_so_that_a_later_install_finds_no_other_writer():
    cluster = owed_by_everything()
    ran = cluster.restore("web")
    assert (ran.code, ran.err) == (0, "")
    assert cluster.of("HorizontalPodAutoscaler")["spec"]["minReplicas"] == 2
    [container] = cluster.of("Pod", "web-1")["spec"]["containers"]
    assert container["resources"]["requests"] == {"cpu": "100m", "memory": "64Mi"}
    for kind in ("Deployment", "HorizontalPodAutoscaler"):
        [owner] = cluster.of(kind)["metadata"]["managedFields"]
        assert owner["manager"] == "kotatsu-operator"


def test_a_pod_that_cannot_be_resized_fails_the_command_and_stops_nothing():
    cluster = owed_by_everything()
    cluster.forbidden = {"pods/web-1"}
    ran = cluster.restore("web")
    assert ran.code == 1
    said = "you have no permission: pods/web-1 is forbidden; by hand: `kubectl rollout restart`"
    assert ran.err.startswith(f"error: demo/web: {said}")
    assert cluster.of("Deployment")["spec"]["replicas"] == 2


@each(
    "left",
    [
        [pool(route="Activator"), sleeping()],
        [record(foundReplicas=3), sleeping()],
        [scaled("kotatsu-activator")],
    ],
)
def test_a_service_of_route_activator_gets_the_selector_of_its_target(left: Objects):
    cluster = Left(*left, without_selector(), slice_of("uid-gone"))
    ran = cluster.restore("--all", HOME)
    assert ran.code == 0
    assert "Service web selects the pods of Deployment web (app=web)" in ran.out
    assert cluster.of("Service")["spec"]["selector"] == {"app": "web"}


def test_a_service_without_selector_of_a_workload_that_kotatsu_never_scaled_is_left_alone():
    cluster = Left(scaled("kubectl"), without_selector())
    assert cluster.restore("-A").out == "Nothing is left to restore.\n"
    assert cluster.writes == []


def test_a_service_with_endpoints_of_its_own_gets_no_selector():
    theirs = slice_of("x")
    theirs["metadata"]["labels"].pop(MANAGED_BY_LABEL)
    cluster = Left(pool(), sleeping(), without_selector(), theirs)
    cluster.restore("web")
    assert "selector" not in cluster.of("Service")["spec"]


def test_slices_go_with_their_activators_and_those_that_run_keep_theirs():
    alive = activator(1)
    alive["metadata"]["uid"] = "uid-alive"
    slices = [slice_of("uid-alive"), slice_of("uid-gone", "auth")]
    cluster = Left(pool(), pool("auth"), sleeping(), sleeping("auth"), alive, *slices)
    cluster.restore("web")
    assert cluster.of("EndpointSlice", "auth-slice"), "of a pool that was not named"
    ran = cluster.restore("--all")
    assert "demo: EndpointSlice auth-slice of an activator that is gone is deleted\n" in ran.out
    assert cluster.of("EndpointSlice", "web-slice")


def test_the_slice_of_an_activator_that_ends_goes_too():
    """After an uninstall it may not withdraw it any more, and nothing else would."""
    ending = activator(1)
    ending["metadata"] |= {"uid": "uid-ending", "deletionTimestamp": "2030-01-01T00:00:00Z"}
    cluster = Left(pool(), sleeping(), ending, slice_of("uid-ending"))
    cluster.restore("--all")
    assert "endpointslices/web-slice" in cluster.writes


def test_a_finalizer_of_somebody_elses_is_named_and_stays():
    ending = pool()
    ending["metadata"] |= {"deletionTimestamp": "2030-01-01T00:00:00Z", "finalizers": ["a/wait"]}
    cluster = Left(ending, sleeping())
    ran = cluster.restore("web")
    assert ran.code == 0
    assert "its deletion waits for a/wait, which is not Kotatsu's" in ran.out
    assert cluster.of("WarmPool")["metadata"]["finalizers"] == ["a/wait"]
    assert cluster.of("Deployment")["spec"]["replicas"] == 3


# --- the record ---


def test_an_entry_goes_when_its_target_is_restored():
    cluster = Left(record("Deployment", "web", "auth", foundReplicas=3), sleeping())
    cluster._objects += Left(sleeping("auth"), operator(ready=0))._objects
    ran = cluster.restore("web", HOME)
    assert (ran.code, kept(cluster)) == (0, ["uid-auth-of-demo"])


def test_a_kind_of_the_record_is_looked_up_by_its_scale():
    rollout = sleeping() | {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"}
    cluster = Left(record("Rollout", foundReplicas=2), rollout)
    assert cluster.restore("--all", HOME).code == 0
    assert cluster.of("Rollout")["spec"]["replicas"] == 2


IN_THE_SAME_PART = next(
    name for name in map("n{}".format, range(999)) if record_part(name) == record_part("demo")
)


@pytest.mark.parametrize(
    ("words", "others"), [("--all", [f"uid-web-of-{IN_THE_SAME_PART}"]), ("-A", [])]
)
def test_what_deleted_pools_had_is_in_the_part_of_the_namespace(words: str, others: list[str]):
    left = record(namespaces=("demo", IN_THE_SAME_PART), foundReplicas=2)
    cluster = Left(pool("auth"), sleeping("auth"), sleeping(), left)
    assert cluster.restore(words).code == 0
    assert cluster.of("Deployment")["spec"]["replicas"] == 2
    assert kept(cluster) == others


def test_a_record_in_a_namespace_that_no_pool_names_is_not_believed():
    cluster = Left(pool(status={}), sleeping(), record(home="evil", foundReplicas=50))
    assert "no record says that it had more" in cluster.restore("--all").out


def test_without_a_pool_it_asks_where_the_record_is():
    cluster = Left(record(foundReplicas=3), sleeping())
    ran = cluster.restore("-A")
    assert (ran.code, ran.out) == (0, "Nothing is left to restore.\n")
    assert "which has the record of deleted ones: give it with --home" in ran.err


@each(
    "left",
    [
        [pool(route="Activator", status={"internal": {"takenService": "web"}}), sleeping()],
        [record(takenService="web"), sleeping()],
        [scaled("kotatsu-activator")],
    ],
)
def test_a_selector_that_route_activator_has_taken_is_as_before(left: Objects):
    taken = service()
    taken["spec"]["selector"] = {"app": "web", "kotatsu.dev/route": "Activator"}
    cluster = Left(*left, taken, slice_of("uid-gone"))
    ran = cluster.restore("--all", HOME)
    assert ran.code == 0
    assert "Service web selects its pods again" in ran.out
    assert cluster.of("Service")["spec"]["selector"] == {"app": "web"}


# --- what cannot be done ---


def test_what_cannot_be_restored_is_named_with_the_reason_and_the_rest_is_restored():
    cluster = Left(pool(route="Activator"), pool("auth"), sleeping(), sleeping("auth"))
    cluster._objects.append(without_selector() | {"metadata": service("web")["metadata"]})
    cluster._objects[-1]["metadata"] |= {"namespace": "demo", "resourceVersion": "9"}
    cluster.forbidden = {"services"}
    ran = cluster.restore("--all")
    assert ran.code == 1
    said = "you have no permission: services is forbidden; by hand: give Service web a selector"
    assert ran.err.startswith(f"error: demo/web: {said}")
    assert cluster.of("Deployment")["spec"]["replicas"] == 3
    assert cluster.of("Deployment", "auth")["spec"]["replicas"] == 3


def test_an_entry_stays_if_its_target_could_not_be_restored():
    cluster = Left(record(foundReplicas=3), sleeping())
    cluster.forbidden = {"deployments"}
    assert cluster.restore("-A", HOME).code == 1
    assert kept(cluster) == ["uid-web-of-demo"]


def test_a_list_that_may_not_be_read_fails_the_command_and_stops_nothing():
    cluster = Left(pool(), sleeping())
    cluster._denied = ("configmaps",)
    ran = cluster.restore("--all")
    assert ran.code == 1
    assert ran.err.startswith("error: you have no permission: configmaps is forbidden")
    assert cluster.of("Deployment")["spec"]["replicas"] == 3


def test_an_object_that_changes_meanwhile_is_read_again():
    cluster, changes = Left(pool(), sleeping()), iter(range(2))

    def change() -> None:
        if next(changes, None) is not None:
            cluster._objects[1]["metadata"]["resourceVersion"] += "0"

    cluster.on_write = change
    assert cluster.restore("web").code == 0
    assert cluster.of("Deployment")["spec"]["replicas"] == 3


def lease(holder: str, renewed: str) -> Object:
    spec = {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 10}
    meta = {"name": "kotatsu-operator"}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": meta,
        "spec": spec,
    }


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([operator(), lease("a", NOW.isoformat())], "watches it, and may undo it: uninstall"),
        ([operator(), lease("uninstall", NOW.isoformat())], "while Kotatsu is uninstalled"),
    ],
    ids=["an operator", "the uninstall Job"],
)
def test_it_refuses_while_an_operator_would_undo_it_and_force_restores(more: Objects, said: str):
    cluster = Left(pool(), sleeping(), *more)
    ran = cluster.restore("--all")
    assert (ran.code, ran.out, cluster.writes) == (1, "", [])
    assert said in ran.err
    assert cluster.restore("--all", "--force").code == 0
    assert cluster.of("Deployment")["spec"]["replicas"] == 3


@pytest.mark.parametrize(("served_by", "code"), [("", 0), ("kotatsu/0", 1)])
def test_where_operators_may_not_be_read_a_status_says_whether_one_is_there(
    served_by: str, code: int
):
    class Closed(Left):
        def get(self, path: str, labelSelector: str = "", **query: str) -> Object:  # noqa: N803
            if path.endswith("/deployments") and "operator" in labelSelector:
                raise ForbiddenError("you have no permission: deployments.apps is forbidden")
            return super().get(path, labelSelector, **query)

    status = {"foundReplicas": 3, "internal": {"activators": served_by}}
    ran = Closed(pool(status=status), sleeping()).restore("--all")
    assert ran.code == code
    assert ("an operator may watch it" in ran.err) == bool(code)


@pytest.mark.parametrize("dry", ["client", "server"])
def test_a_dry_run_says_what_would_be_done_and_changes_nothing(dry: str):
    cluster = Left(pool(), record(foundReplicas=3), sleeping(), slice_of("uid-gone"))
    ran = cluster.restore("--all", f"--dry-run={dry}")
    assert ran.code == 0
    assert f"Deployment web has 3 replicas again ({dry} dry run)\n" in ran.out
    assert cluster.writes == []


# --- which ---


def test_pools_are_named_chosen_by_label_or_all():
    labeled = pool()
    labeled["metadata"]["labels"] = {"team": "pet"}

    def cluster() -> Left:
        return Left(deepcopy(labeled), pool("auth"), sleeping(), sleeping("auth"))

    said = cluster().restore()
    assert (said.code, said.err) == (
        1,
        "error: name a pool (auth, web), as in `kubectl demo-mode restore web`, or use --all\n",
    )
    by_label = cluster()
    assert by_label.restore("-l", "team=pet").code == 0
    assert by_label.of("Deployment", "auth")["spec"]["replicas"] == 0
    assert "has no WarmPool with labels team=x" in cluster().restore("-l", "team=x").err
    missing = cluster().restore("nope")
    assert missing.err.startswith("error: there is nothing to restore of nope in namespace demo; ")


def test_all_namespaces_are_restored_and_one_with_an_operator_does_not_stop_the_others():
    there, theirs = pool("far"), sleeping("far")
    for o in (there, theirs):
        o["metadata"]["namespace"] = "far"
    acting = operator(unlabeled=False), lease("a", NOW.isoformat())
    cluster = Left(pool(), sleeping(), there, theirs, *acting)
    cluster.labels["far"] = {INSTALL_LABEL: "demo"}
    ran = cluster.restore("-A")
    assert ran.code == 1
    assert ran.err.startswith("error: far: the operator demo/kotatsu-operator 0.1.0 watches it")
    assert cluster.of("Deployment")["spec"]["replicas"] == 3
    assert cluster.of("Deployment", "far")["spec"]["replicas"] == 0


def test_json_has_a_step_for_each_object():
    steps = Left(pool(), sleeping()).restore("web", "-o", "json").json
    assert cast(list[Any], steps) == [
        {
            "namespace": "demo",
            "pool": "web",
            "result": "restored",
            "message": "Deployment web has 3 replicas again",
        }
    ]


def test_the_slices_of_activators_that_live_elsewhere_stay():
    alive, gone = slice_of("x", "web"), slice_of("x", "auth")
    for made, uid in ((alive, "uid-kotatsu-activator-1"), (gone, "uid-of-another")):
        service_of_home = {"kind": "Service", "name": "web", "uid": "uid-of-the-service"}
        made["metadata"]["ownerReferences"] = [service_of_home]
        name = f"kotatsu/kotatsu-activator-1/{uid}"
        made["metadata"]["annotations"] = {ACTIVATOR_ANNOTATION: name}
    shared = activator(1)
    shared["metadata"]["namespace"] = "kotatsu"
    cluster = Left(pool(), sleeping(), alive, gone, shared)
    assert cluster.restore("--all", "--force").code == 0
    assert [o["metadata"]["name"] for o in cluster._objects if o["kind"] == "EndpointSlice"] == [
        "web-slice"
    ]
