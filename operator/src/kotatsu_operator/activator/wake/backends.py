"""The pods of one pool: which of them answer, and connections to the least loaded one."""

import asyncio
import errno
import logging
from collections.abc import Mapping

from kotatsu_operator.activator.cache.ports import Port, successor
from kotatsu_operator.activator.context import Context
from kotatsu_operator.activator.proxy.upstream import Upstream
from kotatsu_operator.activator.wake.probe import is_ready
from kotatsu_operator.kube.pod import PodView

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
        """Uids of the pods that run and are not terminating."""
        self._refused: dict[str, float] = {}
        """When a pod last refused a connection, by uid, in loop time."""
        self._portless: set[str] = set()
        """Uids of pods without the Service's target port: logged once each."""

    @property
    def any_ready(self) -> bool:
        return bool(self._ready)

    def refresh(self) -> None:
        staying = {pod.uid: pod for pod in self.staying()}
        self.staying_pods = frozenset(staying)
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

    async def probe(self, pod: PodView) -> bool:
        """Probe a starting pod, more often than the kubelet does; returns whether it is ready."""
        target = next((port.target for port in self._ports()), None)
        ready = await is_ready(pod, pod.port(target) if target is not None else None)
        if ready and any(pod.uid == staying.uid for staying in self.staying()):
            self._ready[pod.uid] = pod
        return ready

    def choose(self, load: Mapping[str, int]) -> PodView | None:
        """The ready pod with the fewest connections (`load`, by uid); None without a ready pod.

        A pod that has just refused a connection comes last, even if the kubelet reports it Ready.
        """
        if not self._ready:
            return None
        now = asyncio.get_running_loop().time()
        avoid = {uid: max(0.0, at + AVOID_FOR - now) for uid, at in self._refused.items()}
        best = min(self._ready, key=lambda uid: (avoid.get(uid, 0.0), load.get(uid, 0)))
        return self._ready[best]

    async def dial(self, pod: PodView, service_port: Port, upstream: Upstream) -> bool:
        """Connect to the pod's port behind a port of the Service; returns whether it accepted.

        The Service may have been edited since: a removed port leads to its former target port.
        """
        target = (successor(service_port, self._ports()) or service_port).target
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
