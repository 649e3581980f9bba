"""The kubelet of the pretended node: it runs the pods of one namespace in this process.

A pod is bound to the node, gets an address, starts its program and becomes Ready when the program
says so. A deleted pod serves for a moment longer, ends its program and goes. With a grace period of
0 its program is killed, and a program that was killed in its pod starts there again. A resize is
applied at once. There are no containers: an image, a probe and a log are things for the end-to-end
tests.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from apiserver.keeper import NODE
from apiserver.network import on_their_way
from e2e.kit import NO_IMAGE, Object, is_ending, stamp
from lightkube import ApiError, AsyncClient
from lightkube.core.resource import ApiInfo, NamespacedResourceG, ResourceDef
from lightkube.generic_resource import Generic
from lightkube.types import PatchType

from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.connection import Connection
from kotatsu_operator.kube.errors import Unreachable, is_refusal
from kotatsu_operator.kube.informer import Watch
from kotatsu_operator.kube.objects import EndpointSlice, Pod

log = logging.getLogger(__name__)

STARTS_AFTER = "tests.kotatsu.dev/starts-after"
"""Annotation of a pod: the seconds from each start of its program until it serves."""

LINGER = 0.3
"""Seconds that a deleted pod still serves after its endpoints are not ready any more: clients have
to hear of it, as of a preStop hook."""

OF_KUBERNETES = {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}
"""Labels of the slices whose endpoints Kubernetes withdraws as soon as a pod is deleted."""

TRY_AGAIN_AFTER = 1.0
"""Seconds until what the API server did not answer is written again."""

LOOK_EVERY = 0.01
"""Seconds between two looks at whether a program is ready."""

_POD, _BINDING = ResourceDef("", "v1", "Pod"), ResourceDef("", "v1", "Binding")
WholePod: Any = type(
    "Pod", (NamespacedResourceG, Generic), {"_api_info": ApiInfo(_POD, "pods", ["list", "watch"])}
)
"""Pods with all their fields: of its own kind of pods the client keeps those that Kotatsu uses."""
Binding: Any = type(
    "Binding",
    (NamespacedResourceG, Generic),
    {"_api_info": ApiInfo(_BINDING, "pods", ["post"], parent=_POD, action="binding")},
)
"""The subresource that says on which node a pod is."""


class KilledError(Exception):
    """A program is killed: raised inside of `Programs.run`, which then writes nothing more."""


class Programs(Protocol):
    """What runs in the pods."""

    def run(
        self, pod: Object, address: str, killed: Callable[[], None]
    ) -> AbstractAsyncContextManager[Callable[[], str]]:
        """Run a pod at an address; gives what says why it is not ready, empty if it is.

        Calls `killed` if the program is killed meanwhile.
        """

    async def finish(self, pod: Object, address: str) -> bool:
        """Run a pod that ends by itself; whether it has succeeded."""


@dataclass
class _Seen:
    """What the watch shows of a pod."""

    pod: Object
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    is_killed: bool = False
    restarts: int = 0

    def show(self, pod: Object) -> None:
        self.pod = pod
        self.changed.set()

    def end(self) -> None:
        self.ending.set()
        self.changed.set()

    def kill(self) -> None:
        self.is_killed = True
        self.changed.set()


class Kubelet:
    """Runs the pods of a namespace."""

    def __init__(
        self, client: AsyncClient, namespace: str, programs: Programs, address: Callable[[], str]
    ) -> None:
        self._client: Any = client
        self._namespace = namespace
        self._programs, self._address = programs, address
        self._seen: dict[str, _Seen] = {}
        """The pods by their uids, also those that have gone."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Run until cancelled; then all programs end."""
        kube = Kube(Connection(self._client.config, "kubelet"))
        try:
            await Watch(kube, WholePod, self._namespace, self._on_change).run()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await kube.close()

    def _on_change(self, _: str, change: str, obj: Object) -> None:
        for pod in obj["items"] if change in ("PART", "LIST") else [obj]:
            uid = pod["metadata"]["uid"]
            if uid not in self._seen:
                self._seen[uid] = _Seen(pod)
                task = asyncio.create_task(self._run(self._seen[uid]))
                self._tasks.add(task)
                task.add_done_callback(self._has_ended)
            seen = self._seen[uid]
            seen.show(pod)
            if change == "DELETED" and not seen.ending.is_set():
                seen.kill()  # it went without a grace period
            if change == "DELETED" or is_ending(pod):
                seen.end()

    def _has_ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("a pod of %s is not run any more: %r", self._namespace, error)

    async def _run(self, seen: _Seen) -> None:
        pod = seen.pod
        with _though_gone():
            await self._bind(pod)
            if pod["spec"]["containers"][0]["image"] == NO_IMAGE:
                return
            address, began = self._address(), _now()
            if pod["spec"]["restartPolicy"] == "Never":
                await self._say(pod, _status(pod, address, began))
                has_succeeded = await self._programs.finish(pod, address)
                await self._say(pod, _ended(pod, began, has_succeeded=has_succeeded))
                return
            while not seen.ending.is_set():
                await self._say(pod, _status(pod, address, began, restarts=seen.restarts))
                await _start(seen)
                with contextlib.suppress(KilledError):
                    await self._serve(seen, address, began)
                seen.restarts, seen.is_killed = seen.restarts + 1, False
        with _though_gone():
            name = pod["metadata"]["name"]
            await _until_answered(
                lambda: self._client.delete(Pod, name, namespace=self._namespace, grace_period=0)
            )

    async def _serve(self, seen: _Seen, address: str, began: str) -> None:
        """Run the program of a pod until it has to end. Raises KilledError if it is killed."""
        async with self._programs.run(seen.pod, address, seen.kill) as why_not_ready:
            while why_not_ready() and not (seen.ending.is_set() or seen.is_killed):
                await asyncio.sleep(LOOK_EVERY)
            await self._keep(seen, address, began)
            if seen.is_killed:
                raise KilledError
            await self._linger(seen.pod)

    async def _linger(self, pod: Object) -> None:
        """Wait until clients have heard that a pod ends."""
        uid = pod["metadata"]["uid"]

        def leads_to_it(endpoint: Object) -> bool:
            is_ready = endpoint["conditions"].get("ready")
            return is_ready and (endpoint.get("targetRef") or {}).get("uid") == uid

        async def is_endpoint() -> bool:
            slices = self._client.list(
                EndpointSlice, namespace=self._namespace, labels=OF_KUBERNETES
            )
            return any([leads_to_it(e) async for s in slices for e in s.get("endpoints") or ()])

        while await is_endpoint():
            await asyncio.sleep(LINGER)
        # On a busy machine a client may take longer from its look at the endpoints to its request.
        late = on_their_way.copy()
        while not late.isdisjoint(on_their_way):
            await asyncio.sleep(LINGER)
        await asyncio.sleep(LINGER)

    async def _keep(self, seen: _Seen, address: str, began: str) -> None:
        """Show a pod as Ready until its program ends, with the resources that its spec asks for."""
        ready, given = _now(), None
        while not (seen.ending.is_set() or seen.is_killed):
            seen.changed.clear()
            if given != (given := _resources(seen.pod)):
                await self._say(
                    seen.pod, _status(seen.pod, address, began, ready, restarts=seen.restarts)
                )
            await seen.changed.wait()

    async def _bind(self, pod: Object) -> None:
        name = pod["metadata"]["name"]
        target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
        binding = Binding({"metadata": {"name": name}, "target": target})
        await _until_answered(lambda: self._client.create(binding, name, namespace=self._namespace))

    async def _say(self, pod: Object, status: Object) -> None:
        """Write a status, of this pod and none that has its name now."""
        await _until_answered(
            lambda: self._client.patch(
                Pod.Status,
                pod["metadata"]["name"],
                {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status},
                namespace=self._namespace,
                patch_type=PatchType.MERGE,
            )
        )


async def _until_answered(write: Callable[[], Awaitable[Any]]) -> None:
    """Write until the API server has answered, as a kubelet does."""
    while True:
        try:
            await write()
        except Unreachable as error:
            if is_refusal(error):
                raise
            log.warning("a write about a pod is tried again: %r", error)
            await asyncio.sleep(TRY_AGAIN_AFTER)
        else:
            return


@contextlib.contextmanager
def _though_gone() -> Any:
    """A pod may be deleted at any time."""
    try:
        yield
    except ApiError as error:
        if error.status.code not in (404, 409):
            raise


def _now() -> str:
    return stamp(datetime.now(UTC))


async def _start(seen: _Seen) -> None:
    """Wait as long as a program takes to start."""
    clock = asyncio.get_running_loop().time
    began = clock()
    while (rest := began + _starts_after(seen.pod) - clock()) > 0 and not seen.ending.is_set():
        await asyncio.sleep(min(rest, LOOK_EVERY))


def _starts_after(pod: Object) -> float:
    return float((pod["metadata"].get("annotations") or {}).get(STARTS_AFTER, 0))


def _resources(pod: Object) -> Object:
    return {c["name"]: c.get("resources") or {} for c in pod["spec"]["containers"]}


def _status(pod: Object, address: str, began: str, ready: str = "", *, restarts: int = 0) -> Object:
    """The status of a running pod, which is Ready since `ready` if that is not empty."""
    runs = ("PodScheduled", "PodReadyToStartContainers", "Initialized")
    conditions = [(kind, "True", began) for kind in runs]
    state = ("True", ready) if ready else ("False", began)
    conditions += [(kind, *state) for kind in ("ContainersReady", "Ready")]
    return {
        "phase": "Running",
        "startTime": began,
        "hostIP": "192.0.2.1",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [
            {"type": kind, "status": status, "lastTransitionTime": since}
            for kind, status, since in conditions
        ],
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": bool(ready),
                "started": True,
                "restartCount": restarts,
                "state": {"running": {"startedAt": began}},
                "resources": container.get("resources") or {},
            }
            for container in pod["spec"]["containers"]
        ],
    }


def _ended(pod: Object, began: str, *, has_succeeded: bool) -> Object:
    """The status of a pod whose containers have ended."""
    ended = {"exitCode": int(not has_succeeded), "startedAt": began, "finishedAt": _now()}
    return {
        "phase": "Succeeded" if has_succeeded else "Failed",
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": False,
                "restartCount": 0,
                "state": {"terminated": ended},
            }
            for container in pod["spec"]["containers"]
        ],
    }
