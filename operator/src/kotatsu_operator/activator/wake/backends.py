"""The pods of one pool: which of them answer, and a connection to the one with the least to do."""

import asyncio
import errno
import logging
from collections.abc import Mapping

from kotatsu_operator.activator.cache.namespace import View
from kotatsu_operator.activator.cache.ports import Port, successor
from kotatsu_operator.activator.proxy.upstream import Upstream
from kotatsu_operator.activator.wake.probe import is_ready
from kotatsu_operator.kube.pod import PodView

log = logging.getLogger(__name__)

CONNECT_TIMEOUT = 1.0

AVOID_FOR = 5.0
"""Seconds for which a pod that refused is tried only after all others."""

_OUR_OWN = (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM)
"""Why a connection fails without the pod's doing: this process or its node has no more to give."""


class Backends:
    """The pods of one pool as an activator knows them."""

    def __init__(self, name: str, view: View) -> None:
        self._name, self._view = name, view
        self._ready: dict[str, PodView] = {}
        """Pods known to answer, by uid."""
        self.staying_pods: frozenset[str] = frozenset()
        """Pods that run and are not on their way out, by uid."""
        self._refused: dict[str, float] = {}
        """When a pod last refused a connection, by uid."""
        self._portless: set[str] = set()
        """Pods that lack the port the Service names, by uid: said once."""

    @property
    def any_ready(self) -> bool:
        """Whether a pod is known to answer."""
        return bool(self._ready)

    def refresh(self) -> None:
        """Follow what the view has learned of the pods."""
        staying = {pod.uid: pod for pod in self.staying()}
        self.staying_pods = frozenset(staying)
        for uid, known in list(self._ready.items()):
            # Gone, or the kubelet has taken its word back: it is probed again.
            if uid not in staying or (known.ready and not staying[uid].ready):
                del self._ready[uid]
        self._ready |= {uid: pod for uid, pod in staying.items() if pod.ready}
        self._refused = {uid: at for uid, at in self._refused.items() if uid in staying}
        self._portless &= staying.keys()

    def staying(self) -> list[PodView]:
        """The pods that run and stay, whether they answer yet or not."""
        pool = self._view.pools.get(self._name)
        return [] if pool is None else self._view.backends(pool)

    async def probe(self, pod: PodView) -> bool:
        """Ask a starting pod whether it is ready, oftener than the kubelet does."""
        target = next((port.target for port in self._ports()), None)
        ready = await is_ready(pod, pod.port(target) if target is not None else None)
        if ready and any(pod.uid == staying.uid for staying in self.staying()):
            self._ready[pod.uid] = pod
        return ready

    def choose(self, load: Mapping[str, int]) -> PodView | None:
        """The ready pod with the fewest connections; None when there is none (any more).

        `load` has the connections of each pod by its uid. A pod that has just refused comes last,
        whatever the kubelet says of it.
        """
        if not self._ready:
            return None
        now = asyncio.get_running_loop().time()
        avoid = {uid: max(0.0, at + AVOID_FOR - now) for uid, at in self._refused.items()}
        best = min(self._ready, key=lambda uid: (avoid.get(uid, 0.0), load.get(uid, 0)))
        return self._ready[best]

    async def dial(self, pod: PodView, service_port: Port, upstream: Upstream) -> bool:
        """Connect to a pod's port behind a port of the Service; whether it accepted.

        The Service may have been edited since the client came: a port that it has no more leads
        where it led then.
        """
        target = (successor(service_port, self._ports()) or service_port).target
        port = pod.port(target)
        if port is None:
            if pod.uid not in self._portless:
                log.warning("%s: pod %s has no port %s", self._name, pod.key[1], target)
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
        """A pod that refused is probed again, unless the kubelet still calls it Ready."""
        self._refused[pod.uid] = asyncio.get_running_loop().time()
        current = self._view.pods.get(pod.key[1])
        if current is None or not current.ready or current.terminating:
            self._ready.pop(pod.uid, None)

    def _ports(self) -> list[Port]:
        """The ports of the pool's Service."""
        pool = self._view.pools.get(self._name)
        return [] if pool is None else self._view.ports(pool.service)
