"""Small values read out of Kubernetes objects."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from rows import each

from kotatsu_operator.activator.pool import PodIdentity
from kotatsu_operator.activator.slices import make_slice
from kotatsu_operator.core.objects import selector_view, selects
from kotatsu_operator.kube.views import is_ours, pod_view, slice_view
from tests.operator.cluster import SET, crashed, pod, pool_view, service, warm_pool, was_ready
from tests.operator.core.values import t

# --- lost pods ---


def started(obj, state, last=None):
    """A pod whose container is in this state."""
    container = {"state": {state: {}}, "lastState": {last: {}} if last else {}}
    obj["status"]["containerStatuses"] = [container]
    return obj


@each("made, lost", [
        (pod(ready=True), False),
        (pod(ready=True, terminating=True), True),
        (pod(ready=False), False),
        (pod(ready=False, phase="Pending"), False),
        (started(pod(ready=False), "running"), False),
        (started(pod(ready=False), "running", last="terminated"), False),
        (started(pod(ready=False), "waiting"), False),
        (was_ready(pod()), True),
        (was_ready(started(pod(), "running")), True),
        (was_ready(pod(), "Unknown"), True),
        (was_ready(pod(), "True"), False),
        (crashed(pod()), True),
        (crashed(pod(), reason="RunContainerError"), True),
        (started(pod(), "terminated"), True),
        (was_ready(crashed(pod()), "True"), False),
        (pod(ready=True, phase="Failed"), True),
        (pod(phase="Succeeded"), True),
    ])  # fmt: skip
def test_a_pod_is_lost_when_it_ends_has_crashed_or_was_ready_and_is_not(made, lost):
    assert pod_view(made).lost is lost


# --- selectors ---


def expression(operator, *values, key="tier"):
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@each(
    "selector, labels, matches",
    [
        ({}, {}, True),
        ({"matchLabels": {"app": "a"}}, {"app": "a", "x": "y"}, True),
        ({"matchLabels": {"app": "a"}}, {"app": "b"}, False),
        ({"matchLabels": {"app": "a"}}, {}, False),
        ({"matchLabels": {"app": "a", "x": "y"}}, {"app": "a"}, False),
        ({"matchLabels": None, "matchExpressions": None}, {"app": "a"}, True),
        (expression("In", "web", "api"), {"tier": "api"}, True),
        (expression("In", "web", "api"), {"tier": "db"}, False),
        (expression("In", "web"), {}, False),
        (expression("NotIn", "web"), {"tier": "db"}, True),
        (expression("NotIn", "web"), {"tier": "web"}, False),
        (expression("NotIn", "web"), {}, True),
        (expression("Exists"), {"tier": ""}, True),
        (expression("Exists"), {}, False),
        (expression("DoesNotExist"), {}, True),
        (expression("DoesNotExist"), {"tier": "web"}, False),
        ({"matchLabels": {"app": "a"}} | expression("Exists"), {"app": "a"}, False),
        ({"matchLabels": {"app": "a"}} | expression("Exists"), {"tier": "a"}, False),
        ({"matchLabels": {"app": "a"}} | expression("Exists"), {"app": "a", "tier": ""}, True),
    ],
)
def test_a_selector_picks_what_kubernetes_would(selector, labels, matches):
    assert selects(selector, labels) is matches
    assert selects(selector_view(selector), labels) is matches


class Compared(str):
    """A value that counts how often it is compared."""

    __slots__ = ()
    times = 0

    def __eq__(self, other):
        Compared.times += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_a_selector_with_thousands_of_values_costs_a_pod_no_more_than_one_with_a_few():
    values = [Compared(f"v{n}") for n in range(3000)]
    term = {"key": "tier", "operator": "NotIn", "values": values}
    selector = selector_view({"matchExpressions": [term]})
    Compared.times = 0
    assert selects(selector, {"tier": "web"})
    assert Compared.times <= 4


# --- pods ---


def test_a_pod_that_runs_and_is_ready():
    view = pod_view(pod(ip="10.0.0.7", port=9000, ready=True))
    assert (view.key, view.uid) == (("demo", "voice-1"), "uid-voice-1")
    assert (view.ip, view.node) == ("10.0.0.7", "node-a")
    assert (view.ready, view.running, view.terminating) == (True, True, False)
    assert view.scheduled_at == datetime(2026, 11, 25, 9, 30, tzinfo=UTC)


def test_a_pod_that_was_just_made_has_nothing_yet():
    made = pod()
    made["status"], made["spec"] = {"phase": "Pending"}, {"containers": [{"name": "a"}]}
    view = pod_view(made)
    assert (view.ip, view.node, view.ports) == ("", "", {})
    assert [c.readiness for c in view.containers] == [None]
    assert (view.ready, view.running, view.billed) == (False, False, None)
    del made["status"]
    assert pod_view(made) == view


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_is_over_costs_until_its_last_container_ended(phase):
    made = pod(phase=phase)
    made["status"]["containerStatuses"] = [
        {"state": {"terminated": {"finishedAt": f"2026-11-25T10:0{n}:00Z"}}} for n in (1, 3, 2)
    ]
    view = pod_view(made)
    assert (view.ready, view.running, view.scheduled_at) == (False, False, None)
    assert view.billed.gone_at == t("10:03")
    assert pod_view(pod(phase=phase, ready=True)).billed is None
    assert pod_view(pod(terminating=True)).billed is not None


def test_a_sidecar_serves_like_any_container_and_an_init_container_counts_for_its_start():
    requests = {"requests": {"cpu": "1"}}
    made = pod(resources=requests)
    proxy = {"name": "proxy", "containerPort": 15000}
    made["spec"]["initContainers"] = [
        {"resources": requests, "restartPolicy": "Always", "ports": [proxy]},
        {"resources": {"requests": {"cpu": "8"}}},
    ]
    made["spec"]["overhead"] = {"memory": "64Mi"}
    view = pod_view(made)
    assert view.billed.requests == {"cpu": Decimal(9), "memory": Decimal(2**26)}
    assert view.port("proxy") == 15000


def test_ports_are_found_by_name_or_number():
    view = pod_view(pod(ports=[{"name": "http", "containerPort": 8080}, {"containerPort": 9090}]))
    assert view.port("http") == 8080
    assert view.port(7777) == view.port("7777") == 7777
    assert view.port("grpc") is None


def test_each_container_and_sidecar_has_probes_ports_and_the_kubelets_word():
    probe = {"httpGet": {"path": "/r", "port": "http"}}
    made = pod()
    made["spec"]["containers"] += [
        {"name": "app", "readinessProbe": probe, "ports": [{"name": "http", "containerPort": 1}]}
    ]
    made["spec"]["initContainers"] = [
        {"name": "proxy", "restartPolicy": "Always", "startupProbe": probe},
        {"name": "migrate", "readinessProbe": None},
    ]
    made["status"]["containerStatuses"] = [{"name": "app", "state": {"waiting": {}}}]
    made["status"]["initContainerStatuses"] = [
        {"name": "proxy", "ready": True, "started": True, "state": {"running": {}}}
    ]
    bare, app, proxy = pod_view(made).containers
    assert (bare.running, bare.started, bare.ready) == (True, True, False)
    assert (app.running, app.readiness, app.ports) == (False, probe, {"http": 1})
    assert (proxy.running, proxy.started, proxy.ready, proxy.startup) == (True, True, True, probe)


@each("told, is_open", [({}, False), ({"status": "False"}, False), ({"status": "True"}, True)])
def test_a_readiness_gate_is_open_when_its_condition_is_true(told, is_open):
    made = pod()
    made["spec"]["readinessGates"] = [{"conditionType": "example.org/ready"}]
    if told:
        made["status"]["conditions"].append({"type": "example.org/ready", **told})
    assert pod_view(made).gates_open is is_open


# --- slices ---


ME = PodIdentity("demo", "activator-1", "uid-1", ("10.0.0.9",), "node-a", SET)


SHARED = PodIdentity("home", "activator-1", "uid-1", ("10.0.0.9",), "node-a", "home/0")


def made_slice(state):
    status = {"route": {"target": "Activator", "epoch": 4}}
    pool = pool_view(warm_pool(status=status, service="sv"))
    return make_slice(pool, service(), ME, "IPv4", {"http": 1}, state=state)


@each("state, ready", [("serving", True), ("leaving", False), ("empty", False)])
def test_what_an_activator_writes_into_a_slice_is_read_from_it(state, ready):
    made = made_slice(state)
    assert is_ours(made)
    view = slice_view(made)
    assert (view.pool, view.service, view.epoch, view.ready) == ("voice", "sv", 4, ready)


@each(
    "me, is_annotated, pod_of, set_of",
    {
        "of a namespace": (ME, True, ("demo", "activator-1", "uid-1"), SET),
        "shared": (SHARED, True, ("home", "activator-1", "uid-1"), "home/0"),
        "without the name": (ME, False, ("demo", "", ""), SET),
    },
)
def test_a_slice_names_its_pod_and_its_set(me, is_annotated, pod_of, set_of):
    made = make_slice(pool_view(warm_pool()), service(), me, "IPv4", {"http": 1}, state="serving")
    if not is_annotated:
        del made["metadata"]["annotations"]["kotatsu.dev/activator"]
    view = slice_view(made)
    assert (view.pod_namespace, view.pod_name, view.pod_uid) == pod_of
    assert (view.key[0], view.set) == ("demo", set_of)
    [owner] = made["metadata"]["ownerReferences"]
    assert owner["uid"] == "uid-of-voice"


@each(
    "ready, started, has_served",
    [
        (True, "09:30:00", True),
        (False, "09:30:00", False),
        (False, "09:29:59", False),
        (False, "09:20:00", True),
        (False, None, False),
    ],
)
def test_a_pod_has_served_when_it_is_ready_or_was(ready, started, has_served):
    made = pod(ready=ready)
    if started is not None:
        made["status"]["startTime"] = f"2026-11-25T{started}Z"
    assert pod_view(made).has_served is has_served


@each("epoch", ["", "soon", "-1", "1.5", "9" * 40])
def test_an_epoch_that_is_no_number_acknowledges_nothing(epoch):
    obj = made_slice("serving")
    obj["metadata"]["annotations"]["kotatsu.dev/epoch"] = epoch
    assert slice_view(obj).epoch == 0


# --- resizes ---


def resized(*conditions, told=None):
    made = pod(ready=True)
    made["spec"]["containers"][0]["name"] = "voice"
    made["status"]["conditions"] += conditions
    running = {"name": "voice", "state": {"running": {}}}
    made["status"]["containerStatuses"] = [running | ({} if told is None else {"resources": told})]
    return pod_view(made)


def test_a_resize_that_waits_is_told_with_the_words_of_the_kubelet():
    pending = {"type": "PodResizePending", "status": "True", "reason": "Deferred"}
    assert resized().resize_pending == ""
    assert resized(pending).resize_pending == "Deferred"
    told = resized(pending | {"message": "Node didn't have enough resource: cpu"})
    assert told.resize_pending == "Deferred: Node didn't have enough resource: cpu"


def test_a_node_that_can_resize_reports_the_resources_of_containers():
    assert resized(told={}).is_resizable
    assert not resized().is_resizable
    assert pod_view(pod()).is_resizable, "as the API server takes a pod that does not run yet"
