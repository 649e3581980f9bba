"""The pods of one pool: which of them answer, and connections to the least loaded one.

The activator runs a starting pod's own probes: the kubelet's period is at least a second.
"""

import asyncio
import errno
import logging
from collections.abc import Mapping
from typing import Any

from kotatsu_operator.activator.feature import Context
from kotatsu_operator.activator.pool import Port, successors
from kotatsu_operator.activator.splice import Upstream
from kotatsu_operator.core.objects import port_number
from kotatsu_operator.kube.views import ContainerView, PodView

TIMEOUT = 1.0
_OK = (b"HTTP/1.1 2", b"HTTP/1.0 2", b"HTTP/1.1 3", b"HTTP/1.0 3")


async def is_ready(pod: PodView, service_port: int | None) -> bool:
    """Whether the pod is ready by the kubelet's rules, only detected sooner.

    If no container has a readiness probe, the port of the Service must accept connections too,
    because Kubernetes sends traffic to such a pod from its start.
    """
    if pod.ready:
        return True
    if not pod.gates_open:
        return False
    for container in pod.containers:  # one by one: a pod may have a hundred
        if not await _is_container_ready(pod.ip, container):
            return False
    if any(c.readiness is not None for c in pod.containers):
        return True
    return service_port is not None and await _answers(pod.ip, service_port)


async def _is_container_ready(ip: str, container: ContainerView) -> bool:
    """The kubelet's result, or else the container's own probes, the startup probe first."""
    if container.ready:
        return True
    if not container.running:
        return False
    if not container.started and not await _passes(ip, container, container.startup):
        return False
    return container.readiness is None or await _passes(ip, container, container.readiness)


async def _passes(ip: str, container: ContainerView, probe: Mapping[str, Any] | None) -> bool:
    """Whether a probe passes; False for probes that only the kubelet can run.

    These are exec, gRPC, HTTPS, a host other than the pod, and a successThreshold above 1, which
    needs answers over time. initialDelaySeconds is ignored: the answer itself decides.
    """
    if probe is None or probe.get("successThreshold", 1) > 1:
        return False
    http = probe.get("httpGet")
    asked = http or probe.get("tcpSocket")
    if not asked or (asked.get("host") or ip) != ip or asked.get("scheme", "HTTP") != "HTTP":
        return False
    port = port_number(container.ports, asked["port"])
    return port is not None and await _answers(ip, port, _request(ip, http) if http else b"")


def _request(ip: str, http: Mapping[str, Any]) -> bytes:
    """The request of an HTTP probe."""
    headers = {"Host": ip, "User-Agent": "kotatsu-activator"}
    headers |= {h["name"].title(): h["value"] for h in http.get("httpHeaders") or ()}
    lines = [f"{name}: {value}" for name, value in (headers | {"Connection": "close"}).items()]
    request = "\r\n".join([f"GET {http.get('path', '/')} HTTP/1.1", *lines, "", ""])
    return request.encode("latin-1", "replace")


async def _answers(ip: str, port: int, request: bytes = b"") -> bool:
    """Whether a port accepts a connection, and answers a request with a status of 200 to 399."""
    writer = None
    try:
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_connection(ip, port)
            writer.write(request)
            return not request or (await reader.readline()).startswith(_OK)
    except (OSError, TimeoutError, ValueError):
        return False
    finally:
        if writer is not None:
            writer.close()


log = logging.getLogger(__name__)

CONNECT_TIMEOUT = 1.0

AVOID_FOR = 5.0
"""Seconds for which a pod that refused a connection is chosen only after all others."""

_OUR_OWN = (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM)
"""Causes of a failed connect that are not the pod's: this process or node is out of resources."""


class Backends:
    """The pods of one pool."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._ready: dict[str, PodView] = {}
        """Pods that answer, by uid."""
        self.staying_pods: frozenset[str] = frozenset()
        """Uids of the pods that run, are not terminating and are not marked."""
        self.marked: Mapping[str, str] = {}
        """Names of the pods that go with the next step down, by uid."""
        self._refused: dict[str, float] = {}
        """When a pod last refused a connection, by uid, in loop time."""
        self._portless: set[str] = set()
        """Uids of pods without the Service's target port: logged once each."""

    @property
    def any_ready(self) -> bool:
        return bool(self._ready)

    def refresh(self) -> None:
        staying = {pod.uid: pod for pod in self.staying()}
        self.marked = {pod.uid: pod.key[1] for pod in self._pods() if pod.is_marked}
        self.staying_pods = frozenset(staying.keys() - self.marked.keys())
        for uid, known in list(self._ready.items()):
            # Gone, or no longer Ready for the kubelet: probe it again.
            if uid not in staying or (known.ready and not staying[uid].ready):
                del self._ready[uid]
        self._ready |= {uid: pod for uid, pod in staying.items() if pod.ready}
        self._refused = {uid: at for uid, at in self._refused.items() if uid in staying}
        self._portless &= staying.keys()

    def staying(self) -> list[PodView]:
        """The running, non-terminating pods, whether they answer yet or not."""
        pool = self._context.pool
        return [] if pool is None else self._context.view.backends(pool)

    def _pods(self) -> list[PodView]:
        pool = self._context.pool
        return [] if pool is None else self._context.view.pods_of(pool)

    async def probe(self, pod: PodView) -> bool:
        """Probe a starting pod, more often than the kubelet does; returns whether it is ready."""
        target = next((port.target for port in self._ports()), None)
        ready = await is_ready(pod, pod.port(target) if target is not None else None)
        if ready and any(pod.uid == staying.uid for staying in self.staying()):
            self._ready[pod.uid] = pod
        return ready

    def choose(self, load: Mapping[str, int]) -> PodView | None:
        """The ready pod with the fewest connections (`load`, by uid); None without a ready pod.

        A pod that has just refused a connection comes last, even if the kubelet reports it Ready,
        and a marked one before those.
        """
        if not self._ready:
            return None
        now = asyncio.get_running_loop().time()
        avoid = {uid: max(0.0, at + AVOID_FOR - now) for uid, at in self._refused.items()}
        marked = self.marked
        best = min(
            self._ready,
            key=lambda uid: (avoid.get(uid, 0.0), uid in marked, load.get(uid, 0)),
        )
        return self._ready[best]

    async def dial(self, pod: PodView, service_port: Port, upstream: Upstream) -> bool:
        """Connect to the pod's port behind a port of the Service; returns whether it accepted.

        The Service may have been edited since: a removed port leads to its former target port.
        """
        ports = successors([service_port], self._ports())
        target = ports.get(service_port, service_port).target
        port = pod.port(target)
        if port is None:
            if pod.uid not in self._portless:
                log.warning("%s: pod %s has no port %s", self._context.name, pod.key[1], target)
            self._portless.add(pod.uid)
            return False
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                loop = asyncio.get_running_loop()
                await loop.create_connection(lambda: upstream, pod.ip, port)
        except (OSError, TimeoutError) as error:
            if error.errno not in _OUR_OWN:
                self._distrust(pod)
            return False
        self._refused.pop(pod.uid, None)
        return True

    def _distrust(self, pod: PodView) -> None:
        """After a refused connection, probe the pod again unless the kubelet reports it Ready."""
        self._refused[pod.uid] = asyncio.get_running_loop().time()
        current = self._context.view.pods.get(pod.key[1])
        if current is None or not current.ready or current.terminating:
            self._ready.pop(pod.uid, None)

    def _ports(self) -> list[Port]:
        pool = self._context.pool
        return [] if pool is None else self._context.view.ports(pool.service)
