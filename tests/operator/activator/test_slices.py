"""When an activator stands in for a pool's pods, and what it publishes then."""

import copy
import re
from itertools import product

import pytest
from rows import each

from kotatsu_operator.activator.pool import PodIdentity, pool_view
from kotatsu_operator.activator.slices import (
    families,
    make_slice,
    same_slice,
    slice_name,
    wants_slice,
)
from kotatsu_operator.core.pool.memory import Phase, Route
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


def refused(route=None, *, always=False, **spec):
    """A pool that is refused: from the beginning, or after it had this route."""
    status = {
        "conditions": [{"type": "Accepted", "status": "False", "reason": "TwoAutoscalers"}],
        **({} if route is None else {"phase": "Warm", "route": {"target": route.value}}),
    }
    if always:
        spec["route"] = "Always"
    return pool_view(warm_pool(status=status, **spec))


@pytest.mark.parametrize("published", [False, True])
def test_a_pool_that_is_refused_later_keeps_what_it_had(published):
    """In activators that start after the refusal, too."""
    assert wants_slice(refused(Route.ACTIVATOR), 0, 0.0, published)
    assert wants_slice(refused(Route.ACTIVATOR), 1, 9.0, published)
    assert wants_slice(refused(Route.NATIVE), 0, 0.0, published)
    assert wants_slice(refused(Route.NATIVE, always=True), 0, 0.0, published)
    assert not wants_slice(refused(Route.NATIVE), 1, 9.0, published)


@each("assigned, own", [("", "home/0"), ("home/1", "home/0"), ("a/0", "")])
def test_a_pool_of_other_activators_is_not_published(assigned, own):
    status = {"conditions": ACCEPTED, "internal": {"activators": assigned}}
    theirs = pool_view(warm_pool(status=status), activators=own)
    assert not wants_slice(theirs, 0, 0.0, published=False)
    mine = pool_view(warm_pool(status=status), activators=assigned)
    assert wants_slice(mine, 0, 0.0, published=False)


# --- what ---


def made_slice(of=None, ports=None, *, state="serving", services=None):
    services = service() if services is None else services
    return make_slice(of or pool(), services, ME, "IPv4", ports or {"http": 41000}, state=state)


def test_the_slice_belongs_to_the_service_the_pool_and_the_activator():
    made = made_slice(pool(service="sv"))
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
        "kotatsu.dev/activator": "demo/activator-1/uid-1",
    }
    assert made["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Pod", "name": "activator-1", "uid": "uid-1"}
    ]
    assert made["addressType"] == "IPv4"
    assert made["endpoints"] == [
        {
            "addresses": ["10.0.0.9"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": "node-a",
            "targetRef": {
                "kind": "Pod",
                "namespace": "demo",
                "name": "activator-1",
                "uid": "uid-1",
            },
        }
    ]


DUAL = PodIdentity("demo", "activator-1", "uid-1", ("10.0.0.9", "fd00::9"), "node-a")


@each(
    "of_service, me, published",
    [
        (["IPv4"], DUAL, ["IPv4"]),
        (["IPv6"], DUAL, ["IPv6"]),
        (["IPv6", "IPv4"], DUAL, ["IPv6", "IPv4"]),
        (["IPv4", "IPv6"], ME, ["IPv4"]),
        (["IPv6"], ME, []),
        (None, DUAL, ["IPv4"]),
    ],
)
def test_the_families_are_those_that_service_and_pod_have_in_common(of_service, me, published):
    made = service()
    if of_service is not None:
        made["spec"]["ipFamilies"] = of_service
    assert families(made, me) == published


DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


@each(
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
    name=lambda name: f"{len(name)} characters",
)
def test_every_name_that_a_pool_can_have_makes_a_slice_that_the_api_server_admits(name):
    of = pool(name=name, service="voice")
    made = made_slice(of)
    assert DNS_SUBDOMAIN.fullmatch(made["metadata"]["name"])
    assert len(made["metadata"]["name"]) <= 253
    for value in made["metadata"]["labels"].values():
        assert LABEL_VALUE.fullmatch(value)
        assert len(value) <= 63
    assert slice_view(made).pool == name
    alike = pool(name=name[:-1] + "z", service="voice")
    for part in ("name", "labels"):
        assert made_slice(alike)["metadata"][part] != made["metadata"][part]
    again = PodIdentity("demo", "activator-1", "uid-2", ME.ips, "node-a")
    slices = {slice_name(name, me, family) for me in (ME, again) for family in ("IPv4", "IPv6")}
    assert len(slices) == 4


def test_a_slice_of_an_older_activator_names_its_pool_by_the_label_alone():
    made = made_slice()
    del made["metadata"]["annotations"]["kotatsu.dev/pool"]
    assert slice_view(made).pool == "voice"


# --- whether it is there already ---


def stored(made):
    """As the API server hands it out: with fields of its own, and other annotations."""
    there = copy.deepcopy(made)
    there["metadata"] |= {"uid": "x", "resourceVersion": "7", "generation": 2}
    there["metadata"]["annotations"]["other"] = "thing"
    return there


@each("state", ["serving", "leaving", "empty"])
def test_a_slice_that_was_stored_is_the_same(state):
    h2c = {"name": "grpc", "port": 80, "appProtocol": "kubernetes.io/h2c"}
    made = made_slice(ports={"grpc": 41000}, services=service("voice", h2c), state=state)
    assert made["ports"][0]["appProtocol"] == "kubernetes.io/h2c"
    assert same_slice(made, stored(made))


def test_an_unnamed_port_that_the_api_server_leaves_out_is_the_same():
    made = made_slice(ports={"": 41000}, services=service("voice", {"port": 80}))
    assert made["ports"] == [{"name": "", "port": 41000, "protocol": "TCP"}]
    there = stored(made)
    del there["ports"][0]["name"]
    assert same_slice(made, there)


def test_a_slice_whose_port_somebody_has_taken_the_number_from_is_another():
    made = made_slice()
    there = stored(made)
    del there["ports"][0]["port"]
    assert not same_slice(made, there)


def recreated():
    made = service()
    made["metadata"]["uid"] = "another"
    return made


def test_the_slice_of_a_shared_activator_gets_the_service_that_was_made_anew_as_its_owner():
    """Otherwise the garbage collector deletes it with the former one."""
    shared = PodIdentity("home", "activator-1", "uid-1", ME.ips, "node-a", "home/0")
    before, after = (
        make_slice(pool(), of, shared, "IPv4", {"http": 1}, state="serving")
        for of in (service(), recreated())
    )
    assert not same_slice(after, stored(before))


H2C = {"name": "http", "port": 80, "appProtocol": "kubernetes.io/h2c"}


@each(
    "other",
    [
        made_slice(pool(epoch=4)),
        made_slice(ports={"http": 41001}),
        made_slice(ports={"web": 41000}),
        made_slice(ports={"http": 41000, "web": 41001}),
        made_slice(state="leaving"),
        made_slice(state="empty"),
        made_slice(pool(service="new")),
        made_slice(services=service("voice", H2C)),
    ],
)
def test_a_slice_that_says_anything_else_is_another(other):
    made = made_slice()
    assert not same_slice(made, stored(other))
    assert not same_slice(other, stored(made))
