"""Sends the requests of a rehearsal, from a pod of the cluster or from this machine."""

import json
from collections.abc import Callable, Generator, Iterator
from datetime import datetime, timedelta
from enum import Enum, auto
from pkgutil import get_data
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from kotatsu_operator.core.formats import tables, text
from kotatsu_operator.core.objects import why_not_started

from . import load
from .api import Api
from .errors import DemoModeError, NotFoundError
from .installs import Watch
from .objects import Object, path_of, pod_spec_of
from .pools import Pool

Job = dict[str, Any]
Results = list[tuple[float, int, str]]


class Pause(Enum):
    """What a rehearsal waits for."""

    WAIT = auto()
    """Something in the cluster: look again in a moment."""
    BARRIER = auto()
    """The other rehearsals: continue when all of them are as far."""


Sending = Generator[Pause, None, tuple[float, Results]]
"""The seconds that it took, and each answer; it yields while the requests run."""


def _is_url(given: str) -> bool:
    try:
        url = urlsplit(given)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:  # a port above 65535, or brackets without an address
        return False


class Here:
    """Requests from this machine to a URL, for instance that of a gateway."""

    def __init__(self, url: str) -> None:
        if not _is_url(url):
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
    bypass the activator, so they cannot wake a sleeping pool. The pod has the image of the
    operator, which contains Python, if the status of the pool names the operator's namespace:
    accounts that may create Deployments must not choose what an administrator runs.
    """

    def __init__(
        self,
        api: Api,
        pool: Pool,
        path: str,
        image: str,
        clock: Callable[[], datetime],
        watch: Watch,
    ) -> None:
        self._api, self._pool, self._clock = api, pool, clock
        self._like: Object = dict(pod_spec_of(watch.operator)) if watch.is_proven else {}
        self._image = image or self._of_the_operator(watch)
        self._url = f"http://{pool.spec.service}.{pool.namespace}.svc:{self._port()}{path}"
        self.route = f"Service {pool.spec.service}, from a pod in {pool.namespace}"

    def send(self, job: Job) -> Sending:
        """Create the pod, wait for its results, and delete it."""
        pods = path_of("v1", "pods", self._pool.namespace)
        name = f"demo-mode-rehearsal-{uuid4().hex[:6]}"
        patience = timedelta(seconds=60 + job["timeout"] * (2 + job["requests"] / 10))
        job = job | {"url": self._url}
        self._api.create(pods, client_pod(name, job, patience, self._like, self._image))
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

    def _of_the_operator(self, watch: Watch) -> str:
        image = next((text(c.get("image")) for c in tables(self._like.get("containers"))), "")
        if image:
            return image
        why = watch.message
        if watch.operator:
            why = f"the status of {self._pool.name} does not name the namespace of its operator"
        raise DemoModeError(
            f"which image sends the requests is not known ({why}): give an --image with python3, "
            "or --url"
        )

    def _port(self) -> int:
        name = self._pool.spec.service
        place = path_of("v1", "services", self._pool.namespace, name)
        try:
            ports = self._api.get(place)["spec"]["ports"]
        except NotFoundError:
            raise DemoModeError(
                f"Service {name} does not exist, so no client can reach the pool; create it, or "
                "set spec.service"
            ) from None
        return int(next((p for p in ports if p.get("name") == "http"), ports[0])["port"])

    def _wait(self, path: str, name: str, patience: timedelta) -> Iterator[Pause]:
        end = self._clock() + patience
        while True:
            status = self._api.get(path).get("status") or {}
            if status.get("phase") in ("Succeeded", "Failed"):
                return
            waiting = why_not_started(status)
            if waiting or self._clock() > end:
                why = waiting or f"still {status.get('phase', 'Pending')}"
                raise DemoModeError(
                    f"the pod {name}, which sends the requests, does not run ({why}); "
                    "give another --image, or --url to send them from this machine"
                )
            yield Pause.WAIT


Client = Here | Inside


def _read(answer: dict[str, Any]) -> tuple[float, Results]:
    results = [(float(s), int(status), str(error)) for s, status, error in answer["results"]]
    return float(answer["seconds"]), results


_USER = 65532
_RESTRICTED = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
_CONTAINER: Object = {
    "resources": {  # a quota may require limits
        "requests": {"cpu": "20m", "memory": "64Mi"},
        "limits": {"cpu": "1", "memory": "256Mi"},
    },
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    },
}
_SCHEDULING = ("imagePullSecrets", "nodeSelector", "tolerations")


def client_pod(name: str, job: Object, patience: timedelta, like: Object, image: str) -> Object:
    """A pod that runs `load.py` with `job`, and ends after `patience` at the latest.

    `like` is the PodSpec of the operator, or empty: the pod is pulled and scheduled like it. What
    the pod may do never comes from the cluster: it runs in the name of whoever rehearses, often an
    administrator. On OpenShift the operator has no user id, because only the namespace's own are
    admitted, and then the pod has none either.
    """
    has_none = bool(like) and "runAsUser" not in (like.get("securityContext") or {})
    user = {} if has_none else {"runAsUser": _USER}
    script = (get_data(__package__, "load.py") or b"").decode()
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/managed-by": "kubectl-demo-mode"},
        },
        "spec": {
            **{field: like[field] for field in _SCHEDULING if field in like},
            "securityContext": {**_RESTRICTED, **user},
            "restartPolicy": "Never",
            # It ends even if the plugin cannot delete it.
            "activeDeadlineSeconds": int(patience.total_seconds()),
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "containers": [
                {
                    **_CONTAINER,
                    "name": "client",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python3", "-c", script, json.dumps(job)],
                }
            ],
        },
    }
