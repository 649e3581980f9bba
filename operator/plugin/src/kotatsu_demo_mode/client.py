"""Sends the requests of a rehearsal, from a pod of the cluster or from this machine."""

import json
from collections.abc import Callable, Generator, Iterator
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any, Protocol
from urllib.parse import quote, urlsplit
from uuid import uuid4

from kotatsu_operator.core.protocol import ACTIVATOR_SELECTOR

from . import load
from .api import Api
from .client_pod import ANY_IMAGE, client_pod
from .errors import DemoModeError, NotFoundError
from .pools import Object, Pool

Job = dict[str, Any]
Results = list[tuple[float, int, str]]


class Step(Enum):
    """What a rehearsal waits for."""

    WAIT = auto()
    """Something in the cluster: look again in a moment."""
    BARRIER = auto()
    """The other rehearsals: continue when all of them are as far."""


Sending = Generator[Step, None, tuple[float, Results]]
"""The seconds that it took, and each answer; it yields while the requests run."""


class Client(Protocol):
    """Sends requests on one route."""

    route: str
    """The route in words."""

    def send(self, job: Job) -> Sending:
        """Send requests; returns the seconds that it took, and each answer."""


class Here:
    """Requests from this machine to a URL, for instance that of a gateway."""

    def __init__(self, url: str) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise DemoModeError(f"--url: {url!r} is not a URL; write it like https://pet.example")
        self.route = url
        self._url = url

    def send(self, job: Job) -> Sending:
        """Send the requests from this machine, without a step in between."""
        yield from ()
        return _read(load.run(job | {"url": self._url}))


class Inside:
    """Requests to the pool's Service from a pod of its namespace.

    `kubectl port-forward svc/…` and the API server's Service proxy choose a pod themselves and
    bypass the activator, so they cannot wake a sleeping pool. The pod runs as the activators do:
    their image contains Python, and the cluster pulls and admits it.
    """

    def __init__(
        self, api: Api, pool: Pool, path: str, image: str, clock: Callable[[], datetime]
    ) -> None:
        self._api, self._pool, self._clock = api, pool, clock
        self._image, self._template = image, self._activators(image)
        self._url = f"http://{pool.spec.service}.{pool.namespace}.svc:{self._port()}{path}"
        self.route = f"Service {pool.spec.service}, from a pod in {pool.namespace}"

    def send(self, job: Job) -> Sending:
        """Create the pod, wait for its results, and delete it."""
        pods = f"/api/v1/namespaces/{quote(self._pool.namespace)}/pods"
        name = f"demo-mode-rehearsal-{uuid4().hex[:6]}"
        patience = timedelta(seconds=60 + job["timeout"] * (2 + job["requests"] / 10))
        job = job | {"url": self._url}
        self._api.create(pods, client_pod(name, job, patience, self._template, self._image))
        try:
            yield from self._wait(f"{pods}/{name}", name, patience)
            log = self._api.text(f"{pods}/{name}/log")
        finally:
            self._api.delete(f"{pods}/{name}")
        try:
            return _read(json.loads(log))
        except (ValueError, KeyError):
            raise DemoModeError(
                f"the pod {name} has no result in its log: {log.strip()[-200:] or 'it is empty'}; "
                "give an --image with python3, or --url"
            ) from None

    def _activators(self, image: str) -> Object:
        """Their pod template; none is needed for an image of one's own."""
        place = f"/apis/apps/v1/namespaces/{quote(self._pool.namespace)}/deployments"
        found = self._api.get(place, labelSelector=ACTIVATOR_SELECTOR).get("items") or ()
        for deployment in found:
            template: Object = deployment["spec"]["template"]
            return template
        if image:
            return ANY_IMAGE
        raise DemoModeError(
            f"namespace {self._pool.namespace} has no activator, so requests cannot wake the "
            "pool; add the namespace to the chart value `namespaces`"
        )

    def _port(self) -> int:
        name = self._pool.spec.service
        place = f"/api/v1/namespaces/{quote(self._pool.namespace)}/services/{quote(name)}"
        try:
            ports = self._api.get(place)["spec"]["ports"]
        except NotFoundError:
            raise DemoModeError(
                f"Service {name} does not exist, so no client can reach the pool; create it, or "
                "set spec.service"
            ) from None
        return int(next((p for p in ports if p.get("name") == "http"), ports[0])["port"])

    def _wait(self, path: str, name: str, patience: timedelta) -> Iterator[Step]:
        end = self._clock() + patience
        while True:
            status = self._api.get(path).get("status") or {}
            if status.get("phase") in ("Succeeded", "Failed"):
                return
            waiting = [
                f"{w['reason']}: {w.get('message', '')}"
                for c in status.get("containerStatuses") or ()
                if (w := (c.get("state") or {}).get("waiting"))
                and w.get("reason") not in ("ContainerCreating", "PodInitializing")
            ]
            if waiting or self._clock() > end:
                why = waiting[0] if waiting else f"still {status.get('phase', 'Pending')}"
                raise DemoModeError(
                    f"the pod {name}, which sends the requests, does not run ({why}); "
                    "give another --image, or --url to send them from this machine"
                )
            yield Step.WAIT


def _read(answer: dict[str, Any]) -> tuple[float, Results]:
    results = [(float(s), int(status), str(error)) for s, status, error in answer["results"]]
    return float(answer["seconds"]), results
