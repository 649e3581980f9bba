"""Objects as deeply nested as the API server takes them: reading them ends no program.

It keeps any JSON in `managedFields`, and Python's readers raise RecursionError from about a
thousand levels on.
"""

import json
from collections.abc import Iterator

import pytest
from apiserver.keeper import Plane
from apiserver.kit import Namespace, eventually
from e2e.kit import Object, pool, workload
from lightkube import KubeConfig

from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.connection import Connection
from kotatsu_operator.kube.objects import Deployment, Service, WarmPool

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(300)]

DEEP = 9_900
PATHS = {
    "WarmPool": "apis/kotatsu.dev/v1beta1/namespaces/{}/warmpools",
    "Deployment": "apis/apps/v1/namespaces/{}/deployments",
    "Service": "api/v1/namespaces/{}/services",
}


def nested(obj: Object) -> str:
    """An object in JSON, as anybody may write it who may write its kind."""
    entry = {
        "manager": "somebody",
        "operation": "Update",
        "apiVersion": obj["apiVersion"],
        "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": "DEEP"},
    }
    obj["metadata"]["managedFields"] = [entry]
    return json.dumps(obj).replace('"DEEP"', '{"f:a":' * DEEP + "{}" + "}" * DEEP)


@pytest.fixture
def somebody(platform: Namespace) -> Iterator[Namespace]:
    """A namespace of the install, with an app whose objects are nested; they go with the test."""
    made = [obj for obj in (*workload("deep"), pool("deep")) if obj["kind"] in PATHS]
    assert len(made) == len(PATHS)
    for obj in made:
        path = PATHS[obj["kind"]].format(platform.namespace)
        platform("create", "--raw", f"/{path}", "-f", "-", stdin=nested(obj))
    yield platform
    for obj in made:
        platform.delete(obj["kind"].lower(), "deep")


def restarts(kubectl: Namespace) -> dict[str, list[int]]:
    """How often the containers of each pod of the release have started again."""
    return {
        obj["metadata"]["name"]: [
            status["restartCount"] for status in obj["status"].get("containerStatuses", ())
        ]
        for obj in kubectl.items("pods", **{"app.kubernetes.io/name": "kotatsu"})
    }


def accepted(kubectl: Namespace, name: str) -> str:
    said = "{.status.conditions[?(@.type=='Accepted')].status}"
    return kubectl("get", "warmpool", name, "-o", f"jsonpath={said}")


async def test_a_pool_nested_so_deeply_is_served_like_those_beside_it(
    somebody: Namespace, make_app, http
) -> None:
    before = restarts(somebody)
    assert before
    await eventually("the nested pool is accepted", lambda: accepted(somebody, "deep") == "True")
    app = await make_app("beside", idleAfter="5s")
    await app.asleep()
    await app.send(http)
    assert restarts(somebody) == before


async def test_they_are_listed_like_others(somebody: Namespace, plane: Plane) -> None:
    kube = Kube(Connection(KubeConfig.from_file(plane.kubeconfig).get(), "tester"))
    try:
        for kind in (WarmPool, Deployment, Service):
            found = await kube.find(kind, somebody.namespace)
            assert "deep" in [obj["metadata"]["name"] for obj in found]
            one = await kube.get(kind, somebody.namespace, "deep")
            assert one["spec"]
    finally:
        await kube.close()
