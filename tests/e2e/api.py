"""The API server without a kubectl.

Tests look at the cluster ten times a second and more. A kubectl for each look costs 150 ms of CPU,
a request over a connection that stays 1 ms.
"""

import functools
import json
from collections.abc import Mapping
from typing import Any

import httpx2
from lightkube.config.client_adapter import Client, ConnectionParams
from lightkube.config.kubeconfig import KubeConfig

PATHS = {
    "configmap": "api/v1/namespaces/{}/configmaps",
    "crd": "apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "deployment": "apis/apps/v1/namespaces/{}/deployments",
    "endpointslice": "apis/discovery.k8s.io/v1/namespaces/{}/endpointslices",
    "horizontalpodautoscaler": "apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
    "hpa": "apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
    "lease": "apis/coordination.k8s.io/v1/namespaces/{}/leases",
    "namespace": "api/v1/namespaces",
    "node": "api/v1/nodes",
    "pod": "api/v1/namespaces/{}/pods",
    "revisions.serving.knative.dev": "apis/serving.knative.dev/v1/namespaces/{}/revisions",
    "service": "api/v1/namespaces/{}/services",
    "warmpool": "apis/kotatsu.dev/v1beta1/namespaces/{}/warmpools",
    "warmpoolhistory": "apis/kotatsu.dev/v1beta1/namespaces/{}/warmpoolhistories",
    "warmpoolset": "apis/kotatsu.dev/v1beta1/warmpoolsets",
}
"""Where objects of a kind are, by its name in the singular as kubectl knows it."""

TRIES = 2
"""A connection that was kept breaks with the API server that it leads to."""


def path_of(kind: str, namespace: str) -> str | None:
    """Where the objects of a kind are in a namespace; None for a kind that is not in the table."""
    found = PATHS.get(kind) or PATHS.get(kind.removesuffix("s"))
    return found.format(namespace) if found else None


class Api:
    """The API server of a kubeconfig's current context; without a file, of the environment's.

    `timeout` is in seconds.
    """

    def __init__(self, file: str, timeout: float = 10.0) -> None:
        config = (KubeConfig.from_file(file) if file else KubeConfig.from_env()).get()
        assert config is not None, "there is no kubeconfig"
        params = ConnectionParams(timeout=httpx2.Timeout(timeout), trust_env=False)
        self._http = Client(config, params)

    def get(self, path: str, selector: str = "") -> Any:
        """What is at a path. AssertionError when there is nothing, or nobody answers."""
        query = {"labelSelector": selector} if selector else {}
        for left in reversed(range(TRIES)):
            try:
                response = self._http.get(path, params=query)
            except httpx2.TransportError as error:
                if not left:
                    raise AssertionError(f"GET {path}: {error!r}") from error
            else:
                assert response.status_code == 200, f"GET {path}: {response.text}"
                return response.json()
        raise AssertionError

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """Write something; what the API server answers, whatever that is."""
        content = None if body is None else json.dumps(body)
        given = {"Content-Type": content_type} | dict(headers or {})
        return self._http.request(method, path, content=content, headers=given)

    def change(self, method: str, path: str, *content: Any) -> None:
        """As `send`. AssertionError when the API server refuses it."""
        response = self.send(method, path, *content)
        assert response.is_success, f"{method} {response.url}: {response.text}"

    def close(self) -> None:
        """Close its connections."""
        self._http.close()


@functools.cache
def connect(file: str = "") -> Api:
    """One connection pool for each kubeconfig."""
    return Api(file)
