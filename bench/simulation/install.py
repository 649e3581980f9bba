"""One install for many namespaces: its operator, its two activators, and all pools of the cluster.

The operator and the activators are processes. Pods are pretended (see kubelet.py): those of apps
share one server, and each activator has an address of its own on this machine.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lightkube import ApiError, AsyncClient, KubeConfig
from lightkube.resources.core_v1 import Namespace
from lightkube.types import PatchType

from kotatsu_node.cluster.control_plane import (
    ADMINISTRATORS,
    ControlPlane,
    control_plane,
    free_ports,
)
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import Layout
from kotatsu_operator.core.protocol import (
    ACTIVATOR_LABELS,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    SERVICE_LABEL,
    SHARD_LABEL,
    shared_set,
)
from kotatsu_operator.core.report.record import parts_of
from kotatsu_operator.kube.client import EVERYWHERE
from kotatsu_operator.kube.objects import (
    ConfigMap,
    Deployment,
    EndpointSlice,
    Pod,
    Service,
    WarmPool,
)
from kotatsu_operator.runtime import garbage
from simulation.kubelet import Kubelet, pod_status, serve_metrics
from simulation.measure import Request, count, cpu_seconds, read_audit
from simulation.run import deployment, operator, service, warm_pool

HOW = "a real API server, pretended pods, one operator and two activators as processes"
HOME = "kotatsu-system"
IDLE = {"idleAfter": "5s"}
TIERS = ("web", "api", "db")
"""The label `tier` of the first Deployments of a namespace; the others have `other`."""
SELECTED = {"warm": "yes"}
"""The label of the namespaces that the install serves."""
CRDS = Path(__file__).parents[2] / "charts/kotatsu/crds"
USERS = dict.fromkeys(("operator", "activator", "editor", "kubelet"), ADMINISTRATORS)
# Of the range for benchmarks (RFC 2544): a slice may name no loopback address.
ADDRESSES = tuple(f"198.18.0.{n}" for n in range(1, 8))
PODS, *ACTIVATORS = ADDRESSES
PORT = 8080
"""Of an activator's pages."""
AT_ONCE = 64
"""Objects that are made at the same time."""
PATIENCE = 1200.0
"""Seconds for whatever concerns all pools."""

Endpoint = tuple[str, int]


@contextlib.contextmanager
def addresses() -> Iterator[None]:
    """The addresses of the pods, on this machine for the block. Raises NodeError."""
    if os.geteuid() != 0:
        raise NodeError("only root can give this machine the addresses that slices need")
    command = ["ip", "address"]
    for address in ADDRESSES:
        subprocess.run([*command, "replace", f"{address}/32", "dev", "lo"], check=True)
    try:
        yield
    finally:
        for address in ADDRESSES:
            subprocess.run([*command, "delete", f"{address}/32", "dev", "lo"], check=True)


@dataclass(frozen=True)
class Pool:
    """A pool, with the Deployment and the Service of its name."""

    namespace: str
    name: str


def pools_of(namespace: str, each: int) -> list[Pool]:
    """The pools of a namespace; no two of the cluster have the same name."""
    return [Pool(namespace, f"{namespace}-{n:02d}") for n in range(each)]


@dataclass
class Activator:
    """An activator's process and its pod."""

    name: str
    address: str
    process: subprocess.Popen[bytes]


@dataclass
class Stretch:
    """What a stretch of time has cost, in seconds of CPU by process, and in calls by user."""

    began: datetime
    ended: datetime
    cpu: dict[str, float] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """How long it was."""
        return (self.ended - self.began).total_seconds()

    def calls(self, *users: str) -> dict[str, int]:
        """How many calls of these users began meanwhile, by verb and resource; not AT_REST."""
        found: dict[str, int] = {}
        for user in users:
            found |= {
                f"{user} {what}": n
                for what, n in count(self.requests, user, self.began, self.ended).items()
            }
        return found


class Install:
    """A control plane with the install; `namespaces` of `each` pools, none selected at first."""

    def __init__(
        self,
        plane: ControlPlane,
        clients: Mapping[str, Any],
        kubelet: Kubelet,
        namespaces: int,
        each: int,
        starts: int,
    ) -> None:
        self.plane, self.client, self.kubelet, self.each = plane, clients["editor"], kubelet, each
        self.by_hand = True
        """Whether there are pools from the beginning."""
        self._maker = clients["maker"]
        self.namespaces = [f"team-{n:04d}" for n in range(namespaces)]
        self.pools = [pool for name in self.namespaces for pool in pools_of(name, each)]
        self.started = {*self.pools[:starts], *self.pools[-starts:]}
        self.operator_pid = 0
        self.activators: list[Activator] = []
        self._free = list(ACTIVATORS)
        self._made = 0

    async def make(self, port: int) -> None:
        """The CRDs, the record, the namespaces and all that is in them."""
        kubectl = [str(self.plane.kubectl), f"--kubeconfig={self.plane.admin}"]
        for verb in (["apply", "--server-side"], ["wait", "--for=condition=Established"]):
            command = [*kubectl, *verb, "-f", str(CRDS)]
            await asyncio.to_thread(subprocess.run, command, check=True, stdout=subprocess.DEVNULL)
        make = self._maker.create
        for name in (HOME, *self.namespaces):
            await make(Namespace.from_dict({"metadata": {"name": name}}))
        for part in parts_of(HOME):
            record = {"metadata": {"name": part.name, "namespace": HOME}}
            await make(ConfigMap(record), namespace=HOME)

        async def one(pool: Pool) -> None:
            namespace, name = pool.namespace, pool.name
            warm = warm_pool(name, namespace)
            warm["spec"] |= IDLE
            app = deployment(name, port, namespace)
            app["metadata"]["labels"] = {"tier": (*TIERS, "other")[min(int(name[-2:]), len(TIERS))]}
            # Without a ReplicaSet, of which the others have no use.
            app["spec"]["paused"] = pool not in self.started
            for kind, obj in (
                (Deployment, app),
                (Service, service(name, namespace)),
                (WarmPool, warm),
            ):
                if kind is not WarmPool or self.by_hand:
                    await make(kind(obj), namespace=namespace)

        await each_of(self.pools, one)

    # --- its processes ---

    async def start_activator(self) -> Activator:
        """Start one more activator; waits until it is Ready, and its pod."""
        address, self._made = self._free.pop(0), self._made + 1
        name = f"kotatsu-activator-{self._made}"
        container = {
            "name": "activator",
            "image": "none",
            "ports": [{"name": "metrics", "containerPort": PORT}],
        }
        labels = {**ACTIVATOR_LABELS, SHARD_LABEL: "0"}
        pod = {
            "metadata": {"name": name, "namespace": HOME, "labels": labels},
            "spec": {"nodeName": "nowhere", "containers": [container]},
        }
        made = await self.client.create(Pod(pod), namespace=HOME)
        await self._say(name, pod_status(address, ready=False))
        environment = os.environ | {
            "KUBECONFIG": str(self.plane.users["activator"]),
            "KOTATSU_NAMESPACE": HOME,
            "KOTATSU_ACTIVATORS": shared_set(HOME, 0),
            "KOTATSU_POD_NAME": name,
            "KOTATSU_POD_UID": made["metadata"]["uid"],
            "KOTATSU_POD_IPS": address,
            "KOTATSU_NODE_NAME": "nowhere",
            "KOTATSU_HOST": address,
            "KOTATSU_PORT": str(PORT),
            "KOTATSU_MEMORY": str(2**30),
            "KOTATSU_LOG_LEVEL": "error",
        }
        activator = Activator(name, address, _run("kotatsu-activator", environment))
        self.activators.append(activator)
        await until(f"{name} is Ready", lambda: self._is_ready(activator))
        await self._say(name, pod_status(address))
        return activator

    async def end_activator(self, activator: Activator) -> None:
        """Delete the pod of an activator, which then ends by itself."""
        await self.client.delete(Pod, activator.name, namespace=HOME)
        activator.process.terminate()
        await asyncio.to_thread(activator.process.wait, PATIENCE)
        await self.client.delete(Pod, activator.name, namespace=HOME, grace_period=0)
        self.activators.remove(activator)
        self._free.append(activator.address)

    async def _is_ready(self, activator: Activator) -> bool:
        if activator.process.poll() is not None:
            raise RuntimeError(f"{activator.name} has ended; what it said is above")
        with contextlib.suppress(OSError):
            url = f"http://{activator.address}:{PORT}/readyz"
            page = await asyncio.to_thread(urllib.request.urlopen, url, timeout=60)
            return bool(page.status == 200)
        return False

    async def _say(self, name: str, status: dict[str, Any]) -> None:
        patch = {"status": status}
        await self.client.patch(Pod.Status, name, patch, namespace=HOME, patch_type=PatchType.MERGE)

    # --- what is asked of it ---

    async def select(self, namespaces: Iterable[str]) -> None:
        """Put the label on namespaces."""

        async def one(name: str) -> None:
            await self.client.patch(
                Namespace, name, {"metadata": {"labels": SELECTED}}, patch_type=PatchType.MERGE
            )

        await each_of(namespaces, one)

    async def edit(self, pools: Iterable[Pool], spec: dict[str, Any], per_second: float) -> None:
        """Edit pools one after the other, so many a second."""
        turn = time.monotonic()
        for pool in pools:
            await self.client.patch(
                WarmPool,
                pool.name,
                {"spec": spec},
                namespace=pool.namespace,
                patch_type=PatchType.MERGE,
            )
            turn += 1 / per_second
            await asyncio.sleep(turn - time.monotonic())

    async def statuses(self, pools: Iterable[Pool]) -> dict[str, dict[str, Any]]:
        """The status of each of some pools."""
        wanted = {pool.name for pool in pools}
        found = {}
        for namespace in sorted({pool.namespace for pool in pools}):
            async for obj in self.client.list(WarmPool, namespace=namespace):
                if obj["metadata"]["name"] in wanted:
                    found[obj["metadata"]["name"]] = obj.get("status") or {}
        return found

    async def are(self, phase: str, pools: Iterable[Pool]) -> bool:
        """Whether all of some pools are in a phase."""
        statuses = await self.statuses(list(pools))
        return all(status.get("phase") == phase for status in statuses.values())

    async def all_asleep(self) -> None:
        """Wait until all pools sleep, with an endpoint of each activator.

        A namespace after the other: a list of everything is work for the API server.
        """
        for namespace in self.namespaces:
            pools = pools_of(namespace, self.each)

            async def is_so_far(namespace: str = namespace, pools: list[Pool] = pools) -> bool:
                there = await self.slices(namespace)
                return there == 2 * self.each and await self.are("Asleep", pools)

            await until(f"{namespace} sleeps", is_so_far, every=0.5)

    async def slices(self, namespace: str) -> int:
        """How many slices of activators a namespace has."""
        ours = {MANAGED_BY_LABEL: MANAGED_BY}
        listed = self.client.list(EndpointSlice, namespace=namespace, labels=ours)
        return len([1 async for _ in listed])

    async def endpoints(self, pool: Pool) -> list[Endpoint]:
        """Where a client of the pool's Service may be sent: as kube-proxy has it."""
        labels = {SERVICE_LABEL: pool.name}
        ready, ending = list[Endpoint](), list[Endpoint]()
        async for obj in self.client.list(EndpointSlice, namespace=pool.namespace, labels=labels):
            for endpoint in obj.get("endpoints") or ():
                at = (endpoint["addresses"][0], obj["ports"][0]["port"])
                conditions = endpoint.get("conditions") or {}
                if conditions.get("ready", True):
                    ready.append(at)
                elif conditions.get("serving") and conditions.get("terminating"):
                    ending.append(at)
        return ready or ending

    @property
    def processes(self) -> dict[str, int]:
        """The process of each part by its name."""
        parts = {**self.plane.pids, "operator": self.operator_pid}
        return parts | {a.name: a.process.pid for a in self.activators}

    async def at_rest(self) -> None:
        """Wait until operator and activators use less than a tenth of a core for a second."""
        ours = [self.operator_pid, *(activator.process.pid for activator in self.activators)]

        async def is_so() -> bool:
            before = sum(map(cpu_seconds, ours))
            await asyncio.sleep(1)
            return sum(map(cpu_seconds, ours)) - before < 0.1

        await until("operator and activators are at rest", is_so)

    @contextlib.contextmanager
    def stretch(self) -> Iterator[Stretch]:
        """Measure what passes meanwhile."""
        now = datetime.now(UTC)
        log, found = self.plane.audit_log, Stretch(now, now)
        start, before = log.stat().st_size, {n: cpu_seconds(p) for n, p in self.processes.items()}
        yield found
        found.ended = datetime.now(UTC)
        found.cpu = {n: cpu_seconds(p) - before.get(n, 0) for n, p in self.processes.items()}
        found.requests = read_audit(log, start)


def _run(program: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start one of the install's programs; it ends with this process."""
    command = ["setpriv", "--pdeathsig", "KILL", str(Path(sys.executable).with_name(program))]
    return subprocess.Popen(command, env=environment, stdout=sys.stderr)


async def each_of(things: Iterable[Any], work: Callable[[Any], Awaitable[None]]) -> None:
    """Do something for each of many things, AT_ONCE at a time."""
    rest = iter(things)

    async def worker() -> None:
        for thing in rest:
            await work(thing)

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


async def until(
    what: str, holds: Callable[[], Awaitable[bool]], within: float = PATIENCE, every: float = 0.1
) -> float:
    """Wait until something holds; the seconds that took. Raises TimeoutError, which names it."""
    began = time.monotonic()
    while not await holds():
        if time.monotonic() > began + within:
            raise TimeoutError(f"not after {within:.0f} s: {what}")
        await asyncio.sleep(every)
    return time.monotonic() - began


@contextlib.asynccontextmanager
async def installed(
    namespaces: int,
    each: int,
    starts: int,
    per_second: float,
    say: Callable[[str], None],
    *,
    by_hand: bool = True,
) -> AsyncIterator[Install]:
    """The control plane, all namespaces with their pools, the operator and two activators.

    The first and the last `starts` pools can have pods. Unless they are made `by_hand`, there are
    no pools, and the operator acts on WarmPoolSets.
    """
    garbage.short_pauses()  # the requests that are timed are sent from here
    controllers = ("endpointslice-controller",)
    with (
        addresses(),
        control_plane(Layout.from_environment(), USERS, controllers=controllers) as plane,
    ):
        files = {**plane.users, "maker": plane.admin}
        clients = {user: AsyncClient(KubeConfig.from_file(f)) for user, f in files.items()}
        server, port = await serve_metrics(PODS)
        kubelet = Kubelet(clients["kubelet"], EVERYWHERE, per_second, 3, PODS)
        running = asyncio.create_task(kubelet.run())
        install = Install(plane, clients, kubelet, namespaces, each, starts)
        install.by_hand = by_hand
        try:
            began = time.monotonic()
            say(f"making {len(install.pools):,} pools in {namespaces:,} namespaces")
            await install.make(port)
            say(f"made in {time.monotonic() - began:.0f} s")
            log = plane.audit_log.with_name("operator.log")
            scope = {
                "KOTATSU_NAMESPACE_SELECTOR": '{"matchLabels": {"warm": "yes"}}',
                "KOTATSU_POD_NAMESPACE": HOME,
                "KOTATSU_SETS": str(not by_hand).lower(),
            }
            [told_at] = free_ports(1)
            with operator(plane, told_at, per_second, log, scope) as process:
                install.operator_pid = process.pid
                for _ in range(2):
                    await install.start_activator()
                yield install
                if output := log.read_text():
                    say(f"the operator said: {output[-3000:]}")
        finally:
            for activator in install.activators:
                activator.process.kill()
                activator.process.wait()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            server.close()
            for client in clients.values():
                with contextlib.suppress(ApiError):
                    await client.close()
