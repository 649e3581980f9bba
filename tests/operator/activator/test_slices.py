"""When an activator stands in for a pool's pods, and what it publishes then."""

import copy
import re
from itertools import product

import pytest
from rows import each

from kotatsu_operator.activator.pool import PodIdentity
from kotatsu_operator.activator.slices import (
    families,
    make_slice,
    same_slice,
    slice_name,
    wants_slice,
)
from kotatsu_operator.core.pool.memory import Route
from kotatsu_operator.kube.views import slice_view
from tests.operator.activator import published
from tests.operator.cluster import SET, pool_view, service, warm_pool

ME = PodIdentity("demo", "activator-1", "uid-1", ("10.0.0.9",), "node-a", SET)


def pool(route="Native", epoch=3, **how):
    return pool_view(published.pool(route, epoch, **how))


# --- when ---


@each(
    "route, native_for, is_published",
    product(Route, [None, 0.0, 4.9, 5.0, 600.0], [False, True]),
)
def test_it_leaves_only_a_native_route_with_a_pod_ready_for_the_settle_time(
    route, native_for, is_published
):
    is_native = route is Route.NATIVE and native_for is not None
    may_leave = is_native and (native_for >= 5 or not is_published)
    assert wants_slice(pool(route), native_for, is_published) is not may_leave


@pytest.mark.parametrize("is_published", [False, True])
def test_a_pool_that_is_refused_later_keeps_what_it_had(is_published):
    """In activators that start after the refusal, too."""
    asleep, awake = (pool(route, accepted="False") for route in ("Activator", "Native"))
    assert wants_slice(asleep, None, is_published)
    assert wants_slice(asleep, 9.0, is_published)
    assert wants_slice(awake, None, is_published)
    assert wants_slice(pool(accepted="False", route_mode="Activator"), None, is_published)
    assert not wants_slice(awake, 9.0, is_published)


def test_a_pool_that_is_refused_from_the_beginning_gets_nothing():
    status = {"conditions": [{"type": "Accepted", "status": "False"}]}
    assert not wants_slice(pool_view(warm_pool(status=status)), None, published=False)


@each("assigned, own", [("", "home/0"), ("home/1", "home/0"), ("a/0", "")])
def test_a_pool_of_other_activators_is_not_published(assigned, own):
    made = published.pool("Native")
    made["status"]["internal"] = {"activators": assigned}
    assert not wants_slice(pool_view(made, activators=own), None, published=False)
    assert wants_slice(pool_view(made, activators=assigned), None, published=False)


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
        "kotatsu.dev/activators": SET,
    }
    assert made["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Service", "name": "voice", "uid": "uid-of-voice"}
    ]
    assert made["addressType"] == "IPv4"
    [endpoint] = made["endpoints"]
    pod = {"kind": "Pod", "namespace": "demo", "name": "activator-1", "uid": "uid-1"}
    conditions = {"ready": True, "serving": True, "terminating": False}
    at = {"addresses": ["10.0.0.9"], "nodeName": "node-a"}
    assert endpoint == at | {"conditions": conditions, "targetRef": pod}


DUAL = PodIdentity("demo", "activator-1", "uid-1", ("10.0.0.9", "fd00::9"), "node-a", SET)


@each(
    "of_service, me, both",
    [
        (["IPv4"], DUAL, ["IPv4"]),
        (["IPv6"], DUAL, ["IPv6"]),
        (["IPv6", "IPv4"], DUAL, ["IPv6", "IPv4"]),
        (["IPv4", "IPv6"], ME, ["IPv4"]),
        (["IPv6"], ME, []),
        (None, DUAL, ["IPv4"]),
    ],
)
def test_the_families_are_those_that_service_and_pod_have_in_common(of_service, me, both):
    made = service()
    if of_service is not None:
        made["spec"]["ipFamilies"] = of_service
    assert families(made, me) == both


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
    again = PodIdentity("demo", "activator-1", "uid-2", ME.ips, "node-a", SET)
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


def without(field, made):
    """Stored, and the API server or somebody has left out a field of its port."""
    there = stored(made)
    del there["ports"][0][field]
    return there


H2C = service("voice", {"name": "http", "port": 80, "appProtocol": "kubernetes.io/h2c"})
MADE = [made_slice(services=H2C, state=state) for state in ("serving", "leaving", "empty")]
UNNAMED = made_slice(ports={"": 41000}, services=service("voice", {"port": 80}))


@each("made, there", [*((m, stored(m)) for m in MADE), (UNNAMED, without("name", UNNAMED))])
def test_a_slice_that_was_stored_is_the_same(made, there):
    assert same_slice(made, there)


def shared_slice(uid):
    """A shared activator's, which the garbage collector deletes with the Service of this uid."""
    shared = PodIdentity("home", "activator-1", "uid-1", ME.ips, "node-a", "home/0")
    of = service()
    of["metadata"]["uid"] = uid
    return make_slice(pool(), of, shared, "IPv4", {"http": 1}, state="serving")


@each(
    "made, there",
    [
        (made_slice(pool(epoch=4)), stored(made_slice())),
        (made_slice(ports={"http": 41001}), stored(made_slice())),
        (made_slice(ports={"web": 41000}), stored(made_slice())),
        (made_slice(ports={"http": 41000, "web": 41001}), stored(made_slice())),
        (made_slice(state="leaving"), stored(made_slice())),
        (made_slice(state="empty"), stored(made_slice())),
        (made_slice(pool(service="new")), stored(made_slice())),
        (made_slice(services=H2C), stored(made_slice())),
        (made_slice(), without("port", made_slice())),
        (shared_slice("of the Service made anew"), stored(shared_slice("of the former one"))),
    ],
)
def test_a_slice_that_says_anything_else_is_another(made, there):
    assert not same_slice(made, there)
