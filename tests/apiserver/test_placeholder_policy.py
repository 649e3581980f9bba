"""What the admission policy of placeholders refuses to the operator: every other pod.

In the operator's name and with the permissions of the chart.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from apiserver.asked import Api, Place, installed, until_refused
from apiserver.keeper import Plane
from e2e import rights
from e2e.rights import HERE, OPERATOR

from kotatsu_operator.features.capacity import CapacityOptions, placeholder

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(600)]

PODS = f"api/v1/namespaces/{HERE}/pods"
CHART = ("--set=capacityAhead.enabled=true", "--set=capacityAhead.image=mirror/pause")
PULLS = "--set=capacityAhead.pullImages={mirror/team/,mirror/llm:}"
OPTIONS = CapacityOptions(
    "mirror/pause", f"kotatsu-capacity-{rights.HERE}", ("mirror/team/", "mirror/llm:")
)
POOL: dict[str, Any] = {"metadata": {"name": "web", "namespace": HERE, "uid": "none"}}
TEMPLATE = {
    "spec": {
        "containers": [
            {
                "image": "mirror/team/web:1",
                "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
            },
            {"image": "elsewhere/proxy:1"},
        ],
        "initContainers": [{"image": "mirror/llm:2", "imagePullPolicy": "Always"}],
        "imagePullSecrets": [{"name": "registry"}],
    }
}

LAST = timedelta(minutes=5)

Change = Callable[[dict[str, Any]], Any]


def made(name: str, options: CapacityOptions = OPTIONS) -> dict[str, Any]:
    """The placeholder that the operator makes; of a pool that is not there, so without an owner."""
    found = placeholder(POOL, name, TEMPLATE, options, LAST)
    del found["metadata"]["ownerReferences"]
    return found


@pytest.fixture(scope="module")
def place(plane: Plane) -> Place:
    """Namespaces with the chart's policies."""
    found = installed(plane, "placeholders", *CHART, PULLS)
    other = made("early")
    other["metadata"]["labels"] = {"app": "web"}
    until_refused(lambda: Api(found, OPERATOR)("POST", f"{PODS}?dryRun=All", other))
    return found


def test_the_operator_creates_and_deletes_a_placeholder(place: Place) -> None:
    operator = Api(place, OPERATOR)
    operator.accepts("POST", PODS, made("one"))
    operator.accepts("DELETE", f"{PODS}/one")


def test_a_placeholder_pulls_the_images_that_the_chart_permits(place: Place) -> None:
    operator = Api(place, OPERATOR)
    operator.accepts("POST", PODS, made("pulls"))
    found = operator.accepts("GET", f"{PODS}/pulls")
    images = [v["image"]["reference"] for v in found["spec"]["volumes"]]
    assert images == ["mirror/llm:2", "mirror/team/web:1"]


def test_the_operator_deletes_no_other_pod(place: Place) -> None:
    other = made("app")
    other["metadata"]["labels"] = {"app": "web"}
    Api(place).accepts("POST", PODS, other)
    Api(place, OPERATOR).refuses(
        "The operator may only create and delete pods", "DELETE", f"{PODS}/app"
    )


def _container(**fields: Any) -> Change:
    return lambda pod: pod["spec"]["containers"][0].update(fields)


def _volume(**source: Any) -> Change:
    return lambda pod: pod["spec"]["volumes"].append({"name": "more", **source})


def _spec(**fields: Any) -> Change:
    return lambda pod: pod["spec"].update(fields)


@pytest.mark.parametrize(
    "change",
    [
        _container(image="mirror/other"),
        _container(command=["sh"]),
        _container(args=["-c"]),
        _container(env=[{"name": "A", "value": "1"}]),
        _container(lifecycle={"preStop": {"exec": {"command": ["sh"]}}}),
        _spec(hostNetwork=True),
        _spec(hostPID=True),
        _spec(nodeName="node"),
        _spec(serviceAccountName="kotatsu-operator"),
        _spec(automountServiceAccountToken=True),
        _volume(hostPath={"path": "/"}),
        _volume(image={"reference": "elsewhere/proxy:1"}),
        _volume(image={"reference": "mirror/teams"}),
        _volume(emptyDir={}),
        _spec(initContainers=[{"name": "first", "image": "mirror/pause"}]),
        lambda pod: pod["spec"]["containers"].append({"name": "second", "image": "mirror/pause"}),
    ],
)
def test_a_pod_that_is_more_than_a_placeholder_is_refused(place: Place, change: Change) -> None:
    pod = deepcopy(made("two"))
    change(pod)
    Api(place, OPERATOR).refuses(
        "A placeholder of the operator is one container", "POST", f"{PODS}?dryRun=All", pod
    )


def test_another_priority_is_refused(place: Place) -> None:
    pod = made("three")
    pod["spec"]["priorityClassName"] = "system-cluster-critical"
    answer = Api(place, OPERATOR)("POST", f"{PODS}?dryRun=All", pod)
    assert answer.status_code in (403, 422), answer.text


def test_without_the_value_no_image_is_pulled(plane: Plane) -> None:
    place = installed(plane, "placeholders-plain", *CHART)
    operator = Api(place, OPERATOR)
    until_refused(lambda: operator("POST", f"{PODS}?dryRun=All", made("four")))
    plain = made("five", replace(OPTIONS, pull_images=()))
    operator.accepts("POST", f"{PODS}?dryRun=All", plain)
