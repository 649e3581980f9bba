"""The pod from which a rehearsal sends its requests."""

import json
from typing import Any, cast

import pytest
from plugin.kit import NOW, pool

from kotatsu_demo_mode.api import Api
from kotatsu_demo_mode.client import Inside
from kotatsu_demo_mode.errors import DemoModeError

ACTIVATORS = "app.kubernetes.io/name=kotatsu,app.kubernetes.io/component=activator"


TEMPLATE: dict[str, Any] = {
    "spec": {
        "serviceAccountName": "kotatsu-activator",
        "imagePullSecrets": [{"name": "registry"}],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "containers": [
            {
                "name": "activator",
                "image": "example.com/kotatsu:1",
                "env": [{"name": "KOTATSU_PORT", "value": "8080"}],
                "resources": {"limits": {"cpu": "1", "memory": "256Mi"}},
                "securityContext": {"readOnlyRootFilesystem": True},
            }
        ],
    }
}
"""Of activators on OpenShift, in a namespace with a quota, from a registry with a login."""


class Cluster:
    """Answers for one Service, for Deployments by their labels, and for the pod that is made."""

    def __init__(self, *templates: dict[str, Any]) -> None:
        self._templates = templates
        self.made: list[dict[str, Any]] = []

    def get(self, path: str, **query: str) -> dict[str, Any]:
        if path.endswith("/services/voice"):
            return {"spec": {"ports": [{"port": 80}]}}
        if "/pods/" in path:
            return {"status": {"phase": "Succeeded"}}
        assert path.endswith("/deployments")
        assert query == {"labelSelector": ACTIVATORS}
        return {"items": [{"spec": {"template": template}} for template in self._templates]}

    def create(self, path: str, made: dict[str, Any]) -> None:
        self.made.append(made)

    def text(self, path: str) -> str:
        return json.dumps({"seconds": 0.1, "results": [[0.1, 200, ""]]})

    def delete(self, path: str) -> None:
        assert path.endswith(self.made[-1]["metadata"]["name"])


def pod(*templates: dict[str, Any], image: str = "") -> dict[str, Any]:
    """The rehearsal's pod in a namespace with these activators."""
    cluster = Cluster(*templates)
    client = Inside(cast(Api, cluster), pool(), "/", image, lambda: NOW)
    job = {"method": "GET", "requests": 1, "concurrency": 1, "timeout": 60}
    with pytest.raises(StopIteration) as ended:  # the pod has ended at the first look
        next(client.send(job))
    assert ended.value.value == (0.1, [(0.1, 200, "")])
    (made,) = cluster.made
    return made


def test_its_pod_has_the_image_of_the_activators_whatever_they_are_called() -> None:
    assert pod(TEMPLATE)["spec"]["containers"][0]["image"] == "example.com/kotatsu:1"


def test_its_pod_is_pulled_admitted_and_scheduled_as_the_activators_are() -> None:
    made, like = pod(TEMPLATE)["spec"], TEMPLATE["spec"]
    for field in ("imagePullSecrets", "securityContext", "tolerations"):
        assert made[field] == like[field], field
    for field in ("resources", "securityContext"):
        assert made["containers"][0][field] == like["containers"][0][field], field


def test_its_pod_is_nobody_at_the_api_server_and_has_none_of_the_activators_settings() -> None:
    made = pod(TEMPLATE)["spec"]
    assert made["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in made
    assert "env" not in made["containers"][0]


def test_an_image_of_ones_own_is_run_as_the_activators_are() -> None:
    made = pod(TEMPLATE, image="python:3")["spec"]
    assert made["containers"][0]["image"] == "python:3"
    assert made["securityContext"] == TEMPLATE["spec"]["securityContext"]


def test_an_image_of_ones_own_needs_no_activator_to_be_found() -> None:
    made = pod(image="python:3")["spec"]
    assert made["containers"][0]["image"] == "python:3"
    assert made["securityContext"]["runAsNonRoot"] is True


def test_a_namespace_without_an_activator_is_refused_with_what_to_do() -> None:
    with pytest.raises(DemoModeError, match=r"has no activator.* chart value `namespaces`"):
        pod()
