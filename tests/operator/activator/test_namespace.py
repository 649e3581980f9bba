"""What an activator knows of its namespace, as the watches tell it."""

from dataclasses import replace

import pytest
from rows import each

from kotatsu_operator.activator.namespace import View
from kotatsu_operator.activator.pool import Port
from kotatsu_operator.core.pool.memory import Phase, Route
from kotatsu_operator.kube.views import pod_view
from tests.operator.cluster import deployment, native_slice, pod, pool_view, service, warm_pool


@pytest.fixture
def view():
    return View(read=pool_view)


def tell(view, kind, *objects, change="MODIFIED"):
    for obj in objects:
        view.on_change(kind)(change, obj)


def listing(view, kind, *objects):
    view.on_change(kind)("LIST", {"items": list(objects)})


# --- pools ---


def test_a_pool_nobody_has_judged_yet_is_on_the_native_route():
    pool = pool_view(warm_pool())
    assert (pool.route, pool.epoch) == (Route.NATIVE, 0)
    assert (pool.phase, pool.accepted) == (Phase.WARM, False)
    assert (pool.service, pool.target) == ("voice", "voice")


def test_of_a_status_that_somebody_has_edited_only_what_can_be_read_counts():
    """The schema lets any text through; an activator that raised would end, for every pool."""
    status = {"phase": "Nonsense", "route": {"target": "Nowhere", "epoch": 4}}
    pool = pool_view(warm_pool(status=status))
    assert (pool.phase, pool.route, pool.epoch) == (Phase.WARM, Route.NATIVE, 4)


def test_the_defaults_are_those_of_the_crd():
    pool = pool_view(warm_pool())
    assert (pool.hold_timeout, pool.max_held, pool.settle) == (45.0, 1000, 5.0)
    assert pool.health_check_paths == {"/healthz", "/livez", "/readyz", "/metrics"}
    assert pool.depends_on == ()


@pytest.mark.parametrize(("accepted", "known"), [("True", ("auth",)), ("False", ())])
def test_only_an_accepted_pool_waits_for_others(accepted, known):
    status = {"conditions": [{"type": "Accepted", "status": accepted}]}
    assert pool_view(warm_pool(dependsOn=["auth"], status=status)).depends_on == known


@pytest.mark.parametrize("change", ["DELETED", "LIST"])
def test_a_pool_that_is_gone_is_kept_as_deleted_on_the_native_route(view, change):
    status = {"phase": "Asleep", "route": {"target": "Activator", "epoch": 4}}
    tell(view, "WarmPool", warm_pool(status=status))
    known = view.pools["voice"]
    if change == "LIST":
        listing(view, "WarmPool")
    else:
        tell(view, "WarmPool", warm_pool(), change="DELETED")
    assert view.pools["voice"] == replace(known, deleted=True, route=Route.NATIVE)


# --- watches ---


def test_an_object_that_cannot_be_read_is_left_out_and_the_others_are_not(view, caplog):
    odd = pod("odd")
    del odd["metadata"]["uid"]
    listing(view, "Pod", odd, pod("a"))
    tell(view, "Pod", odd)
    assert set(view.pods) == {"a"}
    assert "Pod" in view.synced
    assert "cannot read Pod demo/odd" in caplog.text


def test_listed_pods_replace_those_with_the_same_labels_only(view):
    see = view.on_change("Pod")
    for name, app in (("voice-1", "voice"), ("voice-2", "voice"), ("feed-1", "feed")):
        see("ADDED", pod(name, app=app))
    view.replace_pods(
        {"app": "voice"}, [pod_view(pod("voice-3")), pod_view(pod("voice-2", ready=True))]
    )
    assert set(view.pods) == {"voice-2", "voice-3", "feed-1"}
    assert view.pods["voice-2"].ready
    see("DELETED", pod("voice-3"))
    assert "voice-3" not in view.pods


def test_something_deleted_that_was_never_seen_is_nothing(view):
    for kind, obj in (("Pod", pod()), ("WarmPool", warm_pool()), ("Service", service())):
        tell(view, kind, obj, change="DELETED")
    assert (view.pods, view.pools, view.services) == ({}, {}, {})


BY_ACTIVATOR = {"route": "Activator", "targetRef": {"name": "web"}, "service": "web-door"}


@pytest.mark.parametrize(
    ("kind", "obj", "concerned"),
    [
        ("WarmPool", warm_pool(status={"phase": "Asleep"}), {"voice"}),
        ("Service", service("voice", {"name": "grpc", "port": 81}), {"voice"}),
        ("Pod", pod(), {"voice"}),
        ("Pod", pod("web-1", app="web"), {"web"}),
        ("Pod", pod("db-1", app="db"), set()),
        ("EndpointSlice", native_slice(True), {"voice"}),
        ("EndpointSlice", native_slice(True, of="db"), set()),
        ("Deployment", deployment("web"), {"web"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_change_concerns_the_pools_it_may_matter_to(view, kind, obj, concerned):
    web = warm_pool("web")
    web["spec"] = BY_ACTIVATOR
    listing(view, "WarmPool", warm_pool(), web)
    listing(view, "Service", service(), service("db"))
    listing(view, "Deployment", deployment())
    view.selectors["web"] = {"matchLabels": {"app": "web"}}
    if kind == "Deployment":
        del view.selectors["web"]
    mailbox = view.mailbox()
    tell(view, kind, obj)
    assert mailbox == concerned
    mailbox.clear()
    tell(view, kind, obj)
    assert kind == "EndpointSlice" or mailbox == set(), "there is nothing new in it"


def test_what_is_not_listed_any_more_concerns_its_pools(view):
    listing(view, "WarmPool", warm_pool())
    listing(view, "Service", service())
    listing(view, "Pod", pod())
    mailbox = view.mailbox()
    listing(view, "Pod")
    assert mailbox == {"voice"}
    assert view.pods == {}


# --- a service ---


def told_by(conditions):
    made = native_slice(True)
    made["endpoints"][0]["conditions"] = conditions
    return made


def ours():
    made = native_slice(True)
    made["metadata"]["name"] = "ours"
    made["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] = "activator.kotatsu.dev"
    return made


def endpoint_of(uid):
    made = native_slice(True)
    made["endpoints"][0]["targetRef"] = {"kind": "Pod", "name": "voice-1", "uid": uid}
    return made


@each(
    "slice_, pods, ready",
    {
        "unknown, which the API has as ready": (told_by(None), [], 1),
        "nothing": (told_by({}), [], 1),
        "without endpoints": (native_slice(), [], 0),
        "two of three": (native_slice(True, False, True), [], 2),
        "ending": (native_slice(True, terminating=True), [], 0),
        "of another Service": (native_slice(True, of="other"), [], 0),
        "its pod stays": (endpoint_of("uid-voice-1"), [pod()], 1),
        "its pod goes": (endpoint_of("uid-voice-1"), [pod(terminating=True)], 0),
        "its pod has gone": (endpoint_of("uid-voice-1"), [], 0),
        "another pod has its name": (endpoint_of("of one before it"), [pod()], 0),
    },
)
def test_native_endpoints_are_those_that_are_ready_and_whose_pod_stays(slice_, pods, ready):
    """After an outage of the API server its controller may be a minute behind the kubelet."""
    view = View()
    tell(view, "Pod", *pods)
    tell(view, "EndpointSlice", slice_, ours())
    assert view.native_ready("voice", "IPv4") == ready


@pytest.mark.parametrize("selector", [None, {}])
def test_a_service_that_selects_nothing_has_no_backends(view, selector):
    made = service()
    made["spec"]["selector"] = selector
    tell(view, "Service", made)
    tell(view, "Pod", pod(ready=True))
    assert view.backends(pool_view(warm_pool())) == []
    assert view.backends(pool_view(warm_pool("unknown"))) == []


def test_on_route_activator_the_backends_are_the_targets_pods(view):
    made = service()
    made["spec"]["selector"] = None
    tell(view, "Service", made)
    tell(view, "Pod", pod(), pod("another", app="feed"))
    routed = pool_view(warm_pool(route="Activator"))
    assert view.backends(routed) == []
    tell(view, "Deployment", deployment())
    assert [p.key[1] for p in view.backends(routed)] == ["voice-1"]
    tell(view, "Deployment", deployment(), change="DELETED")
    assert view.backends(routed) == []


def test_ports_are_the_tcp_ports_with_their_targets(view):
    ports = [
        {"name": "http", "port": 80, "targetPort": "web"},
        {"name": "grpc", "port": 90, "targetPort": 9000, "protocol": "TCP"},
        {"name": "same", "port": 70},
        {"name": "dns", "port": 53, "protocol": "UDP"},
    ]
    tell(view, "Service", service("voice", *ports))
    tcp = [Port("http", 80, "web"), Port("grpc", 90, 9000), Port("same", 70, 70)]
    assert view.ports("voice") == tcp
    assert view.ports("unknown") == []
    tell(view, "Service", service("voice", {"port": 80, "targetPort": 8080}))
    assert view.ports("voice") == [Port("", 80, 8080)]


# --- a namespace that is too large ---


def test_all_is_dropped_but_the_pools_also_of_a_kind_whose_list_had_not_ended(view):
    view.namespace = "demo"
    listing(view, "WarmPool", warm_pool())
    listing(view, "Service", service())
    tell(view, "Deployment", deployment())
    view.on_change("Pod")("PART", {"items": [pod("voice-1")]})
    tell(view, "EndpointSlice", native_slice())
    view.retained.full["demo"] = "Pod"
    view.empty()
    assert not any((view.services, view.pods, view.others, view.slices, view.scales))
    assert list(view.pools) == ["voice"]
    assert not view.is_synced
    assert 0 < view.retained.bytes_of("demo") < 12_000


def test_nothing_is_stored_there_but_pools(view):
    view.namespace = "demo"
    view.retained.full["demo"] = "Pod"
    tell(view, "Pod", pod("voice-1"))
    tell(view, "WarmPool", warm_pool())
    assert (list(view.pods), list(view.pools)) == ([], ["voice"])


def test_of_a_pool_that_was_never_accepted_less_is_kept_there(view):
    view.namespace = "demo"
    view.retained.full["demo"] = "WarmPool"
    accepted = {"conditions": [{"type": "Accepted", "status": "True"}]}
    tell(view, "WarmPool", warm_pool(), warm_pool("feed", status=accepted))
    assert not view.pools["voice"].health_check_paths
    assert view.pools["feed"].health_check_paths


def test_a_deleted_pool_counts_until_its_clients_need_it_no_more(view):
    tell(view, "WarmPool", warm_pool())
    tell(view, "WarmPool", warm_pool(), change="DELETED")
    assert view.retained.bytes_of("")
    view.drop_pool("voice")
    assert not view.retained.bytes_of("")
