"""When an activator stands in for a pool's pods, and what it publishes then."""

import copy
import re
from itertools import product

import pytest
from rows import each

from kotatsu_operator.activator.cache.pool import pool_view
from kotatsu_operator.activator.cache.ports import PodIdentity
from kotatsu_operator.activator.endpoints.slices import (
    families,
    make_slice,
    same_slice,
    slice_name,
    wants_slice,
)
from kotatsu_operator.core.pool.memory import Phase, Route
from kotatsu_operator.core.protocol import pool_label
from kotatsu_operator.kube.views import slice_view
from tests.operator.cluster import service, warm_pool

ME = PodIdentity("demo", "activator-1", "uid-1", ("10.0.0.9",), "node-a")
ACCEPTED = [{"type": "Accepted", "status": "True"}]


def pool(
    route=Route.NATIVE,
    *,
    settle=5.0,
    epoch=3,
    name="voice",
    always=False,
    **spec,
):
    if always:
        spec["route"] = "Always"
    status = {
        "phase": Phase.WARM,
        "route": {"target": route.value, "epoch": epoch},
        "conditions": ACCEPTED,
    }
    return pool_view(warm_pool(name, status=status, **spec), settle)


# --- when ---


@each(
    "route, ready, native_for, published",
    product(Route, [0, 1, 3], [0.0, 4.9, 5.0, 600.0], [False, True]),
)
def test_it_leaves_only_a_native_route_with_a_pod_ready_for_the_settle_time(
    route, ready, native_for, published
):
    may_leave = route is Route.NATIVE and ready > 0 and (native_for >= 5 or not published)
    assert wants_slice(pool(route), ready, native_for, published) is not may_leave


def test_a_pool_on_route_always_is_stood_in_for_beside_its_pods_until_it_is_uninstalled():
    route_always = pool(Route.ACTIVATOR, settle=0.0, always=True)
    assert wants_slice(route_always, 3, 600.0, published=True)
    given_back = pool(Route.NATIVE, settle=0.0, always=True)
    assert not wants_slice(given_back, 3, 600.0, published=True)


def refused(route=None, *, always=False, **spec):
    """A pool that is refused: from the beginning, or after it had this route."""
    status = {
        "conditions": [{"type": "Accepted", "status": "False", "reason": "TwoAutoscalers"}],
        **({} if route is None else {"phase": "Warm", "route": {"target": route.value}}),
    }
    if always:
        spec["route"] = "Always"
    return pool_view(warm_pool(status=status, **spec))


@pytest.mark.parametrize("always", [False, True])
@pytest.mark.parametrize("ready", [0, 1])
def test_a_pool_that_was_never_accepted_is_never_begun_to_be_stood_in_for(ready, always):
    assert not wants_slice(refused(always=always), ready, 0.0, published=False)
    unjudged = pool_view(warm_pool())
    assert not wants_slice(unjudged, ready, 0.0, published=False)


@pytest.mark.parametrize("published", [False, True])
def test_a_pool_that_is_refused_later_keeps_what_it_had(published):
    """In activators that start after the refusal, too."""
    assert wants_slice(refused(Route.ACTIVATOR), 0, 0.0, published)
    assert wants_slice(refused(Route.ACTIVATOR), 1, 9.0, published)
    assert wants_slice(refused(Route.NATIVE), 0, 0.0, published)
    assert wants_slice(refused(Route.NATIVE, always=True), 0, 0.0, published)
    assert not wants_slice(refused(Route.NATIVE), 1, 9.0, published)


def test_a_pool_of_knative_is_never_stood_in_for_whatever_its_status_says():
    target = {"kind": "Service", "apiVersion": "serving.knative.dev/v1", "name": "voice"}
    assert not wants_slice(refused(Route.ACTIVATOR, targetRef=target), 0, 0.0, published=False)


# --- what ---


def endpoint(made):
    (only,) = made["endpoints"]
    return only


def test_the_slice_belongs_to_the_service_the_pool_and_the_activator():
    made = make_slice(pool(service="sv"), service(), ME, "IPv4", {"http": 41000}, state="serving")
    assert made["metadata"]["labels"] == {
        "kubernetes.io/service-name": "sv",
        "endpointslice.kubernetes.io/managed-by": "activator.kotatsu.dev",
        "kotatsu.dev/pool": "voice",
    }
    assert made["metadata"]["namespace"] == "demo"
    assert made["metadata"]["annotations"] == {
        "kotatsu.dev/pool": "voice",
        "kotatsu.dev/epoch": "3",
        "kotatsu.dev/families": "IPv4",
    }
    assert made["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Pod", "name": "activator-1", "uid": "uid-1"}
    ]


def test_the_endpoint_is_the_activators_pod_on_its_node():
    made = make_slice(pool(), service(), ME, "IPv4", {"http": 41000}, state="serving")
    assert made["addressType"] == "IPv4"
    assert endpoint(made) == {
        "addresses": ["10.0.0.9"],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "nodeName": "node-a",
        "targetRef": {"kind": "Pod", "namespace": "demo", "name": "activator-1", "uid": "uid-1"},
    }


def test_the_port_of_a_service_that_gives_it_no_name_has_none():
    made = make_slice(
        pool(), service("voice", {"port": 80}), ME, "IPv4", {"": 41000}, state="serving"
    )
    assert made["ports"] == [{"name": "", "port": 41000, "protocol": "TCP"}]


def test_the_services_app_protocol_is_passed_on():
    h2c = {"name": "grpc", "port": 80, "appProtocol": "kubernetes.io/h2c"}
    made = make_slice(pool(), service("voice", h2c), ME, "IPv4", {"grpc": 41000}, state="serving")
    assert made["ports"][0]["appProtocol"] == "kubernetes.io/h2c"


DUAL = PodIdentity("demo", "activator-1", "uid-1", ("10.0.0.9", "fd00::9"), "node-a")


@pytest.mark.parametrize(
    ("of_service", "me", "published"),
    [
        (["IPv4"], DUAL, ["IPv4"]),
        (["IPv6"], DUAL, ["IPv6"]),
        (["IPv6", "IPv4"], DUAL, ["IPv6", "IPv4"]),
        (["IPv4", "IPv6"], ME, ["IPv4"]),
        (["IPv6"], ME, []),
        (None, DUAL, ["IPv4"]),
    ],
    ids=["ipv4", "ipv6", "dual", "a pod of one family", "no address in common", "not said"],
)
def test_the_families_are_those_that_service_and_pod_have_in_common(of_service, me, published):
    made = service()
    if of_service is not None:
        made["spec"]["ipFamilies"] = of_service
    assert families(made, me) == published


def test_every_pool_and_activator_pod_has_a_slice_name_of_its_own():
    again = PodIdentity("demo", "activator-1", "uid-2", ("10.0.0.9",), "node-a")
    names = {
        slice_name(p, me, family)
        for p in ("voice", "feed", "voice-feed")
        for me in (ME, again)
        for family in ("IPv4", "IPv6")
    }
    assert len(names) == 12


def test_a_slice_name_fits_whatever_the_pool_is_called():
    longest, other = "p" * 253, "p" * 252 + "q"
    assert len(slice_name(longest, ME, "IPv4")) <= 253
    assert slice_name(longest, ME, "IPv4") != slice_name(other, ME, "IPv4")


DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


@pytest.mark.parametrize(
    "name",
    [
        "voice",
        "voice.eu-1.tokyo",
        "p" * 63,
        "p" * 64,
        "p" * 253,
        "p" * 51 + "." + "q" * 60,
        "p" * 51 + "-" + "q" * 60,
        "p" * 199 + "." + "q" * 53,
        "p" * 198 + "--" + "q" * 53,
    ],
    ids=lambda name: f"{len(name)} characters",
)
def test_every_name_that_a_pool_can_have_makes_a_slice_that_the_api_server_admits(name):
    of = pool(name=name, service="voice")
    made = make_slice(of, service(), ME, "IPv4", {"http": 41000}, state="serving")
    assert DNS_SUBDOMAIN.fullmatch(made["metadata"]["name"])
    assert len(made["metadata"]["name"]) <= 253
    for value in made["metadata"]["labels"].values():
        assert LABEL_VALUE.fullmatch(value)
        assert len(value) <= 63
    assert slice_view(made).pool == name


def test_long_names_that_begin_alike_have_labels_of_their_own():
    longest, other = "p" * 253, "p" * 252 + "q"
    assert pool_label(longest) != pool_label(other)


def test_a_slice_of_an_older_activator_names_its_pool_by_the_label_alone():
    made = make_slice(pool(), service(), ME, "IPv4", {"http": 41000}, state="serving")
    del made["metadata"]["annotations"]["kotatsu.dev/pool"]
    assert slice_view(made).pool == "voice"


# --- whether it is there already ---


def stored(made):
    """As the API server hands it out: with fields of its own, and other annotations."""
    there = copy.deepcopy(made)
    there["metadata"] |= {"uid": "x", "resourceVersion": "7", "generation": 2}
    there["metadata"]["annotations"]["other"] = "thing"
    return there


def test_a_slice_that_was_stored_is_the_same():
    for state in ("serving", "leaving", "empty"):
        made = make_slice(pool(), service(), ME, "IPv4", {"http": 41000}, state=state)
        assert same_slice(made, stored(made))


def test_an_unnamed_port_that_the_api_server_leaves_out_is_the_same():
    made = make_slice(
        pool(), service("voice", {"port": 80}), ME, "IPv4", {"": 41000}, state="serving"
    )
    there = stored(made)
    del there["ports"][0]["name"]
    assert same_slice(made, there)


def test_a_slice_whose_port_somebody_has_taken_the_number_from_is_another():
    made = make_slice(pool(), service(), ME, "IPv4", {"http": 41000}, state="serving")
    there = stored(made)
    del there["ports"][0]["port"]
    assert not same_slice(made, there)


H2C = {"name": "http", "port": 80, "appProtocol": "kubernetes.io/h2c"}


@pytest.mark.parametrize(
    "other",
    [
        make_slice(pool(epoch=4), service(), ME, "IPv4", {"http": 41000}, state="serving"),
        make_slice(pool(), service(), ME, "IPv4", {"http": 41001}, state="serving"),
        make_slice(pool(), service(), ME, "IPv4", {"web": 41000}, state="serving"),
        make_slice(pool(), service(), ME, "IPv4", {"http": 41000, "web": 41001}, state="serving"),
        make_slice(pool(), service(), ME, "IPv4", {"http": 41000}, state="leaving"),
        make_slice(pool(), service(), ME, "IPv4", {"http": 41000}, state="empty"),
        make_slice(pool(service="new"), service(), ME, "IPv4", {"http": 41000}, state="serving"),
        make_slice(pool(), service("voice", H2C), ME, "IPv4", {"http": 41000}, state="serving"),
    ],
    ids=["epoch", "number", "name", "port", "leaving", "emptied", "service", "app protocol"],
)
def test_a_slice_that_says_anything_else_is_another(other):
    made = make_slice(pool(), service(), ME, "IPv4", {"http": 41000}, state="serving")
    assert not same_slice(made, stored(other))
    assert not same_slice(other, stored(made))
