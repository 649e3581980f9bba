"""What the containers of a pod request in full and while parked."""

from decimal import Decimal

import pytest

from kotatsu_operator.core.pool.resize import parked, pod_size, to_reduce, to_restore

CPU = Decimal("0.005")
GUARANTEED = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}


def container(name="app", *, limits=None, **requests):
    resources = {"requests": requests} | ({} if limits is None else {"limits": limits})
    return {"name": name, "resources": resources}


def size(*containers, **spec):
    return pod_size({"containers": list(containers)} | spec)


@pytest.mark.parametrize(
    ("made", "asked"),
    [
        (container(cpu="1", memory="1Gi"), {"app": {"cpu": "0.005"}}),
        (container(cpu="5m"), {}),
        (container(cpu="2m"), {}),
        (container(memory="1Gi"), {}),
        (container(limits={"cpu": "500m"}), {"app": {"cpu": "0.005"}}),
        (container(cpu="lots"), {}),
        ({"name": "app"}, {}),
    ],
    ids=[
        "a request", "the same", "less", "another resource", "a limit stands in", "no quantity",
        "nothing",
    ],
)  # fmt: skip
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


@pytest.mark.parametrize(
    ("containers", "is_guaranteed"),
    [
        ([{"name": "app", "resources": GUARANTEED}], True),
        ([{"name": "app", "resources": {"limits": GUARANTEED["limits"]}}], True),
        ([container(cpu="1", memory="1Gi")], False),
        ([{"name": "app", "resources": GUARANTEED}, container("other", cpu="1")], False),
        ([], False),
    ],
)
def test_a_pod_is_guaranteed_when_each_request_equals_its_limit(containers, is_guaranteed):
    assert size(*containers).is_guaranteed is is_guaranteed
