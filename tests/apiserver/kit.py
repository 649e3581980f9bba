"""What tests on the control plane work with: kubectl without its process, and Services.

`App`, `eventually` and all else is that of the end-to-end tests.
"""

import asyncio
import functools
import json
import random
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from apiserver.keeper import Plane
from apiserver.network import on_their_way, real
from e2e import api
from e2e import kit as waiting
from e2e.kit import App, Kubectl, Object

PATIENCE = 30.0
"""Seconds to wait for what takes a second or two, on a machine that does much else."""

eventually = functools.partial(waiting.eventually, within=PATIENCE)

Endpoint = tuple[str, int]
_NOT_FOUND = 404


class Namespace(Kubectl):
    """A namespace; what is written often is a request of this process, not a process of its own."""

    def __init__(self, name: str, plane: Plane) -> None:
        super().__init__(name, plane.kubectl, f"--kubeconfig={plane.kubeconfig}")
        self.plane = plane
        self._server = api.connect(plane.kubeconfig)

    def apply(self, *objects: Object) -> None:
        """Apply objects on the server's side."""
        for obj in objects:
            path = f"{self._path_of(obj)}/{obj['metadata']['name']}?fieldManager=kubectl&force=true"
            self._server.change("PATCH", path, obj, "application/apply-patch+yaml")

    def patch(self, kind: str, name: str, patch: Object) -> None:
        """Merge into an object of a kind that e2e.api knows."""
        path = f"{api.path_of(kind, self.namespace)}/{name}"
        self._server.change("PATCH", path, patch, "application/merge-patch+json")

    def delete(self, kind: str, name: str) -> None:
        """Delete an object of a kind that e2e.api knows, if it is there."""
        path = f"{api.path_of(kind, self.namespace)}/{name}?propagationPolicy=Background"
        response = self._server.send("DELETE", path)
        assert response.is_success or response.status_code == _NOT_FOUND, response.text

    def judged(self, obj: Object) -> list[str]:
        """What the API server has against an object, warnings included; it is not made."""
        path = f"{self._path_of(obj)}?dryRun=All&fieldValidation=Strict"
        response = self._server.send("POST", path, obj)
        refusal = [] if response.is_success else [str(response.json()["message"])]
        return [*refusal, *response.headers.get_list("warning")]

    def _path_of(self, obj: Object) -> str:
        """Where the objects of this one's kind are, in its namespace or in this one."""
        plural, is_namespaced = _resource(self.plane, obj["apiVersion"], obj["kind"])
        version = obj["apiVersion"]
        root = f"apis/{version}" if "/" in version else f"api/{version}"
        if not is_namespaced:
            return f"{root}/{plural}"
        return f"{root}/namespaces/{obj['metadata'].get('namespace', self.namespace)}/{plural}"

    def endpoints(self, service: str) -> list[Endpoint]:
        """Where the ready endpoints of a Service are, of its first port."""
        found = []
        labels = {"kubernetes.io/service-name": service}
        for obj in self.items("endpointslices", **labels):
            for endpoint in obj.get("endpoints") or ():
                if endpoint["conditions"].get("ready"):
                    (address,) = endpoint["addresses"]
                    found.append((address, obj["ports"][0]["port"]))
        return found


@functools.cache
def _resource(plane: Plane, version: str, kind: str) -> tuple[str, bool]:
    """The plural of a kind, and whether its objects are in namespaces."""
    root = f"apis/{version}" if "/" in version else f"api/{version}"
    server = api.connect(plane.kubeconfig)
    for _ in range(300):  # of a new CRD discovery knows a moment later than its conditions
        response = server.send("GET", root)
        found = response.json()["resources"] if response.is_success else ()
        for resource in found:
            if resource["kind"] == kind:
                return resource["name"], resource["namespaced"]
        time.sleep(0.1)
    raise AssertionError(f"the API server serves no {version} {kind}")


class Services(httpx.AsyncBaseTransport):
    """Leads requests for the host of a Service to one of its ready endpoints, as kube-proxy does.

    The host is `service.namespace`; any other one is itself.
    """

    def __init__(self, plane: Plane, inner: httpx.AsyncBaseTransport) -> None:
        self._plane, self._inner = plane, inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to an endpoint. Raises httpx.ConnectError without one."""
        service, dot, namespace = request.url.host.partition(".")
        if not dot or namespace[0].isdigit():
            return await self._inner.handle_async_request(request)

        async def note(event: str, _: object) -> None:
            if event == "http11.send_request_body.complete":
                on_their_way.discard(request)

        request.extensions = {**request.extensions, "trace": note}
        on_their_way.add(request)
        try:
            found = Namespace(namespace, self._plane).endpoints(service)
            if not found:
                raise httpx.ConnectError(f"{request.url.host} has no ready endpoint")
            host, port = real(*random.choice(found))
            request.url = request.url.copy_with(host=host, port=port)
            return await self._inner.handle_async_request(request)
        finally:
            on_their_way.discard(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


@asynccontextmanager
async def asked_all_the_time(
    app: App, http: httpx.AsyncClient, *, clients: int = 2, pause: float = 0.05
) -> AsyncIterator[None]:
    """Clients that send one request after the other; each has to be answered."""
    is_over = asyncio.Event()

    async def ask() -> None:
        while not is_over.is_set():
            await app.send(http, ms=20)
            await asyncio.sleep(pause)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(clients):
            tasks.create_task(ask())
        try:
            yield
        finally:
            is_over.set()


SINGLETON = "kotatsu-serves-unlabeled-namespaces"
"""The ClusterRole of which a cluster has one."""


def one_each(text: str, home: str) -> str:
    """A text with another singleton for each release: tests share the cluster."""
    return text.replace(SINGLETON, f"{SINGLETON}-{home}")


def in_namespace(obj: Object, before: str, now: str) -> Any:
    """An object that was made for one namespace, for another one.

    Its name too, if it is of the cluster: then it ends with the namespace of the release.
    """
    # In values, sets of activators, CEL, and names of what is cluster-wide.
    as_word = rf"""(?<=["'])({before})(?=["'/])|(?<=-){before}\b"""
    return json.loads(one_each(re.sub(as_word, now, json.dumps(obj)), now))
