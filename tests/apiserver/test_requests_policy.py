"""What the admission policy of parked pods refuses to the operator: all but requests.

In the operator's name and with the permissions of the chart.
"""

from typing import Any

import httpx2
import pytest
from apiserver.asked import Api, Place, installed, until_refused
from apiserver.keeper import Plane
from e2e.rights import HERE, OPERATOR

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(600)]

PODS = f"api/v1/namespaces/{HERE}/pods"
STRATEGIC = "application/strategic-merge-patch+json"
RESOURCES = {"requests": {"cpu": "1", "memory": "64Mi"}, "limits": {"cpu": "2", "memory": "64Mi"}}
APP: dict[str, Any] = {"name": "app", "image": "mirror/app", "resources": RESOURCES}
SIDECAR = APP | {"name": "proxy", "restartPolicy": "Always"}


class Operator(Api):
    """The operator resizes by a strategic merge patch."""

    def resize(self, name: str, **fields: Any) -> httpx2.Response:
        """Change fields of the container app, or others of the spec."""
        query = fields.pop("query", "")
        spec = fields.pop("spec", {"containers": [{"name": "app", **fields}]})
        return self("PATCH", f"{PODS}/{name}/resize{query}", {"spec": spec}, STRATEGIC)


@pytest.fixture(scope="module")
def place(plane: Plane) -> Place:
    """Namespaces with the chart's policies, and a pod in the first."""
    found = installed(plane, "requests")
    spec = {"containers": [APP], "initContainers": [SIDECAR]}
    pod = {"metadata": {"name": "web"}, "spec": spec}
    Api(found).accepts("POST", PODS, {"apiVersion": "v1", "kind": "Pod"} | pod)
    operator = Operator(found, OPERATOR)
    more = {"limits": {"cpu": "3"}}
    until_refused(lambda: operator.resize("web", resources=more, query="?dryRun=All"))
    return found


@pytest.fixture
def operator(place: Place) -> Operator:
    return Operator(place, OPERATOR)


def test_the_operator_lowers_and_restores_requests(operator: Operator) -> None:
    for cpu in ("5m", "1"):
        answer = operator.resize("web", resources={"requests": {"cpu": cpu, "memory": "32Mi"}})
        assert answer.is_success, answer.text
        (container,) = answer.json()["spec"]["containers"]
        assert container["resources"]["requests"]["cpu"] == cpu
        assert container["resources"]["limits"] == RESOURCES["limits"]


def test_it_may_resize_sidecars(operator: Operator) -> None:
    lowered = {"name": "proxy", "resources": {"requests": {"cpu": "5m"}}}
    answer = operator.resize("web", spec={"initContainers": [lowered]})
    assert answer.is_success, answer.text


@pytest.mark.parametrize(
    "fields",
    [
        {"resources": {"limits": {"cpu": "3"}}},
        {"resources": {"limits": {"memory": "128Mi"}}},
        {"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]},
        {"spec": {"resources": {"limits": {"cpu": "8"}}}},
    ],
    ids=["a higher limit", "more memory", "another policy", "of the whole pod"],
)
def test_it_changes_nothing_else(operator: Operator, fields: dict[str, Any]) -> None:
    answer = operator.resize("web", **fields)
    assert answer.status_code in (403, 422), answer.text
    said = ("may change nothing but requests", "only cpu and memory resources are mutable")
    assert any(sentence in answer.text for sentence in said), answer.text


def test_a_request_above_the_limit_is_refused_by_the_api_server(operator: Operator) -> None:
    answer = operator.resize("web", resources={"requests": {"cpu": "3"}})
    assert answer.status_code == 422
    assert "must be less than or equal to cpu limit" in answer.text


def test_it_does_not_change_the_qos_class(operator: Operator, place: Place) -> None:
    same = {"requests": RESOURCES["limits"], "limits": RESOURCES["limits"]}
    spec = {"containers": [APP | {"resources": same}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "guaranteed"}, "spec": spec}
    Api(place).accepts("POST", PODS, pod)
    answer = operator.resize("guaranteed", resources={"requests": {"cpu": "5m"}})
    assert (answer.status_code, "QOS Class" in answer.text) == (422, True)


def test_other_users_are_not_concerned(place: Place) -> None:
    assert Operator(place).resize("web", resources={"limits": {"cpu": "4"}}).is_success
