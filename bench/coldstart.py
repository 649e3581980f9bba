"""Cold starts: what Kubernetes alone needs for one (the floor), and one through a pool.

The floor is: patch the scale from 0 to 1, hear of the pod by a watch, ask its address every few
milliseconds until it answers with 200. Nothing that waits for a pod can be faster.
"""

import asyncio
import contextlib
import copy
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster import App, Kubectl, Object, asleep_override, built, eventually, pool
from http1 import Client
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.informer import Watch
from kotatsu_operator.kube.objects import Deployment, Pod
from kotatsu_operator.kube.views import PodView, pod_view

ASK_EVERY = 0.005
SETTLE = 2.0
"""Seconds after which every kube-proxy has heard what changed: it looks once a second."""
_TICKS = os.sysconf("SC_CLK_TCK")


def small_app(name: str, cpu: str = "50m", replicas: int = 0) -> list[Object]:
    """Deployment and Service of bench/small_app.py, in the smallest image of ours."""
    container = {
        "name": "app",
        "image": ":".join(setting.partition("=")[2] for setting in built("", "operator")),
        "imagePullPolicy": "IfNotPresent",
        # Not from a ConfigMap: a volume takes longer than all the rest of this start.
        "command": ["python3", "-c", Path(__file__).with_name("small_app.py").read_text()],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": cpu, "memory": "32Mi"}},
    }
    spec = {
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "containers": [container],
    }
    labels = {"app": name}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        },
        service(name),
    ]


def service(name: str) -> Object:
    """A Service of an app's pods."""
    ports = [{"port": 80, "targetPort": "http"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports},
    }


def sleepy_pool(name: str, **spec: object) -> Object:
    """A pool that sleeps when it is told to, and not before."""
    defaults: Object = {
        "idleAfter": "10m",
        "maxReplicas": 1,
        "requestsPerPod": 100_000,
    }
    return pool(name, **{**defaults, **spec})


def twin(deployment: Object, name: str, replicas: int = 0) -> Object:
    """The same Deployment under another name and with labels of its own, without a pool."""
    spec = copy.deepcopy(deployment["spec"])
    labels = {"app": name}
    spec["selector"] = {"matchLabels": labels}
    spec["template"]["metadata"] = {"labels": labels}
    spec["replicas"] = replicas
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": spec,
    }


@dataclass(frozen=True)
class Start:
    """One cold start, in seconds from its beginning."""

    first: float
    """Until the first byte of the answer's body."""
    seconds: float
    """Until its last."""
    stages: dict[str, float]
    """When which stage had ended, as far as this machine can see it."""
    began: float
    """When it began, in perf_counter's time."""


class Starts:
    """Makes cold starts in one namespace."""

    def __init__(self, kubectl: Kubectl, kube: Kube) -> None:
        self.kubectl, self._kube = kubectl, kube
        self.pods: dict[str, PodView] = {}
        self._seen: dict[str, dict[str, float]] = {}
        """When a pod was first seen to be so, by uid and what."""
        self._replicas: dict[str, int] = {}
        self._raised: dict[str, float] = {}
        """When a Deployment was last seen to be raised from 0, by its name."""
        self.wakes = Counter[str]()
        """How often it was."""
        self._news = asyncio.Event()

    @classmethod
    @contextlib.asynccontextmanager
    async def watching(cls, kubectl: Kubectl) -> AsyncIterator["Starts"]:
        """With watches of the namespace's pods and Deployments, as the activator has them."""
        kube = Kube.connect("bench")
        starts = cls(kubectl, kube)
        watches = [
            asyncio.create_task(Watch(kube, kind, kubectl.namespace, on_change).run())
            for kind, on_change in ((Pod, starts._on_change), (Deployment, starts._on_deployment))
        ]
        try:
            yield starts
        finally:
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)
            await kube.close()

    def _on_deployment(self, _: str, change: str, obj: Object) -> None:
        for item in obj["items"] if change == "LIST" else [obj]:
            name, replicas = item["metadata"]["name"], item["spec"].get("replicas", 1)
            if replicas and not self._replicas.get(name, replicas):
                self._raised[name] = time.perf_counter()
                self.wakes[name] += 1
            self._replicas[name] = replicas

    def _on_change(self, _: str, change: str, obj: Object) -> None:
        if change == "LIST":
            self.pods = {item["metadata"]["name"]: pod_view(item) for item in obj["items"]}
        elif change == "DELETED":
            self.pods.pop(obj["metadata"]["name"], None)
        else:
            view = self.pods[obj["metadata"]["name"]] = pod_view(obj)
            seen = self._seen.setdefault(view.uid, {})
            now = time.perf_counter()
            seen.setdefault("pod created", now)
            if view.node:
                seen.setdefault("scheduled", now)
            if view.ip:
                seen.setdefault("address known", now)
        self._news.set()

    async def floor(self, deployment: str, app: str, raw: bytes) -> Start:
        """Start one without any pool; `app` is the pods' label."""
        start, _ = await self.floor_and_address(deployment, app, raw)
        return start

    async def floor_and_address(self, deployment: str, app: str, raw: bytes) -> tuple[Start, str]:
        """The same, and the pod's address."""
        scale = await self._kube.get_scale(self.kubectl.namespace, deployment)
        began = time.perf_counter()  # the patch alone, over a connection that is there
        await self._kube.raise_scale(self.kubectl.namespace, deployment, scale.version)
        pod = await self._pod(app)
        while True:
            try:
                async with asyncio.timeout(1):
                    client = await Client.connect((pod.ip, 8080))
                    answer = await client.ask(raw)
                    client.close()
                if answer.status == 200:
                    break
            except OSError:
                pass
            await asyncio.sleep(ASK_EVERY)
        took = time.perf_counter() - began
        first = took - answer.seconds + answer.first
        return Start(first, took, self._stages(deployment, pod, began), began), pod.ip

    async def wake(self, address: str, app: str, raw: bytes) -> Start:
        """A cold request to a pool's Service."""
        began = time.perf_counter()
        client = await Client.connect((address, 80))
        connected = time.perf_counter() - began
        answer = await client.ask(raw)
        client.close()
        if answer.status != 200:
            raise RuntimeError(f"{app} answered {answer.status}: {answer.body[:200]!r}")
        pod = await self._pod(app)
        stages = self._stages(app, pod, began)
        return Start(connected + answer.first, connected + answer.seconds, stages, began)

    async def down(self, deployment: str, app: str) -> None:
        """Scale to 0 and wait until no pod is left."""
        self.kubectl("scale", f"deployment/{deployment}", "--replicas=0")
        await self.gone(app)

    async def to_sleep(self, *pools: str) -> None:
        """Tell pools to sleep, and wait until they do and every kube-proxy knows it."""
        for name in pools:
            self.kubectl.patch("warmpool", name, {"spec": {"override": asleep_override()}})
        for name in pools:
            await eventually(f"{name} asleep", lambda n=name: self._is_asleep(n), 120)  # type: ignore[misc]
            await self.gone(name)
        await asyncio.sleep(SETTLE)

    def _is_asleep(self, name: str) -> bool:
        status = App(name, self.kubectl).status()
        override = (status.get("internal") or {}).get("override") or {}
        return status.get("phase") == "Asleep" and override.get("done", True)

    async def gone(self, app: str) -> None:
        """Wait until none of an app's pods is left, not even an ending one."""
        async with asyncio.timeout(120):
            while any(app_of(pod) == app for pod in self.pods.values()):
                await self._next()

    async def _pod(self, app: str) -> PodView:
        async with asyncio.timeout(60):
            while True:
                for pod in self.pods.values():
                    if app_of(pod) == app and pod.ip and not pod.terminating:
                        return pod
                await self._next()

    async def _next(self) -> None:
        self._news.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await self._news.wait()

    def _stages(self, deployment: str, pod: PodView, began: float) -> dict[str, float]:
        moments = self._seen.get(pod.uid, {}) | process_starts(pod.uid)
        if deployment in self._raised:
            moments["scale written"] = self._raised[deployment]
        return {name: at - began for name, at in moments.items()}


def app_of(pod: PodView) -> str:
    """Which app a pod is of, by either of the two usual labels."""
    return pod.labels.get("app") or pod.labels.get("app.kubernetes.io/name", "")


def processes_of(uid: str) -> Iterator[tuple[int, str]]:
    """The processes of a pod and their programs, where they are this machine's own (tools/node)."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if f"pod{uid}" in (entry / "cgroup").read_text():
                yield int(entry.name), (entry / "cmdline").read_text().split("\0")[0]
        except OSError:
            continue  # it has ended


def process_starts(uid: str) -> dict[str, float]:
    """When a pod's sandbox and its program started, in perf_counter's time; tools/node only.

    To the hundredth of a second: what the kernel notes.
    """
    found: dict[str, float] = {}
    for pid, program in processes_of(uid):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(stat[19]) / _TICKS
        name = "sandbox" if program == "/pause" else "container"
        at = time.perf_counter() - age
        found[name] = min(at, found.get(name, at))
    return found
