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
from e2e.arena import Arena
from e2e.ground import is_ending, is_ours, is_ready, owner, serves
from e2e.kit import APP_IMAGE, Object, eventually, kill_containers
from e2e.operators import killed

from kotatsu_node import Node
from kotatsu_operator.kube.objects import key_of


@dataclass(frozen=True)
class Fault:
    """A fault. Within `breaks` it is broken, afterwards mended."""

    name: str
    breaks: Callable[[Arena, random.Random], AbstractAsyncContextManager[None]]
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
    """Whether only `make soak` has the time for it."""


def the_node(arena: Arena) -> Node:
    """The throwaway node."""
    assert arena.node is not None
    return arena.node


async def answering(node: Node) -> None:
    """Wait until the API server answers."""
    await eventually("API", lambda: not node.status().checks["api"], within=60)


# --- what is ours ---


@asynccontextmanager
async def operator_killed(arena: Arena, _: random.Random) -> AsyncIterator[None]:
    await killed(arena.operator)
    yield
    await arena.operate()


@asynccontextmanager
async def two_operators(arena: Arena, chance: random.Random) -> AsyncIterator[None]:
    """Each holds a Lease of its own, so both lead; either may be the one that stays."""
    other = await arena.operators.start(
        KOTATSU_E2E_CLOCK=str(arena.clock), KOTATSU_E2E_LEASES=arena.leases
    )
    yield
    if chance.random() < 0.5:
        await killed(other)
    else:
        await killed(arena.operator)
        await killed(other)
        await arena.operate()


@asynccontextmanager
async def clock_jumps(arena: Arena, chance: random.Random) -> AsyncIterator[None]:
    for hours in chance.sample((1, -1), 2):
        arena.put_clock(3600 * hours)
        await asyncio.sleep(chance.uniform(0.5, 3))
    yield
    arena.put_clock(0)


@asynccontextmanager
async def activator_killed(arena: Arena, chance: random.Random) -> AsyncIterator[None]:
    pod = chance.choice(arena.activators())
    before = restarts(pod)
    assert kill_containers(pod)
    yield
    name = pod["metadata"]["name"]

    def is_back() -> bool:
        now = arena.witness.objects["Pod"].get(name)
        return now is not None and has_started_again(now, before)

    await arena.witness.sees("the activator again", is_back, 60)
    arena.recovered = datetime.now(UTC)
    await put_another_in_its_place(arena, name)


@asynccontextmanager
async def activator_lost(arena: Arena, chance: random.Random) -> AsyncIterator[None]:
    """It stands still, and then goes on or dies; or it crashes as often as it starts.

    Its Pod object stays. From when its endpoints are not ready any more, nothing may go there.
    """
    number = chance.choice((signal.SIGSTOP, signal.SIGKILL))
    ends = chance.choice((signal.SIGCONT, signal.SIGKILL))
    pod = chance.choice(arena.activators())
    name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
    assert kill_containers(pod, number)

    async def insist() -> None:
        while True:
            await asyncio.sleep(0.3)
            kill_containers(pod, number)

    def is_back() -> bool:
        return is_ready(arena.witness.objects["Pod"][name])

    def is_taken_back() -> bool:
        slices = arena.witness.objects["EndpointSlice"].values()
        return not is_back() and not any(
            is_ours(s) and owner(s) == uid and serves(s) for s in slices
        )

    insisting = asyncio.create_task(insist())
    try:
        await arena.witness.sees("its endpoints taken back", is_taken_back, 30)
        arena.recovered = datetime.now(UTC)
        yield
    finally:
        insisting.cancel()
        await asyncio.gather(insisting, return_exceptions=True)
        kill_containers(pod, ends if number == signal.SIGSTOP else signal.SIGCONT)
    await arena.witness.sees("the activator again", is_back, 90)
    if restarts(arena.witness.objects["Pod"][name]) > restarts(pod):
        await put_another_in_its_place(arena, name)


async def put_another_in_its_place(arena: Arena, activator: str) -> None:
    """Replace an activator that was killed: Kubernetes would let it wait after the next kill."""
    await asyncio.to_thread(arena.kubectl, "delete", "pod", activator, "--wait=false")
    await arena.witness.sees("two activators", lambda: len(arena.activators()) == 2, 60)


@asynccontextmanager
async def pods_killed(arena: Arena, chance: random.Random) -> AsyncIterator[None]:
    """Those of one pool, or of the first that has any."""
    for app in chance.sample(arena.apps, 3):
        pods = arena.witness.pods(app.name)
        before = {key_of(pod): restarts(pod) for pod in pods if kill_containers(pod)}
        if before:
            break
    yield

    def are_back() -> bool:
        return all(
            has_started_again(pod, before.get(key_of(pod), -1))
            for pod in arena.witness.pods(app.name)
            if not is_ending(pod)
        )

    await arena.witness.sees("the pods again", are_back, 60)
    arena.recovered = datetime.now(UTC)


@asynccontextmanager
async def pool_edited(arena: Arena, chance: random.Random) -> AsyncIterator[None]:
    async def edit() -> None:
        for number in range(10**6):
            for app in arena.apps:
                await arena.edit(app, {"scaling": {"maxReplicas": 3 + number % 2}})
            await asyncio.sleep(0.1)

    editing = asyncio.create_task(edit())
    yield
    editing.cancel()
    await asyncio.gather(editing, return_exceptions=True)


# --- what belongs to the app ---


@asynccontextmanager
async def never_ready(arena: Arena, _: random.Random) -> AsyncIterator[None]:
    for app in arena.apps:
        await arena.edit_target(app, {"readinessProbe": {"httpGet": {"path": "/never"}}})
    yield
    for app in arena.apps:
        await arena.edit_target(app, {"readinessProbe": {"httpGet": {"path": "/readyz"}}})


@asynccontextmanager
async def no_image(arena: Arena, _: random.Random) -> AsyncIterator[None]:
    for app in arena.apps:
        await arena.edit_target(app, {"image": "localhost/no-such-image:1"})
    yield
    for app in arena.apps:
        await arena.edit_target(app, {"image": APP_IMAGE})


@asynccontextmanager
async def metrics_bad(arena: Arena, chance: random.Random) -> AsyncIterator[None]:
    """Of the pods that run by now, each in its way."""
    async with httpx.AsyncClient(timeout=5, trust_env=False) as http:

        async def turn(how: str = "") -> None:
            for app in arena.apps:
                for pod in filter(is_ready, arena.witness.pods(app.name)):
                    wanted = how or chance.choice(("hanging", "huge", "lying"))
                    with contextlib.suppress(httpx.TransportError):  # it may be going
                        await http.post(f"http://{pod['status']['podIP']}:8080/metrics/{wanted}")

        await turn()
        yield
        await turn("well")


# --- what belongs to Kubernetes ---


@asynccontextmanager
async def kubelet_killed(arena: Arena, _: random.Random) -> AsyncIterator[None]:
    await asyncio.to_thread(the_node(arena).kill, "kubelet")
    yield
    await asyncio.to_thread(the_node(arena).start, "kubelet")


@asynccontextmanager
async def api_away(arena: Arena, _: random.Random) -> AsyncIterator[None]:
    # A crash: one that ends in order takes its address out of Service `kubernetes`, and kube-proxy
    # may be half a minute late to hear of its return.
    await asyncio.to_thread(the_node(arena).kill, "kube-apiserver")
    yield
    await asyncio.to_thread(the_node(arena).start, "kube-apiserver")
    await answering(the_node(arena))


@asynccontextmanager
async def etcd_restarted(arena: Arena, _: random.Random) -> AsyncIterator[None]:
    await asyncio.to_thread(the_node(arena).stop, "etcd")
    yield
    await asyncio.to_thread(the_node(arena).start, "etcd")
    await answering(the_node(arena))


@asynccontextmanager
async def dns_gone(arena: Arena, _: random.Random) -> AsyncIterator[None]:
    coredns = ("-n", "kube-system", "scale", "deployment/coredns")
    await asyncio.to_thread(arena.kubectl, *coredns, "--replicas=0")
    yield
    await asyncio.to_thread(arena.kubectl, *coredns, "--replicas=1")
    await asyncio.to_thread(
        arena.kubectl, "-n", "kube-system", "rollout", "status", "deployment/coredns"
    )


@asynccontextmanager
async def disk_pressure(arena: Arena, chance: random.Random) -> AsyncIterator[None]:
    """What a kubelet does whose disk is full, done in its place: nobody else's pods are to go.

    The node says DiskPressure (Kubernetes taints it for that), and a pool's pods are evicted: they
    are killed at once and stay behind as Failed.
    """
    node = arena.kubectl.items("nodes")[0]["metadata"]["name"]

    def say(status: str) -> None:
        condition = {"type": "DiskPressure", "status": status, "reason": "Test"}
        patch_status(arena, "node", node, {"conditions": [condition]})

    async def insist() -> None:
        while True:  # the kubelet says every ten seconds what it thinks itself
            await asyncio.to_thread(say, "True")
            await asyncio.sleep(1)

    evicted = []
    saying = asyncio.create_task(insist())
    try:
        await eventually("a taint", lambda: PRESSURE in taints(arena), within=20)
        for app in chance.sample(arena.apps, 3):
            evicted = [p for p in arena.witness.pods(app.name) if not is_ending(p)]
            if evicted:
                break
        for pod in evicted:
            how = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on storage"}
            patch_status(arena, "pod", pod["metadata"]["name"], how)
            kill_containers(pod)
        yield
    finally:
        saying.cancel()
        await asyncio.gather(saying, return_exceptions=True)
        say("False")
        await eventually("no taint", lambda: PRESSURE not in taints(arena), within=60)
    arena.recovered = datetime.now(UTC)
    for pod in evicted:
        arena.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false", check=False)


PRESSURE = "node.kubernetes.io/disk-pressure"


def taints(arena: Arena) -> list[str]:
    """Keys of the node's taints."""
    return [t["key"] for t in arena.kubectl.items("nodes")[0]["spec"].get("taints") or ()]


def patch_status(arena: Arena, kind: str, name: str, status: Object) -> None:
    """Patch what only a kubelet writes."""
    patch = json.dumps({"status": status})
    arena.kubectl("patch", kind, name, "--subresource=status", "-p", patch)


def restarts(pod: Object) -> int:
    """How often a pod's containers have been started again."""
    return sum(c["restartCount"] for c in pod["status"].get("containerStatuses") or ())


def has_started_again(pod: Object, before: int) -> bool:
    """Whether a pod is Ready, after more restarts than before.

    One that was killed is Ready by the kubelet's last word, until that has noticed.
    """
    return is_ready(pod) and restarts(pod) > before


FAULTS = [
    Fault("operator killed", operator_killed),
    Fault("two operators at once", two_operators, lasts=(3, 8)),
    Fault("operator's clock jumps an hour", clock_jumps),
    Fault("activator killed", activator_killed, kills=True),
    Fault("activator lost", activator_lost, lasts=(3, 10), kills=True, hangs=True),
    Fault("app's pods killed", pods_killed, kills=True),
    Fault("WarmPools edited every 100 ms", pool_edited, lasts=(2, 8)),
    Fault("pods that never get Ready", never_ready, lasts=(2, 8)),
    Fault("an image that does not exist", no_image, lasts=(2, 8)),
    Fault("metrics that hang, lie or never end", metrics_bad, lasts=(1, 6)),
    Fault("kubelet killed", kubelet_killed, lasts=(0, 5), alone=True),
    Fault("etcd restarted", etcd_restarted, lasts=(0, 4), alone=True, within=180),
    Fault("disk pressure", disk_pressure, lasts=(1, 5), kills=True, alone=True),
    Fault("API server away", api_away, lasts=(4, 10), alone=True, within=240, long=True),
    Fault("API server away a minute", api_away, (60, 60), alone=True, within=240, long=True),
    Fault("DNS gone", dns_gone, lasts=(0, 5), alone=True),
]
