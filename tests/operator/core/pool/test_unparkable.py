"""Why pods cannot be parked: each reason says what to change."""

from decimal import Decimal

import pytest

from kotatsu_operator.core.pool.resize import pod_size, unparkable
from tests.operator.core.values import pool_spec

CPU = Decimal("0.005")
APP = {"name": "app", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}
SAME = {"limits": {"cpu": "1", "memory": "1Gi"}}
TARGET = pool_spec().target
KNATIVE = pool_spec(
    targetRef={"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "voice"}
).target


def why(spec=None, *autoscalers, target=TARGET):
    template = None if spec is None else pod_size(spec)
    found = unparkable(target, template, CPU, autoscalers)
    return None if found is None else (found.reason, found.message)


def scales(kind="Utilization", **metric):
    of = {"name": "cpu", "target": {"type": kind}} | metric
    source = "containerResource" if "container" in of else "resource"
    metrics = [{"type": source, source: of}]
    return {"metadata": {"name": "web"}, "spec": {"metrics": metrics}}


def test_a_burstable_pod_can_be_parked():
    assert why({"containers": [APP]}) is None


@pytest.mark.parametrize(
    ("spec", "reason", "remedy"),
    [
        (None, "NoTemplate", "remove spec.parkedFor"),
        ({}, "NoTemplate", "remove spec.parkedFor"),
        ({"containers": [{"name": "app"}]}, "NothingToReduce", "set requests"),
        ({"containers": [APP], "resources": SAME}, "PodLevelResources", "to the containers"),
        ({"containers": [APP | {"resources": SAME}]}, "Guaranteed", "below its limit"),
        (
            {
                "containers": [
                    APP
                    | {
                        "resizePolicy": [
                            {"resourceName": "cpu", "restartPolicy": "RestartContainer"}
                        ]
                    }
                ]
            },
            "RestartsToResize",
            "NotRequired",
        ),
    ],
)
def test_a_template_that_cannot_be_parked_is_named_with_what_to_do(spec, reason, remedy):
    found, message = why(spec)
    assert found == reason
    assert remedy in message


def test_a_resize_policy_of_another_resource_does_not_matter():
    policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    assert why({"containers": [APP | {"resizePolicy": policy}]}) is None


def test_knative_scales_its_own_pods():
    assert why({"containers": [APP]}, target=KNATIVE)[0] == "Knative"


@pytest.mark.parametrize(
    ("autoscaler", "is_in_the_way"),
    [
        (scales(), True),
        (scales(container="app"), True),
        (scales(container="proxy"), False),
        (scales("AverageValue"), False),
        (scales(name="memory"), False),
        ({"metadata": {"name": "web"}, "spec": {}}, False),
    ],
)
def test_an_autoscaler_must_not_divide_by_a_request_that_is_reduced(autoscaler, is_in_the_way):
    found = why({"containers": [APP]}, autoscaler)
    assert (found is not None) is is_in_the_way
    assert found is None or (found[0] == "AutoscalerUtilization" and "AverageValue" in found[1])
