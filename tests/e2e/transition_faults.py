"""The faults: what breaks, what mends it, what goes with it, and how soon all is well again."""

import asyncio
import contextlib
import json
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
from e2e.fault_pools import FaultPools
from e2e.kit import APP_IMAGE, Object, eventually, is_ending, kill_containers
from e2e.operators import killed
from e2e.pools_of_namespace import is_ours, is_ready, owner, serves

from kotatsu_node import Node
from kotatsu_operator.kube.objects import key_of


@dataclass(frozen=True)
class Fault:
    """A fault. Within `breaks` it is broken, afterwards mended."""

    name: str
    breaks: Callable[[FaultPools, random.Random], AbstractAsyncContextManager[None]]
    lasts: tuple[float, float] = (0.0, 3.0)
    """Seconds, at least and at most."""
    kills: bool = False
    """Whether requests go with what is killed, until it is back."""
    hangs: bool = False
    """Whether those that it has go only in the end: they count by when they began."""
    alone: bool = False
    """Whether others on the same node would feel it."""
    within: float = 120.0
    """Seconds after which every pool must be what its spec says."""
    long: bool = False
    """Whether only `make soak` has the time for it, which repeats it at random moments. At one
    moment, tests/apiserver/test_faults.py has those that need no container."""


def the_node(fault_pools: FaultPools) -> Node:
    """The throwaway node."""
    assert fault_pools.node is not None
    return fault_pools.node


async def answering(node: Node) -> None:
    """Wait until the API server answers."""
    await eventually("API", lambda: not node.status().checks["api"], within=60)


# --- what is ours ---


@asynccontextmanager
async def operator_killed(fault_pools: FaultPools, _: random.Random) -> AsyncIterator[None]:
    await killed(fault_pools.operator)
    yield
    await fault_pools.operate()


@asynccontextmanager
async def two_operators(fault_pools: FaultPools, chance: random.Random) -> AsyncIterator[None]:
    """Each holds a Lease of its own, so both lead; either may be the one that stays."""
    other = await fault_pools.operators.start(
        KOTATSU_E2E_CLOCK=str(fault_pools.clock), KOTATSU_POD_NAMESPACE=fault_pools.leases
    )
    yield
    if chance.random() < 0.5:
        await killed(other)
    else:
        await killed(fault_pools.operator)
        await killed(other)
        await fault_pools.operate()


@asynccontextmanager
async def clock_jumps(fault_pools: FaultPools, chance: random.Random) -> AsyncIterator[None]:
    for hours in chance.sample((1, -1), 2):
        fault_pools.put_clock(3600 * hours)
        await asyncio.sleep(chance.uniform(0.5, 3))
    yield
    fault_pools.put_clock(0)


@asynccontextmanager
async def activator_killed(fault_pools: FaultPools, chance: random.Random) -> AsyncIterator[None]:
    pod = chance.choice(fault_pools.activators())
    before = restarts(pod)
    assert kill_containers(pod)
    yield
    name = pod["metadata"]["name"]

    def is_back() -> bool:
        now = fault_pools.watcher.objects["Pod"].get(name)
        return now is not None and has_started_again(now, before)

    await fault_pools.watcher.sees("the activator again", is_back, 60)
    fault_pools.recovered = datetime.now(UTC)
    await put_another_in_its_place(fault_pools, name)


@asynccontextmanager
async def activator_lost(fault_pools: FaultPools, chance: random.Random) -> AsyncIterator[None]:
    """It stands still, and then goes on or dies; or it crashes as often as it starts.

    Its Pod object stays. From when its endpoints are not ready any more, nothing may go there.
    """
    number = chance.choice((signal.SIGSTOP, signal.SIGKILL))
    ends = chance.choice((signal.SIGCONT, signal.SIGKILL))
    pod = chance.choice(fault_pools.activators())
    name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
    assert kill_containers(pod, number)

    async def insist() -> None:
        while True:
            await asyncio.sleep(0.3)
            kill_containers(pod, number)

    def is_back() -> bool:
        return is_ready(fault_pools.watcher.objects["Pod"][name])

    def is_taken_back() -> bool:
        slices = fault_pools.watcher.objects["EndpointSlice"].values()
        return not is_back() and not any(
            is_ours(s) and owner(s) == uid and serves(s) for s in slices
        )

    insisting = asyncio.create_task(insist())
    try:
        await fault_pools.watcher.sees("its endpoints taken back", is_taken_back, 30)
        fault_pools.recovered = datetime.now(UTC)
        yield
    finally:
        insisting.cancel()
        await asyncio.gather(insisting, return_exceptions=True)
        kill_containers(pod, ends if number == signal.SIGSTOP else signal.SIGCONT)
    await fault_pools.watcher.sees("the activator again", is_back, 90)
    if restarts(fault_pools.watcher.objects["Pod"][name]) > restarts(pod):
        await put_another_in_its_place(fault_pools, name)


async def put_another_in_its_place(fault_pools: FaultPools, activator: str) -> None:
    """Replace an activator that was killed: Kubernetes would let it wait after the next kill."""
    await asyncio.to_thread(fault_pools.kubectl, "delete", "pod", activator, "--wait=false")
    await fault_pools.watcher.sees("two activators", lambda: len(fault_pools.activators()) == 2, 60)


@asynccontextmanager
async def pods_killed(fault_pools: FaultPools, chance: random.Random) -> AsyncIterator[None]:
    """Those of one pool, or of the first that has any."""
    for app in chance.sample(fault_pools.apps, 3):
        pods = fault_pools.watcher.pods(app.name)
        before = {key_of(pod): restarts(pod) for pod in pods if kill_containers(pod)}
        if before:
            break
    yield

    def are_back() -> bool:
        return all(
            has_started_again(pod, before.get(key_of(pod), -1))
            for pod in fault_pools.watcher.pods(app.name)
            if not is_ending(pod)
        )

    await fault_pools.watcher.sees("the pods again", are_back, 60)
    fault_pools.recovered = datetime.now(UTC)


@asynccontextmanager
async def pool_edited(fault_pools: FaultPools, chance: random.Random) -> AsyncIterator[None]:
    async def edit() -> None:
        for number in range(10**6):
            for app in fault_pools.apps:
                await fault_pools.edit(app, {"maxReplicas": 3 + number % 2})
            await asyncio.sleep(0.1)

    editing = asyncio.create_task(edit())
    yield
    editing.cancel()
    await asyncio.gather(editing, return_exceptions=True)


# --- what belongs to the app ---


@asynccontextmanager
async def never_ready(fault_pools: FaultPools, _: random.Random) -> AsyncIterator[None]:
    for app in fault_pools.apps:
        await fault_pools.edit_target(app, {"readinessProbe": {"httpGet": {"path": "/never"}}})
    yield
    for app in fault_pools.apps:
        await fault_pools.edit_target(app, {"readinessProbe": {"httpGet": {"path": "/readyz"}}})


@asynccontextmanager
async def no_image(fault_pools: FaultPools, _: random.Random) -> AsyncIterator[None]:
    for app in fault_pools.apps:
        await fault_pools.edit_target(app, {"image": "localhost/no-such-image:1"})
    yield
    for app in fault_pools.apps:
        await fault_pools.edit_target(app, {"image": APP_IMAGE})


@asynccontextmanager
async def metrics_bad(fault_pools: FaultPools, chance: random.Random) -> AsyncIterator[None]:
    """Of the pods that run by now, each in its way."""
    async with httpx.AsyncClient(timeout=5, trust_env=False) as http:

        async def turn(how: str = "") -> None:
            for app in fault_pools.apps:
                for pod in filter(is_ready, fault_pools.watcher.pods(app.name)):
                    wanted = how or chance.choice(("hanging", "huge", "lying"))
                    with contextlib.suppress(httpx.TransportError):  # it may be going
                        await http.post(f"http://{pod['status']['podIP']}:8080/metrics/{wanted}")

        await turn()
        yield
        await turn("well")


# --- what belongs to Kubernetes ---


@asynccontextmanager
async def kubelet_killed(fault_pools: FaultPools, _: random.Random) -> AsyncIterator[None]:
    await asyncio.to_thread(the_node(fault_pools).kill, "kubelet")
    yield
    await asyncio.to_thread(the_node(fault_pools).start, "kubelet")


@asynccontextmanager
async def api_away(fault_pools: FaultPools, _: random.Random) -> AsyncIterator[None]:
    # A crash: one that ends in order takes its address out of Service `kubernetes`, and kube-proxy
    # may be half a minute late to hear of its return.
    await asyncio.to_thread(the_node(fault_pools).kill, "kube-apiserver")
    yield
    await asyncio.to_thread(the_node(fault_pools).start, "kube-apiserver")
    await answering(the_node(fault_pools))


@asynccontextmanager
async def etcd_restarted(fault_pools: FaultPools, _: random.Random) -> AsyncIterator[None]:
    await asyncio.to_thread(the_node(fault_pools).stop, "etcd")
    yield
    await asyncio.to_thread(the_node(fault_pools).start, "etcd")
    await answering(the_node(fault_pools))


@asynccontextmanager
async def dns_gone(fault_pools: FaultPools, _: random.Random) -> AsyncIterator[None]:
    coredns = ("-n", "kube-system", "scale", "deployment/coredns")
    await asyncio.to_thread(fault_pools.kubectl, *coredns, "--replicas=0")
    yield
    await asyncio.to_thread(fault_pools.kubectl, *coredns, "--replicas=1")
    await asyncio.to_thread(
        fault_pools.kubectl, "-n", "kube-system", "rollout", "status", "deployment/coredns"
    )


@asynccontextmanager
async def disk_pressure(fault_pools: FaultPools, chance: random.Random) -> AsyncIterator[None]:
    """What a kubelet does whose disk is full, done in its place: nobody else's pods are to go.

    The node says DiskPressure (Kubernetes taints it for that), and a pool's pods are evicted: they
    are killed at once and stay behind as Failed.
    """
    node = fault_pools.kubectl.items("nodes")[0]["metadata"]["name"]

    def say(status: str) -> None:
        condition = {"type": "DiskPressure", "status": status, "reason": "Test"}
        patch_status(fault_pools, "node", node, {"conditions": [condition]})

    async def insist() -> None:
        while True:  # the kubelet says every ten seconds what it thinks itself
            await asyncio.to_thread(say, "True")
            await asyncio.sleep(1)

    evicted = []
    saying = asyncio.create_task(insist())
    try:
        await eventually("a taint", lambda: PRESSURE in taints(fault_pools), within=20)
        for app in chance.sample(fault_pools.apps, 3):
            evicted = [p for p in fault_pools.watcher.pods(app.name) if not is_ending(p)]
            if evicted:
                break
        for pod in evicted:
            how = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on storage"}
            patch_status(fault_pools, "pod", pod["metadata"]["name"], how)
            kill_containers(pod)
        yield
    finally:
        saying.cancel()
        await asyncio.gather(saying, return_exceptions=True)
        say("False")
        await eventually("no taint", lambda: PRESSURE not in taints(fault_pools), within=60)
    fault_pools.recovered = datetime.now(UTC)
    for pod in evicted:
        fault_pools.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false", check=False)


PRESSURE = "node.kubernetes.io/disk-pressure"


def taints(fault_pools: FaultPools) -> list[str]:
    """Keys of the node's taints."""
    return [t["key"] for t in fault_pools.kubectl.items("nodes")[0]["spec"].get("taints") or ()]


def patch_status(fault_pools: FaultPools, kind: str, name: str, status: Object) -> None:
    """Patch what only a kubelet writes."""
    patch = json.dumps({"status": status})
    fault_pools.kubectl("patch", kind, name, "--subresource=status", "-p", patch)


def restarts(pod: Object) -> int:
    """How often a pod's containers have been started again."""
    return sum(c["restartCount"] for c in pod["status"].get("containerStatuses") or ())


def has_started_again(pod: Object, before: int) -> bool:
    """Whether a pod is Ready, after more restarts than before.

    One that was killed is Ready by the kubelet's last word, until that has noticed.
    """
    return is_ready(pod) and restarts(pod) > before


FAULTS = [
    Fault("operator killed", operator_killed, long=True),
    Fault("two operators at once", two_operators, lasts=(3, 8)),
    Fault("operator's clock jumps an hour", clock_jumps, long=True),
    Fault("activator killed", activator_killed, kills=True),
    Fault("activator lost", activator_lost, lasts=(3, 10), kills=True, hangs=True),
    Fault("app's pods killed", pods_killed, kills=True),
    Fault("WarmPools edited every 100 ms", pool_edited, lasts=(2, 8), long=True),
    Fault("pods that never get Ready", never_ready, lasts=(2, 8)),
    Fault("an image that does not exist", no_image, lasts=(2, 8)),
    Fault("metrics that hang, lie or never end", metrics_bad, lasts=(1, 6), long=True),
    Fault("kubelet killed", kubelet_killed, lasts=(0, 5), alone=True),
    Fault("etcd restarted", etcd_restarted, lasts=(0, 4), alone=True, within=180),
    Fault("disk pressure", disk_pressure, lasts=(1, 5), kills=True, alone=True),
    Fault("API server away", api_away, lasts=(4, 10), alone=True, within=240, long=True),
    Fault("API server away a minute", api_away, (60, 60), alone=True, within=240, long=True),
    Fault("DNS gone", dns_gone, lasts=(0, 5), alone=True),
]
