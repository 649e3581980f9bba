"""What the admission policies refuse to the operator's and the activators' accounts, and what not.

The requests are made in the accounts' names, with the permissions of the chart. That the programs
themselves need nothing else is shown by tests/e2e/test_rights.py, which runs them under the same
policies. The release is in `here`, and `there` has activators of its own; test_shared_policies.py
is about shared ones.
"""

import pytest
from apiserver.asked import (
    HPAS,
    POOLS,
    REVISIONS,
    SCALE,
    SERVICES,
    SLICES,
    STATEFUL_SCALE,
    UIDS,
    Api,
    Attempt,
    Place,
    autoscaler,
    deployment,
    example_of,
    installed,
    lost_pod,
    pod,
    revision,
    revision_crd,
    scale_to,
    service,
    slice_of,
    slice_of_a_controller,
    status_of,
    until,
    until_refused,
    warm_pool,
    with_replicas,
)
from apiserver.keeper import Plane
from chart.kit import Object, crd
from e2e.rights import OPERATOR, THERE

from kotatsu_operator.activator.slices import taken_back
from kotatsu_operator.core.protocol import COST, MARK

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(600)]

ACTIVATOR = f"system:serviceaccount:{THERE}:kotatsu-activator"
KOTATSU = ("kotatsu-operator", "kotatsu-activator-0", "kotatsu-activator")
OWN = f"--set-json=activator.own.{THERE}={{}}"
PODS = f"api/v1/namespaces/{THERE}/pods"
STRATEGIC = "application/strategic-merge-patch+json"
OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "none"}


@pytest.fixture(scope="module")
def place(plane: Plane) -> Place:
    """Namespaces with the chart's policies, and what the accounts write to."""
    made = installed(plane, "policies", OWN)
    made.apply(revision_crd())
    _prepare(Api(made))
    _wait_for_the_policies(Api(made), Api(made, OPERATOR), Api(made, ACTIVATOR))
    return made


def _prepare(admin: Api) -> None:
    for name, replicas in (("web", 0), ("busy", 5), *((name, 0) for name in KOTATSU)):
        admin.accepts(
            "POST", "apis/apps/v1/namespaces/there/deployments", deployment(name, replicas)
        )
    stateful = deployment("db", 0) | {"kind": "StatefulSet"}
    stateful["spec"]["serviceName"] = "db"
    admin.accepts("POST", "apis/apps/v1/namespaces/there/statefulsets", stateful)
    for number in (1, 2):
        made = admin.accepts("POST", "api/v1/namespaces/there/pods", pod(f"activator-{number}"))
        UIDS[made["metadata"]["name"]] = made["metadata"]["uid"]
    for name in ("web", "other", "early"):
        UIDS[name] = admin.accepts("POST", SERVICES, service(name))["metadata"]["uid"]
    admin.accepts("POST", HPAS, autoscaler("auto"))
    admin.accepts("POST", POOLS, warm_pool("web"))


def _wait_for_the_policies(admin: Api, operator: Api, activator: Api) -> None:
    """Wait until each policy refuses."""
    made = admin.accepts("POST", SLICES, slice_of_a_controller("early"))
    tries: list[Attempt] = [
        lambda: operator("PATCH", f"{HPAS}/auto?dryRun=All", {"spec": {"maxReplicas": 7}}),
        lambda: operator("PATCH", f"{SERVICES}/early?dryRun=All", {"spec": {"type": "NodePort"}}),
        lambda: operator("PATCH", f"{PODS}/activator-1?dryRun=All", marked("7")),
        lambda: activator("PATCH", f"{SCALE.format('busy')}?dryRun=All", with_replicas(1)),
        lambda: activator("PUT", f"{SLICES}/early?dryRun=All", made),
        lambda: activator("PATCH", f"{POOLS}/web/status?dryRun=All", status_of(phase="Warm")),
        lambda: operator("PATCH", f"{REVISIONS}/early?dryRun=All", {"spec": {"image": "other"}}),
    ]
    until(
        lambda: admin("POST", REVISIONS, revision("early")),
        lambda answer: answer.status_code in (201, 409),
    )
    for attempt in tries:
        until_refused(attempt)


@pytest.fixture
def activator(place: Place) -> Api:
    """An activator in the pod activator-1, with the token that the kubelet gives it."""
    extra = {"pod-name": "activator-1", "pod-uid": UIDS["activator-1"]}
    return Api(place, ACTIVATOR, {f"authentication.kubernetes.io/{k}": v for k, v in extra.items()})


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name of the test's own."""
    return str(request.node.name)[5:50].replace("_", "-").rstrip("-")


# --- autoscalers ---


def test_the_operator_sets_the_minimum_of_an_autoscaler(admin: Api, operator: Api) -> None:
    there = admin.accepts("GET", f"{HPAS}/auto")
    version = {"resourceVersion": there["metadata"]["resourceVersion"]}

    after = operator.accepts(
        "PATCH", f"{HPAS}/auto", {"metadata": version, "spec": {"minReplicas": 3}}
    )

    assert after["spec"] == there["spec"] | {"minReplicas": 3}


@pytest.mark.parametrize(
    "change",
    [
        {"scaleTargetRef": {"kind": "StatefulSet", "name": "database"}},
        {"maxReplicas": 1000},
        {"metrics": None},
        {"behavior": {"scaleDown": {"selectPolicy": "Disabled"}}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_operator_cannot_change_what_an_autoscaler_scales_or_how(
    operator: Api, change: Object
) -> None:
    sentence = "The operator may change nothing but minReplicas in the spec"
    operator.refuses(sentence, "PATCH", f"{HPAS}/auto", {"spec": change})


def test_the_older_api_of_autoscalers_is_no_way_around(operator: Api) -> None:
    sentence = "The operator may change nothing but minReplicas in the spec"
    older = HPAS.replace("/v2/", "/v1/") + "/auto"
    operator.refuses(sentence, "PATCH", older, {"spec": {"maxReplicas": 1000}})


def test_the_operator_cannot_change_the_metadata_of_an_autoscaler(operator: Api) -> None:
    sentence = "The operator may not change the labels, annotations, owners or finalizers"
    for change in ({"labels": {"a": "b"}}, {"annotations": {"a": "b"}}, {"finalizers": ["a/b"]}):
        operator.refuses(sentence, "PATCH", f"{HPAS}/auto", {"metadata": change})


# --- Services ---


def test_the_operator_adds_and_removes_one_term_of_a_selector(admin: Api, operator: Api) -> None:
    admin.accepts("POST", SERVICES, service("taken"))
    term = {"spec": {"selector": {"kotatsu.dev/route": "Activator"}}}
    after = operator.accepts("PATCH", f"{SERVICES}/taken", term)
    assert after["spec"]["selector"] == {"app": "web", "kotatsu.dev/route": "Activator"}
    for change in ({"selector": {"app": "theirs"}}, {"selector": None}, {"type": "NodePort"}):
        sentence = "The operator may change nothing but kotatsu.dev/route in the selector"
        operator.refuses(sentence, "PATCH", f"{SERVICES}/taken", {"spec": change})
    sentence = "The operator may not change the labels, annotations, owners or finalizers"
    operator.refuses(sentence, "PATCH", f"{SERVICES}/taken", {"metadata": {"labels": {"a": "b"}}})
    back = {"spec": {"selector": {"kotatsu.dev/route": None}}}
    assert operator.accepts("PATCH", f"{SERVICES}/taken", back)["spec"]["selector"] == {
        "app": "web"
    }


def test_the_operator_takes_no_service_of_its_own_namespace_but_gives_one_back(
    admin: Api, operator: Api
) -> None:
    at_home = SERVICES.replace("there", "here")
    admin.accepts("POST", at_home, service("taken"))
    term = {"spec": {"selector": {"kotatsu.dev/route": "Activator"}}}
    sentence = "The operator may not add kotatsu.dev/route to the selector of a Service in its own"
    operator.refuses(sentence, "PATCH", f"{at_home}/taken", term)
    admin.accepts("PATCH", f"{at_home}/taken", term)
    back = {"spec": {"selector": {"kotatsu.dev/route": None}}}
    after = operator.accepts("PATCH", f"{at_home}/taken", back)
    assert after["spec"]["selector"] == {"app": "web"}


# --- scales ---


def test_an_activator_raises_0_to_1(activator: Api) -> None:
    path = SCALE.format("web") + "?dryRun=All"
    assert activator.accepts("PATCH", path, with_replicas(1))["spec"]["replicas"] == 1


@pytest.mark.parametrize(("name", "replicas"), [("web", 2), ("busy", 1), ("busy", 0), ("busy", 6)])
def test_an_activator_scales_nothing_else(activator: Api, name: str, replicas: int) -> None:
    sentence = "An activator may only scale a workload from 0 to 1"
    activator.refuses(sentence, "PATCH", SCALE.format(name), with_replicas(replicas))


def test_a_stateful_set_is_scaled_as_a_deployment(activator: Api, operator: Api) -> None:
    path = STATEFUL_SCALE.format("db") + "?dryRun=All"
    assert activator.accepts("PATCH", path, with_replicas(1))["spec"]["replicas"] == 1
    sentence = "An activator may only scale a workload from 0 to 1"
    activator.refuses(sentence, "PATCH", path, with_replicas(2))
    there = operator.accepts("GET", STATEFUL_SCALE.format("db"))
    up = operator.accepts("PUT", path, {**there, "spec": {"replicas": 3}})
    assert up["spec"]["replicas"] == 3


def test_the_operator_scales_up_and_down(operator: Api) -> None:
    for replicas in (0, 5):
        operator.accepts("PUT", SCALE.format("busy"), scale_to("busy", replicas))


@pytest.mark.parametrize("name", KOTATSU)
def test_nothing_of_kotatsu_is_scaled_by_itself(operator: Api, activator: Api, name: str) -> None:
    sentence = "Kotatsu may not scale its own Deployments"
    operator.refuses(sentence, "PUT", SCALE.format(name), scale_to(name, 1))
    activator.refuses(sentence, "PATCH", SCALE.format(name), with_replicas(1))


# --- EndpointSlices ---


def test_an_activator_publishes_its_pod_says_that_it_leaves_and_withdraws(
    activator: Api, name: str
) -> None:
    made = activator.accepts("POST", SLICES, slice_of(name))
    path = f"{SLICES}/{made['metadata']['name']}"
    for state in ("leaving", "lost", "empty", "serving"):
        activator.accepts("PUT", path, slice_of(name, state=state))
    activator.accepts("DELETE", path)


def test_an_activator_may_serve_a_pool_whose_service_is_another_now(
    activator: Api, name: str
) -> None:
    made = activator.accepts("POST", SLICES, slice_of(name))
    activator.accepts("PUT", f"{SLICES}/{made['metadata']['name']}", slice_of(name, "other"))


def test_an_activator_takes_a_lost_pods_endpoint_back_and_removes_a_gone_pods_slice(
    admin: Api, activator: Api, name: str
) -> None:
    made = admin.accepts("POST", SLICES, slice_of(name, number=2))
    path = f"{SLICES}/{made['metadata']['name']}"
    for terminating in (False, True):
        made = activator.accepts("PUT", path, taken_back(made, lost_pod(terminating=terminating)))
    activator.accepts("PUT", path, made | {"endpoints": []})
    activator.accepts("DELETE", path)


@pytest.mark.parametrize("what", ["addresses", "ports", "owner", "ready"])
def test_an_activator_cannot_put_anything_into_the_slice_of_another(
    admin: Api, activator: Api, name: str, what: str
) -> None:
    name = f"{name[:30]}-{what}"
    made = admin.accepts("POST", SLICES, slice_of(name, number=2))
    back = taken_back(made, lost_pod(terminating=False))
    [endpoint] = back["endpoints"]
    changed = {
        "addresses": back | {"endpoints": [endpoint | {"addresses": ["10.9.9.9"]}]},
        "ports": back | {"ports": [{"name": "", "port": 22, "protocol": "TCP"}]},
        "owner": back
        | {
            "metadata": back["metadata"]
            | {"ownerReferences": slice_of(name, "other")["metadata"]["ownerReferences"]}
        },
        "ready": back | {"endpoints": [endpoint | {"conditions": {"ready": True}}]},
    }[what]
    sentence = "In the EndpointSlice of another pod an activator may only mark the endpoint"
    activator.refuses(sentence, "PUT", f"{SLICES}/{made['metadata']['name']}", changed)


def test_an_activator_cannot_publish_another_pod(activator: Api, name: str) -> None:
    sentence = "An activator may only publish its own pod"
    activator.refuses(sentence, "POST", SLICES, slice_of(name, number=2))
    other = slice_of(name)
    other["endpoints"][0]["targetRef"]["uid"] = UIDS["activator-2"]
    activator.refuses(sentence, "POST", SLICES, other)


@pytest.mark.parametrize("what", ["namespace", "none", "node", "two endpoints", "two addresses"])
def test_a_slice_of_an_activator_has_one_pod_of_its_namespace(
    activator: Api, name: str, what: str
) -> None:
    made = slice_of(f"{name[:30]}-{what}".replace(" ", "-"))
    [endpoint] = made["endpoints"]
    ref = endpoint["targetRef"]
    made["endpoints"] = {
        "namespace": [endpoint | {"targetRef": ref | {"namespace": "here"}}],
        "none": [{k: v for k, v in endpoint.items() if k != "targetRef"}],
        "node": [endpoint | {"targetRef": {"kind": "Node", "name": "node"}}],
        "two endpoints": [endpoint, endpoint | {"addresses": ["10.9.9.9"]}],
        "two addresses": [endpoint | {"addresses": ["10.0.0.1", "10.9.9.9"]}],
    }[what]
    sentence = (
        "An EndpointSlice of an activator has at most one endpoint, with one address, of a pod"
    )
    activator.refuses(sentence, "POST", SLICES, made)


def test_the_slices_of_others_are_no_business_of_either_program(
    admin: Api, operator: Api, activator: Api, name: str
) -> None:
    sentence = "Kotatsu may only write EndpointSlices that are labeled"
    theirs = admin.accepts("POST", SLICES, slice_of_a_controller(name))
    path = f"{SLICES}/{name}"
    adopted = {
        **theirs,
        "metadata": theirs["metadata"] | {"labels": slice_of(name)["metadata"]["labels"]},
    }

    activator.refuses(sentence, "POST", SLICES, slice_of_a_controller(f"{name}-2"))
    activator.refuses(sentence, "PUT", path, adopted)
    activator.refuses(sentence, "DELETE", path)
    operator.refuses(sentence, "DELETE", path)


def test_the_operator_removes_an_activators_slice(admin: Api, operator: Api, name: str) -> None:
    made = admin.accepts("POST", SLICES, slice_of(name))
    operator.accepts("DELETE", f"{SLICES}/{made['metadata']['name']}")


# --- pods ---


def marked(cost: str | None) -> Object:
    return {"metadata": {"annotations": {COST: cost}}}


def test_the_operator_marks_a_pod_that_goes_and_takes_the_mark_back(
    admin: Api, operator: Api, name: str
) -> None:
    made = pod(name)
    made["metadata"] |= {"labels": {"a": "b"}, "annotations": {"mine": "stays"}}
    uid = admin.accepts("POST", PODS, made)["metadata"]["uid"]
    for cost in (MARK, None):
        patch = marked(cost)
        patch["metadata"]["uid"] = uid
        after = operator.accepts("PATCH", f"{PODS}/{name}", patch)["metadata"]["annotations"]
        assert after == {"mine": "stays"} | ({COST: cost} if cost else {})


def test_a_mark_is_not_for_another_pod_of_the_same_name(
    admin: Api, operator: Api, name: str
) -> None:
    admin.accepts("POST", PODS, pod(name))
    patch = marked(MARK)
    patch["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    assert operator("PATCH", f"{PODS}/{name}", patch).status_code in (409, 422)


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"labels": {"a": None}}},
        {"metadata": {"annotations": {"mine": "changed"}}},
        {"metadata": {"finalizers": ["kotatsu.dev/stay"]}},
        {"metadata": {"ownerReferences": [OWNER]}},
        {"spec": {"activeDeadlineSeconds": 1}},
        {"spec": {"containers": [{"name": "activator", "image": "localhost/other:1"}]}},
    ],
    ids=["labels", "annotations", "finalizers", "owners", "deadline", "image"],
)
def test_the_operator_changes_nothing_else_of_a_pod(
    admin: Api, operator: Api, change: Object
) -> None:
    if admin("GET", f"{PODS}/kept").status_code == 404:
        made = pod("kept")
        made["metadata"] |= {"labels": {"a": "b"}, "annotations": {"mine": "stays"}}
        admin.accepts("POST", PODS, made)
    sentence = "The operator may change nothing but the annotation controller.kubernetes.io/pod-d"
    answer = operator("PATCH", f"{PODS}/kept", change, STRATEGIC)
    assert answer.status_code == 422, answer.text
    assert sentence in answer.text


@pytest.mark.parametrize(("before", "after"), [(None, "-1"), ("5", MARK), ("5", None)])
def test_a_cost_that_an_owner_has_set_stays(
    admin: Api, operator: Api, name: str, before: str | None, after: str | None
) -> None:
    name = name.replace("[", "-").replace("]", "").lower().rstrip("-")
    made = pod(name)
    made["metadata"]["annotations"] = {} if before is None else {COST: before}
    admin.accepts("POST", PODS, made)
    sentence = "The operator may only set the deletion cost of a pod that has none"
    operator.refuses(sentence, "PATCH", f"{PODS}/{name}", marked(after))


# --- statuses ---


def test_an_activator_announces_requests(admin: Api, activator: Api) -> None:
    path = f"{POOLS}/web/status"
    for status in (example_of(STATUS), None):
        admin.accepts("PATCH", path, {"status": status})
        activator.accepts("PATCH", path, status_of(demand={"at": "2026-01-01T00:00:00Z"}))


STATUS: Object = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]


@pytest.mark.parametrize("field", sorted(STATUS["properties"].keys() - {"demand"}))
def test_an_activator_cannot_write_what_the_operator_decides(
    admin: Api, activator: Api, field: str
) -> None:
    path, sentence = (
        f"{POOLS}/web/status",
        "An activator may change nothing but demand",
    )
    value = example_of(STATUS["properties"][field])
    admin.accepts("PATCH", path, {"status": None})
    activator.refuses(sentence, "PATCH", path, status_of(**{field: value}))
    admin.accepts("PATCH", path, status_of(**{field: value}))
    activator.refuses(sentence, "PATCH", path, status_of(**{field: None}))
    activator.refuses(sentence, "PATCH", path, {"status": None})


@pytest.mark.parametrize(
    "field", sorted(STATUS["properties"]["demand"]["properties"].keys() - {"at"})
)
def test_an_activator_cannot_say_what_the_operator_has_seen(activator: Api, field: str) -> None:
    sentence = "An activator may change nothing but at in the demand"
    status = status_of(demand={field: "2026-02-02T00:00:00Z"})
    activator.refuses(sentence, "PATCH", f"{POOLS}/web/status", status)


def test_the_operator_writes_the_whole_status(operator: Api) -> None:
    operator.accepts("PATCH", f"{POOLS}/web/status", {"status": example_of(STATUS)})


# --- Knative's Revisions ---


def test_the_operator_sets_min_scale_of_a_revision(admin: Api, operator: Api) -> None:
    for value in ("2", None):
        change = {"autoscaling.knative.dev/min-scale": value}
        operator.accepts("PATCH", f"{REVISIONS}/early", {"metadata": {"annotations": change}})


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"image": "other"}},
        {"metadata": {"annotations": {"autoscaling.knative.dev/max-scale": "1"}}},
        {"metadata": {"labels": {"serving.knative.dev/service": "other"}}},
        {"metadata": {"finalizers": ["example.com/never"]}},
    ],
    ids=str,
)
def test_the_operator_changes_nothing_else_of_a_revision(operator: Api, change: Object) -> None:
    sentence = (
        "The operator may change nothing but the annotation autoscaling.knative.dev/min-scale"
    )
    operator.refuses(sentence, "PATCH", f"{REVISIONS}/early", change)


# --- everybody else ---


def test_other_users_are_not_concerned(admin: Api, name: str) -> None:
    admin.accepts("PATCH", f"{HPAS}/auto", {"spec": {"maxReplicas": 11}})
    admin.accepts("PATCH", SCALE.format("busy"), with_replicas(4))
    admin.accepts("POST", SLICES, slice_of_a_controller(name))
    admin.accepts("DELETE", f"{SLICES}/{name}")
    admin.accepts("PATCH", f"{POOLS}/web/status", status_of(reason="Edited"))
