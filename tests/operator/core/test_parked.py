"""What the containers of a pod request in full and while parked."""

from decimal import Decimal

from docs.pages import ROOT
from rows import each

from kotatsu_operator.core.budget.prices import hourly, pod_requests, requesting
from kotatsu_operator.core.parked import (
    parked,
    parked_spec,
    pod_size,
    to_reduce,
    to_restore,
    unparkable,
)
from kotatsu_operator.core.pool.spec import PLATFORM, Prices
from tests.operator.core.values import pool_spec

CPU = PLATFORM.parked_cpu
GUARANTEED = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}


def container(name="app", *, limits=None, **requests):
    resources = {"requests": requests} | ({} if limits is None else {"limits": limits})
    return {"name": name, "resources": resources}


def size(*containers, **spec):
    return pod_size({"containers": list(containers)} | spec)


@each("made, asked", [
    (container(cpu="1", memory="1Gi"), {"app": {"cpu": "0.005"}}),
    (container(cpu="5m"), {}),
    (container(cpu="2m"), {}),
    (container(memory="1Gi"), {}),
    (container(limits={"cpu": "500m"}), {"app": {"cpu": "0.005"}}),
    (container(cpu="lots"), {}),
    ({"name": "app"}, {}),
])  # fmt: skip
def test_a_parked_container_requests_no_more_than_the_pool_says(made, asked):
    assert parked(size(made), CPU) == asked


def test_a_pod_is_parked_once_and_restored_once():
    template, small = size(container(cpu="1")), size(container(cpu="5m"))
    assert to_reduce(template, template, CPU) == {"app": {"cpu": "0.005"}}
    assert to_reduce(template, small, CPU) == {}
    assert to_restore(template, small) == {"app": {"cpu": "1"}}
    assert to_restore(template, template) == {}


def test_what_the_template_does_not_state_is_left_alone():
    """A LimitRange's default, and a sidecar that was injected, could not be restored from it."""
    template = size(container(memory="1Gi"))
    pod = size(container(cpu="1", memory="1Gi"), container("proxy", cpu="1"))
    assert to_reduce(template, pod, CPU) == to_restore(template, pod) == {}


def test_a_sidecar_is_parked_as_the_containers_and_an_init_container_is_not():
    sidecar = container("proxy", cpu="1") | {"restartPolicy": "Always"}
    template = size(container(cpu="1"), initContainers=[sidecar, container("first", cpu="8")])
    assert parked(template, CPU) == {"app": {"cpu": "0.005"}, "proxy": {"cpu": "0.005"}}
    assert template.sidecars == {"proxy"}


def test_a_request_above_the_template_is_lowered_and_not_raised_again():
    """As a VerticalPodAutoscaler may have set it."""
    template, large = size(container(cpu="1")), size(container(cpu="2"))
    assert to_restore(template, large) == {}
    assert to_reduce(template, large, CPU) == {"app": {"cpu": "0.005"}}


def test_a_pod_of_an_earlier_template_gets_no_more_than_its_limit():
    template = size(container(cpu="2"))
    pod = size(container(cpu="5m", limits={"cpu": "1"}))
    assert to_restore(template, pod) == {"app": {"cpu": "1"}}
    assert to_restore(template, size(container(cpu="1000m", limits={"cpu": "1"}))) == {}


@each("containers, is_guaranteed", [
    ([{"name": "app", "resources": GUARANTEED}], True),
    ([{"name": "app", "resources": {"limits": GUARANTEED["limits"]}}], True),
    ([container(cpu="1", memory="1Gi")], False),
    ([{"name": "app", "resources": GUARANTEED}, container("other", cpu="1")], False),
    ([], False),
])  # fmt: skip
def test_a_pod_is_guaranteed_when_each_request_equals_its_limit(containers, is_guaranteed):
    assert size(*containers).is_guaranteed is is_guaranteed


VOICE = {"containers": [container("voice", cpu="250m", memory="320Mi")]}


def test_each_container_and_sidecar_is_reduced_and_no_init_container():
    proxy = container("proxy", cpu="1") | {"restartPolicy": "Always"}
    pod = {
        "containers": [container("a", cpu="1"), container("b", cpu="1")],
        "initContainers": [proxy, container("setup", cpu="300m")],
    }
    reduced = parked_spec(pod, CPU)
    assert pod_requests(reduced) == {"cpu": Decimal("0.305")}, "the init container and its sidecar"
    assert pod_requests(pod) == {"cpu": 3}, "the template itself is as it was"


def test_a_limit_stands_in_for_a_request_and_without_both_there_is_nothing_to_reduce():
    limited = {"name": "a", "resources": {"limits": {"cpu": "1"}}}
    pod = {"containers": [limited, {"name": "b"}]}
    assert pod_requests(parked_spec(pod, CPU)) == {"cpu": Decimal("0.005")}


def test_the_parts_of_a_template_that_are_kept_have_the_same_requests():
    pod = VOICE | {"nodeName": "a", "overhead": {"cpu": "10m"}}
    assert "nodeName" not in requesting(pod)
    assert pod_requests(requesting(pod)) == pod_requests(pod)


def test_the_page_about_costs_has_the_three_prices():
    prices = Prices("JPY", {"cpu": Decimal("6.5"), "memory": Decimal("0.7")})
    lines = (ROOT / "docs/explanation/cost.md").read_text().splitlines()
    rows = {line.split("|")[1].strip(): line for line in lines if line.startswith("| ")}
    pods = {"warm": VOICE, "parked": parked_spec(VOICE, CPU), "asleep": {}}
    for name, pod in pods.items():
        hour = hourly(pod_requests(pod), prices)
        shown = f"{hour.normalize():f}" if hour else "0"
        month = f"{hour * 730:,.2f}" if hour else "0"
        assert f"| {shown} JPY | {month} JPY |" in rows[name]
    assert (2 / Decimal("0.25"), 2 / Decimal("0.005")) == (8, 400), "pods of a node with 2 cores"


APP = container(cpu="1", memory="1Gi")
RESTARTS = {"restartPolicy": "RestartContainer"}
SAME = {"limits": {"cpu": "1", "memory": "1Gi"}}
TARGET = pool_spec().target
SERVICE = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "voice"}


def why(spec=None, *autoscalers, target=TARGET):
    template = None if spec is None else pod_size(spec)
    found = unparkable(target, template, CPU, autoscalers)
    return None if found is None else (found.reason, found.message)


def scales(kind="Utilization", **metric):
    of = {"name": "cpu", "target": {"type": kind}} | metric
    source = "containerResource" if "container" in of else "resource"
    metrics = [{"type": source, source: of}]
    return {"metadata": {"name": "web"}, "spec": {"metrics": metrics}}


@each("spec, reason, remedy", [
    (None, "NoTemplate", "remove spec.parkedFor"),
    ({}, "NoTemplate", "remove spec.parkedFor"),
    ({"containers": [{"name": "app"}]}, "NothingToReduce", "set requests"),
    ({"containers": [APP], "resources": SAME}, "PodLevelResources", "to the containers"),
    ({"containers": [APP | {"resources": SAME}]}, "Guaranteed", "below its limit"),
    ({"containers": [APP | {"resizePolicy": [{"resourceName": "cpu"} | RESTARTS]}]},
     "RestartsToResize", "NotRequired"),
])  # fmt: skip
def test_a_template_that_cannot_be_parked_is_named_with_what_to_do(spec, reason, remedy):
    found, message = why(spec)
    assert found == reason
    assert remedy in message


@each("policy", [[], [{"resourceName": "memory"} | RESTARTS]])
def test_a_burstable_pod_can_be_parked_whatever_a_resize_of_its_memory_does(policy):
    assert why({"containers": [APP | {"resizePolicy": policy}]}) is None


def test_knative_scales_its_own_pods():
    assert why({"containers": [APP]}, target=pool_spec(targetRef=SERVICE).target)[0] == "Knative"


@each("autoscaler, is_in_the_way", [
    (scales(), True),
    (scales(container="app"), True),
    (scales(container="proxy"), False),
    (scales("AverageValue"), False),
    (scales(name="memory"), False),
    ({"metadata": {"name": "web"}, "spec": {}}, False),
])  # fmt: skip
def test_an_autoscaler_must_not_divide_by_a_request_that_is_reduced(autoscaler, is_in_the_way):
    found = why({"containers": [APP]}, autoscaler)
    assert (found is not None) is is_in_the_way
    assert found is None or (found[0] == "AutoscalerUtilization" and "AverageValue" in found[1])
