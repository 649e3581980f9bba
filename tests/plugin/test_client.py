"""The pod from which a rehearsal sends its requests."""

import json
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any, cast

import pytest
from plugin.kit import NOW, pool

from kotatsu_demo_mode import load
from kotatsu_demo_mode.api import Api
from kotatsu_demo_mode.client import Here, Inside
from kotatsu_demo_mode.errors import DemoModeError
from kotatsu_demo_mode.installs import watch_by_deployment
from kotatsu_demo_mode.objects import Objects
from kotatsu_demo_mode.stages import headers_of

TEMPLATE: dict[str, Any] = {
    "spec": {
        "serviceAccountName": "kotatsu-operator",
        "imagePullSecrets": [{"name": "registry"}],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "containers": [
            {
                "name": "operator",
                "image": "example.com/kotatsu:1",
                "env": [{"name": "KOTATSU_PORT", "value": "8080"}],
                "resources": {"limits": {"cpu": "1", "memory": "256Mi"}},
                "securityContext": {"readOnlyRootFilesystem": True},
            }
        ],
    }
}
"""Of an operator on OpenShift, from a registry with a login."""


class Cluster:
    """Answers for one Service, and for the pod that is made. No Deployment is asked for."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []

    def get(self, path: str, **query: str) -> dict[str, Any]:
        if path.endswith("/services/voice"):
            return {"spec": {"ports": [{"port": 80}]}}
        assert "/pods/" in path
        return {"status": {"phase": "Succeeded"}}

    def create(self, path: str, made: dict[str, Any]) -> None:
        self.made.append(made)

    def text(self, path: str) -> str:
        return json.dumps({"seconds": 0.1, "results": [[0.1, 200, ""]]})

    def delete(self, path: str) -> None:
        assert path.endswith(self.made[-1]["metadata"]["name"])


def operator(template: dict[str, Any], namespace: str = "kotatsu") -> dict[str, Any]:
    """A Deployment that says that it watches all namespaces."""
    return {
        "metadata": {"name": "kotatsu-operator", "namespace": namespace},
        "spec": {"template": template},
        "status": {"readyReplicas": 1},
    }


def pod(*operators: dict[str, Any], image: str = "", unread: str = "") -> dict[str, Any]:
    """The rehearsal's pod where there are these operators; the pool's status names kotatsu."""
    cluster = Cluster()
    watch = watch_by_deployment(Objects(list(operators), unread), "demo", activators="kotatsu/0")
    client = Inside(cast(Api, cluster), pool(), "/", image, lambda: NOW, watch)
    job = {"method": "GET", "requests": 1, "concurrency": 1, "timeout": 60}
    with pytest.raises(StopIteration) as ended:  # the pod has ended at the first look
        next(client.send(job))
    assert ended.value.value == (0.1, [(0.1, 200, "")])
    (made,) = cluster.made
    return made


def test_its_pod_has_the_image_of_the_operator() -> None:
    made = pod(operator(TEMPLATE))["spec"]
    assert made["containers"][0]["image"] == "example.com/kotatsu:1"
    for field in ("imagePullSecrets", "tolerations"):
        assert made[field] == TEMPLATE["spec"][field], field


def test_what_its_pod_may_do_comes_from_no_object_of_the_cluster() -> None:
    evil = deepcopy(TEMPLATE)
    evil["spec"] |= {"hostPID": True, "securityContext": {"runAsUser": 0}, "volumes": [{}]}
    evil["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    made = pod(operator(evil))["spec"]
    assert made["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert made["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert made.keys().isdisjoint({"hostPID", "hostNetwork", "volumes", "serviceAccountName"})
    assert made["automountServiceAccountToken"] is False
    assert "env" not in made["containers"][0]


def test_on_openshift_its_pod_has_no_user_id_either() -> None:
    assert "runAsUser" not in pod(operator(TEMPLATE))["spec"]["securityContext"]


def test_a_deployment_that_poses_as_the_operator_chooses_nothing() -> None:
    posing = operator(deepcopy(TEMPLATE), "tenant")
    posing["spec"]["template"]["spec"] |= {"tolerations": [{}], "nodeSelector": {"of": "evil"}}
    posing["spec"]["template"]["spec"]["containers"][0]["image"] = "example.com/evil"
    for both in ((posing, operator(TEMPLATE)), (operator(TEMPLATE), posing)):
        made = pod(*both)["spec"]
        assert made["containers"][0]["image"] == "example.com/kotatsu:1"
        assert made["tolerations"] == TEMPLATE["spec"]["tolerations"]
    with pytest.raises(DemoModeError, match=r"does not name the namespace .* give an --image"):
        pod(posing)
    made = pod(posing, image="python:3")["spec"]
    assert made["containers"][0]["image"] == "python:3"
    assert made.keys().isdisjoint({"tolerations", "nodeSelector"})


def test_without_an_operator_that_may_be_read_an_image_of_ones_own_is_asked_for() -> None:
    with pytest.raises(DemoModeError, match=r"not known .* give an --image"):
        pod(unread="you may not list Deployments")
    made = pod(image="python:3", unread="you may not list Deployments")["spec"]
    assert made["containers"][0]["image"] == "python:3"


@pytest.mark.parametrize(
    "url", ["", "pet.example", "ftp://pet.example", "http://pet.example:99999/", "http://[::1"]
)
def test_a_url_that_is_none_is_refused_before_anything_is_changed(url: str):
    with pytest.raises(DemoModeError, match="is not a URL; write it like"):
        Here(url)


@pytest.mark.parametrize("line", ["X", "X: こ", "X: a\nb: c"])
def test_a_header_that_cannot_be_sent_is_refused(line: str):
    with pytest.raises(DemoModeError, match="is not a header"):
        headers_of([line])


def test_an_address_may_have_any_text():
    asked = list[str]()

    class App(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), App) as app:
        Thread(target=app.handle_request).start()
        url = f"http://127.0.0.1:{app.server_port}/voice?text=はい no%20&x=1"
        job = {"url": url, "method": "GET", "requests": 1, "concurrency": 1, "timeout": 10}
        [(_, status, _)] = load.run(job)["results"]
    assert (status, asked) == (204, ["/voice?text=%E3%81%AF%E3%81%84%20no%20&x=1"])
