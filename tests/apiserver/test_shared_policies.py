"""What the policies refuse to the accounts of the release, and to a stolen token."""

import time

import pytest
from apiserver.asked import (
    Api,
    Place,
    autoscaler,
    scale_to,
    service,
    slice_of_a_controller,
    until_accepted,
    until_refused,
    with_replicas,
)
from apiserver.keeper import Plane
from apiserver.shared_release import (
    NOT_SELECTED,
    SCALE,
    SLICES,
    TEAM,
    UIDS,
    WEB,
    dry,
    give_address,
    keep,
    make_activator,
    shared_release,
    slice_of,
    stolen,
    withdrawn,
)
from e2e.rights import ACTIVATOR, HERE, THERE

from kotatsu_operator.core.protocol import ACTIVATOR_ANNOTATION, INSTALL_LABEL, SERVICE_LABEL

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(600)]

FOREIGN = "The address is none of the activators' own"
FAMILY = "Activators publish only addresses of the families of the Service"
UNSELECTED = "Activators wake and publish only in namespaces that their release serves"
KUBE = "Kotatsu changes nothing in the namespaces of Kubernetes"
OWNER = "An EndpointSlice of an activator is owned by a Service"
OTHERS = "An activator may only publish its own pod"


@pytest.fixture(scope="module")
def place(plane: Plane) -> Place:
    return shared_release(plane)


@pytest.fixture
def activator(place: Place) -> Api:
    return stolen(place)


# --- EndpointSlices ---


def test_a_shared_activator_publishes_its_own_address_says_that_it_leaves_and_withdraws(
    admin: Api, activator: Api
) -> None:
    made = slice_of()
    path = keep(admin, made)
    activator.accepts("POST", SLICES.format(THERE), made)
    for state in (withdrawn(made), made | {"endpoints": []}, made):
        activator.accepts("PUT", path, state)
    activator.accepts("DELETE", path)


@pytest.mark.parametrize("ip", ["10.9.9.9", "192.168.0.10", "10.96.0.1", "169.253.0.1"])
def test_a_stolen_token_leads_no_client_to_an_address_that_is_not_an_activators(
    place: Place, activator: Api, ip: str
) -> None:
    """A pod's, a node's, a Service's, somebody's."""
    activator.refuses(FOREIGN, "POST", dry(THERE), slice_of(address=ip))
    # A token that is bound to no pod gets no further.
    Api(place, ACTIVATOR).refuses(FOREIGN, "POST", dry(THERE), slice_of(address=ip))


def test_a_published_slice_is_not_changed_to_another_address(admin: Api, activator: Api) -> None:
    made = slice_of()
    path = keep(admin, made)
    activator.accepts("POST", SLICES.format(THERE), made)
    [endpoint] = made["endpoints"]
    other = made | {"endpoints": [endpoint | {"addresses": ["10.9.9.9"]}]}
    activator.refuses(FOREIGN, "PUT", path, other)


@pytest.mark.parametrize(("family", "ip"), [("IPv6", "fd00::1"), ("FQDN", "evil.example")])
def test_a_family_without_activators_is_no_way_around(activator: Api, family: str, ip: str) -> None:
    activator.refuses(FAMILY, "POST", dry(THERE), slice_of(family=family, address=ip))


def test_nothing_is_published_in_a_namespace_that_is_not_selected(activator: Api) -> None:
    activator.refuses(UNSELECTED, "POST", dry(NOT_SELECTED), slice_of())


def test_nothing_is_written_in_the_namespaces_of_kubernetes(activator: Api, operator: Api) -> None:
    activator.refuses(KUBE, "POST", dry("kube-system"), slice_of())
    theirs = {"metadata": {"namespace": "kube-system", "name": "none"}, **with_replicas(1)}
    answer = operator("PUT", SCALE.format("kube-system").replace("web", "none"), theirs)
    assert answer.status_code in (404, 422), answer.text


def test_a_slice_that_a_stolen_token_adds_to_the_activators_service_forbids_nobody_anything(
    place: Place, admin: Api, activator: Api
) -> None:
    """The parameters have to agree, so one without endpoints would forbid every address."""
    home = f"api/v1/namespaces/{HERE}/services/kotatsu-activators"
    uid = admin.accepts("GET", home)["metadata"]["uid"]
    posing = slice_of() | {"endpoints": []}
    posing["metadata"]["labels"][SERVICE_LABEL] = "kotatsu-activators"
    posing["metadata"]["ownerReferences"] = [WEB | {"name": "kotatsu-activators", "uid": uid}]
    path = f"{SLICES.format(HERE)}/{posing['metadata']['name']}"
    activator.accepts("POST", SLICES.format(HERE), posing)
    time.sleep(2)  # until the policy would have read it
    try:
        stolen(place, 2).accepts("POST", dry(THERE), slice_of(2))
    finally:
        admin.accepts("DELETE", path)


def test_the_operator_writes_nothing_in_the_namespaces_of_kubernetes_and_takes_no_bare_service(
    admin: Api, operator: Api
) -> None:
    event = {
        "metadata": {"name": "said", "namespace": "kube-system"},
        "involvedObject": {"kind": "Pod", "name": "none", "namespace": "kube-system"},
        "reason": "Warm",
        "message": "said",
    }
    operator.refuses(KUBE, "POST", "api/v1/namespaces/kube-system/events?dryRun=All", event)
    histories = "apis/kotatsu.dev/v1beta1/namespaces/kube-system/warmpoolhistories?dryRun=All"
    history = {"apiVersion": "kotatsu.dev/v1beta1", "kind": "WarmPoolHistory"}
    operator.refuses(KUBE, "POST", histories, history | {"metadata": {"name": "web"}})
    term = {"spec": {"selector": {"kotatsu.dev/route": "Activator"}}}
    path = "api/v1/namespaces/default/services/kubernetes?dryRun=All"
    sentence = "The operator may not give a selector to a Service that has none"
    operator.refuses(sentence, "PATCH", path, term)


@pytest.mark.parametrize("kind", [None, "Pod", "Deployment"])
def test_a_slice_goes_with_its_service(activator: Api, kind: str | None) -> None:
    owner = None if kind is None else WEB | {"kind": kind}
    activator.refuses(OWNER, "POST", dry(THERE), slice_of(owner=owner))


def test_an_activator_publishes_no_other_activator(activator: Api) -> None:
    activator.refuses(OTHERS, "POST", dry(THERE), slice_of(2))
    posing = slice_of()
    posing["metadata"]["annotations"][ACTIVATOR_ANNOTATION] = f"{HERE}/activator-2/{UIDS[2]}"
    activator.refuses(OTHERS, "POST", dry(THERE), posing)
    pointing = slice_of()
    pointing["endpoints"][0]["targetRef"]["uid"] = UIDS[2]
    activator.refuses(OTHERS, "POST", dry(THERE), pointing)
    elsewhere = slice_of()
    elsewhere["endpoints"][0]["targetRef"]["namespace"] = THERE
    sentence = "An EndpointSlice of an activator has at most one endpoint"
    activator.refuses(sentence, "POST", dry(THERE), elsewhere)


def test_a_lost_activators_endpoint_is_withdrawn_though_its_address_is_gone(
    place: Place, admin: Api, activator: Api
) -> None:
    made = slice_of(2)
    path = keep(admin, made)
    made["endpoints"][0]["addresses"] = ["10.7.0.99"]
    admin.accepts("POST", SLICES.format(THERE), made)
    activator.refuses("In the EndpointSlice of another pod", "PUT", path, made | {"ports": []})
    activator.accepts("PUT", path, withdrawn(made))
    activator.accepts("DELETE", path)


def test_the_slices_of_others_are_left_alone_in_every_namespace(
    place: Place, admin: Api, activator: Api, operator: Api
) -> None:
    sentence = "Kotatsu may only write EndpointSlices that are labeled"
    for namespace in (THERE, HERE, NOT_SELECTED):
        path = SLICES.format(namespace)
        admin.accepts("POST", path, slice_of_a_controller("theirs"))
        for account in (activator, operator):
            account.refuses(sentence, "DELETE", f"{path}/theirs")


def test_a_new_activator_is_told_to_try_again_until_kubernetes_has_its_address(
    place: Place, admin: Api
) -> None:
    make_activator(admin, 3)
    new = stolen(place, 3)
    answer = new("POST", dry(THERE), slice_of(3))
    assert answer.status_code == 422
    assert "try again then" in answer.json()["message"]
    give_address(admin, 3)
    until_accepted(lambda: new("POST", dry(THERE), slice_of(3)))


def test_a_namespace_that_is_no_longer_selected_is_left_and_not_entered_again(
    place: Place, admin: Api, activator: Api, operator: Api
) -> None:
    made = slice_of()
    path = keep(admin, made)
    activator.accepts("POST", SLICES.format(THERE), made)
    namespace = f"api/v1/namespaces/{THERE}"
    admin.accepts("PATCH", namespace, {"metadata": {"labels": {"team": None}}})
    try:
        until_refused(lambda: activator("POST", dry(THERE), slice_of()))
        activator.accepts("PUT", path, withdrawn(made))
        activator.accepts("DELETE", path)
        there = operator.accepts("GET", SCALE.format(THERE))
        operator.accepts("PUT", f"{SCALE.format(THERE)}?dryRun=All", there | with_replicas(3))
    finally:
        admin.accepts("PATCH", namespace, {"metadata": {"labels": TEAM}})
    until_accepted(lambda: activator("POST", dry(THERE), slice_of()))


def test_the_label_of_a_namespace_says_who_publishes_there_whatever_is_selected(
    admin: Api, activator: Api
) -> None:
    def label(namespace: str, install: str | None) -> None:
        change = {"metadata": {"labels": {INSTALL_LABEL: install}}}
        admin.accepts("PATCH", f"api/v1/namespaces/{namespace}", change)

    try:
        label(THERE, "another")
        until_refused(lambda: activator("POST", dry(THERE), slice_of()))
        activator.refuses(UNSELECTED, "POST", dry(THERE), slice_of())
        scale = f"{SCALE.format(THERE)}?dryRun=All"
        activator.refuses(UNSELECTED, "PATCH", scale, with_replicas(1))
        label(NOT_SELECTED, HERE)
        until_accepted(lambda: activator("POST", dry(NOT_SELECTED), slice_of()))
        activator.accepts("PATCH", f"{SCALE.format(NOT_SELECTED)}?dryRun=All", with_replicas(1))
    finally:
        for namespace in (THERE, NOT_SELECTED):
            label(namespace, None)
    until_accepted(lambda: activator("POST", dry(THERE), slice_of()))
    until_refused(lambda: activator("POST", dry(NOT_SELECTED), slice_of()))


# --- scales, and what the operator writes ---


def test_an_activator_wakes_what_is_selected_and_raises_nothing_else(activator: Api) -> None:
    path = f"{SCALE.format(THERE)}?dryRun=All"
    assert activator.accepts("PATCH", path, with_replicas(1))["spec"]["replicas"] == 1
    sentence = "An activator may only scale a workload from 0 to 1"
    activator.refuses(sentence, "PATCH", path, with_replicas(2))
    path = f"{SCALE.format(NOT_SELECTED)}?dryRun=All"
    activator.refuses(UNSELECTED, "PATCH", path, with_replicas(1))


def test_the_operator_writes_where_it_is_needed(admin: Api, operator: Api) -> None:
    hpas = f"apis/autoscaling/v2/namespaces/{THERE}/horizontalpodautoscalers"
    admin.accepts("POST", hpas, autoscaler("auto"))
    operator.accepts("PATCH", f"{hpas}/auto", {"spec": {"minReplicas": 3}})
    sentence = "The operator may change nothing but minReplicas in the spec"
    operator.refuses(sentence, "PATCH", f"{hpas}/auto", {"spec": {"maxReplicas": 99}})
    services = f"api/v1/namespaces/{THERE}/services"
    admin.accepts("POST", services, service("taken"))
    term = {"spec": {"selector": {"kotatsu.dev/route": "Activator"}}}
    operator.accepts("PATCH", f"{services}/taken", term)
    made = scale_to("web", 5)
    made["metadata"]["namespace"] = THERE
    operator.accepts("PUT", f"{SCALE.format(THERE)}?dryRun=All", made)
    slices = slice_of()
    path = keep(admin, slices)
    admin.accepts("POST", SLICES.format(THERE), slices)
    operator.accepts("DELETE", path)
