"""Parks pods and restores them, by their pool or by hand, and notes when each step was seen.

A pod counts as resized when the kubelet says so in its status. Its control group has the new share
of the CPU earlier; that is only seen where the pods' processes are this machine's own (tools/node).
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path

from lightkube import AsyncClient
from lightkube.resources import core_v1
from lightkube.types import PatchType

from cluster import Kubectl, Object
from coldstart import processes_of
from kotatsu_operator.core.formats import parse_quantity
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.informer import Watch
from kotatsu_operator.kube.objects import Pod, WarmPool

PARKED = Decimal("0.005")
"""Cores that a parked pod requests: the default of the chart value parked.cpu."""
_CGROUPS = Path("/sys/fs/cgroup")
_LOOK_EVERY = 0.001


class Parking:
    """Pods and pools of one namespace as watches show them."""

    def __init__(self, kubectl: Kubectl, client: AsyncClient) -> None:
        self.kubectl, self._client = kubectl, client
        self._pods: dict[str, Object] = {}
        self._pools: dict[str, Object] = {}
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[float]]] = []

    @classmethod
    @contextlib.asynccontextmanager
    async def watching(cls, kubectl: Kubectl) -> AsyncIterator["Parking"]:
        """With watches of the namespace's pods and pools, as the operator has them."""
        kube, client = Kube.connect("bench"), AsyncClient(field_manager="bench")
        parking = cls(kubectl, client)
        watches = [
            asyncio.create_task(Watch(kube, kind, kubectl.namespace, parking._into(known)).run())
            for kind, known in ((Pod, parking._pods), (WarmPool, parking._pools))
        ]
        try:
            yield parking
        finally:
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)
            await kube.close()
            await client.close()

    def _into(self, known: dict[str, Object]) -> Callable[[str, str, Object], None]:
        def on_change(_: str, change: str, obj: Object) -> None:
            if change == "LIST":
                known.clear()
                known.update({item["metadata"]["name"]: item for item in obj["items"]})
            elif change == "DELETED":
                known.pop(obj["metadata"]["name"], None)
            else:
                known[obj["metadata"]["name"]] = obj
            now = time.perf_counter()
            for holds, seen in self._waiting:
                if not seen.done() and _does(holds):
                    seen.set_result(now)

        return on_change

    async def seen(self, holds: Callable[[], bool], within: float = 60.0) -> float:
        """When the watches first show that something holds, in perf_counter's time.

        Raises TimeoutError.
        """
        if _does(holds):
            return time.perf_counter()
        waiting = (holds, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        try:
            return await asyncio.wait_for(waiting[1], within)
        finally:
            self._waiting.remove(waiting)

    def pod(self, app: str) -> Object:
        """The one pod of an app that is not ending. Raises LookupError while there is none."""
        for pod in self._pods.values():
            if app_of(pod) == app and "deletionTimestamp" not in pod["metadata"]:
                return pod
        raise LookupError(f"{app} has no pod")

    def uid(self, app: str) -> str:
        """Which pod that is."""
        return str(self.pod(app)["metadata"]["uid"])

    def pool(self, name: str) -> Object:
        """A pool's status; empty while there is none."""
        return dict((self._pools.get(name) or {}).get("status") or {})

    def requested(self, app: str) -> Decimal:
        """Cores that the first container of an app's pod asks for."""
        return _cpu(self.pod(app)["spec"]["containers"][0])

    def applied(self, app: str) -> Decimal:
        """Cores that the kubelet has given it."""
        return _cpu((self.pod(app)["status"].get("containerStatuses") or [{}])[0])

    async def is_parked(self, name: str, within: float = 60.0) -> None:
        """Wait until a pool's pod is parked, and the kubelet has applied it."""
        await self.seen(
            lambda: self.pool(name).get("phase") == "Parked" and self.applied(name) == PARKED,
            within,
        )

    async def is_restored(self, name: str, cpu: Decimal, within: float = 60.0) -> None:
        """Wait until a pool is warm again, and the kubelet has applied its full requests."""
        await self.seen(
            lambda: self.pool(name).get("phase") == "Warm" and self.applied(name) == cpu, within
        )

    async def resize(self, app: str, cpu: Decimal) -> None:
        """Ask for other requests of a pod, by hand."""
        pod = self.pod(app)
        container = {
            "name": pod["spec"]["containers"][0]["name"],
            "resources": {"requests": {"cpu": f"{cpu}"}},
        }
        await self._client.patch(
            core_v1.Pod.Resize,
            pod["metadata"]["name"],
            {"spec": {"containers": [container]}},
            namespace=self.kubectl.namespace,
            patch_type=PatchType.STRATEGIC,
        )

    async def resized(self, app: str, cpu: Decimal, within: float = 60.0) -> float:
        """Resize by hand and wait until the kubelet has applied it; when that was."""
        await self.resize(app, cpu)
        return await self.seen(lambda: self.applied(app) == cpu, within)


def _does(holds: Callable[[], bool]) -> bool:
    """Whether something holds; not while it is about a pod that does not exist."""
    try:
        return holds()
    except LookupError:
        return False


def app_of(pod: Object) -> str:
    """Which app a pod is of."""
    return str((pod["metadata"].get("labels") or {}).get("app", ""))


def _cpu(part: Object) -> Decimal:
    return parse_quantity(str(((part.get("resources") or {}).get("requests") or {}).get("cpu", 0)))


class Shares:
    """The CPU share of a pod's control group, looked at every millisecond until it changes."""

    def __init__(self, uid: str) -> None:
        self.changed_at: float | None = None
        """When it changed, in perf_counter's time; None: it has not, or it cannot be seen."""
        self._file = _share_file(uid)
        self._before = self._file.read_text() if self._file is not None else ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Shares":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while self._file is not None and not self._over.wait(_LOOK_EVERY):
            if self._file.read_text() != self._before:
                self.changed_at = time.perf_counter()
                return


def _share_file(uid: str) -> Path | None:
    """The file with a pod's share: cpu.weight, or cpu.shares with cgroup v1."""
    for pid, _ in processes_of(uid):
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if f"pod{uid}" not in path or controllers not in ("", "cpu", "cpu,cpuacct"):
                continue
            group = path[1 : path.index(f"pod{uid}")] + f"pod{uid}"
            for file in (_CGROUPS / group / "cpu.weight", _CGROUPS / "cpu" / group / "cpu.shares"):
                if file.exists():
                    return file
    return None
