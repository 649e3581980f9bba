"""What the admission policy of parked pods refuses to the operator: all but requests.

On a real API server without nodes, in the operator's name and with the permissions of the chart.
"""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import needs
import pytest
from chart.asked import Api, connected, until_refused
from e2e import rights
from e2e.rights import HERE, OPERATOR

from kotatsu_node.cluster.control_plane import control_plane
from kotatsu_node.layout import Layout

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PODS = f"api/v1/namespaces/{HERE}/pods"
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
RESOURCES = {"requests": {"cpu": "1", "memory": "64Mi"}, "limits": {"cpu": "2", "memory": "64Mi"}}
APP: dict[str, Any] = {"name": "app", "image": "mirror/app", "resources": RESOURCES}
SIDECAR = APP | {"name": "proxy", "restartPolicy": "Always"}


class Operator(Api):
    """The operator resizes by a strategic merge patch."""

    def resize(self, name: str, **fields: Any) -> httpx.Response:
        """Change fields of the container app, or others of the spec."""
        query = fields.pop("query", "")
        spec = fields.pop("spec", {"containers": [{"name": "app", **fields}]})
        return self._client.patch(
            f"/{PODS}/{name}/resize{query}",
            content=json.dumps({"spec": spec}),
            headers=self._headers | STRATEGIC,
        )


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    needs.kubernetes()
    with control_plane(Layout.from_environment(), rights.USERS) as plane:
        kubectl = rights.install(plane, "--set=parked.enabled=true")
        kubectl("create", "serviceaccount", "default")
        with connected(plane) as client:
            spec = {"containers": [APP], "initContainers": [SIDECAR]}
            pod = {"metadata": {"name": "web"}, "spec": spec}
            Api(client).accepts("POST", PODS, {"apiVersion": "v1", "kind": "Pod"} | pod)
            operator = Operator(client, OPERATOR)
            more = {"limits": {"cpu": "3"}}
            until_refused(lambda: operator.resize("web", resources=more, query="?dryRun=All"))
            yield client


@pytest.fixture
def operator(client: httpx.Client) -> Operator:
    return Operator(client, OPERATOR)


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


def test_it_does_not_change_the_qos_class(operator: Operator, client: httpx.Client) -> None:
    same = {"requests": RESOURCES["limits"], "limits": RESOURCES["limits"]}
    spec = {"containers": [APP | {"resources": same}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "guaranteed"}, "spec": spec}
    Api(client).accepts("POST", PODS, pod)
    answer = operator.resize("guaranteed", resources={"requests": {"cpu": "5m"}})
    assert (answer.status_code, "QOS Class" in answer.text) == (422, True)


def test_other_users_are_not_concerned(client: httpx.Client) -> None:
    assert Operator(client).resize("web", resources={"limits": {"cpu": "4"}}).is_success
