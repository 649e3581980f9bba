"""One activator with 100, 1,000 and more sleeping pools: what each costs it and the API server.

The pools are in its own namespace, or each in one of its own, which share the activator.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from lightkube import AsyncClient, KubeConfig
from lightkube.models.meta_v1 import ObjectMeta
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
from kotatsu_operator.core.protocol import own_set, shared_set
from kotatsu_operator.kube.objects import EndpointSlice, Pod, Service, WarmPool
from report import ROOT, Row
from samples import digits
from simulation.measure import count, cpu_seconds, read_audit, resident_mib
from topic import again, main, progress, unmeasured

AGAIN = again("listeners")
NAMESPACE = "default"
# Of the range for benchmarks (RFC 2544): a slice may name no loopback address.
ADDRESS = "198.18.0.1"
USERS = dict.fromkeys(("activator", "editor"), ADMINISTRATORS)
CRD = ROOT / "charts/kotatsu/crds/warmpools.kotatsu.dev.yaml"
HOW = (
    "one activator process, a listener and an EndpointSlice for each pool; API server and etcd are"
    " real and on the same machine"
)
MEMORY, PUBLISH, IDLE = (
    "memory per sleeping pool",
    "CPU to publish a sleeping pool",
    "an idle minute, share of a core",
)
SHARED = "shared activator, a pool in each namespace"


STARTS = 5
"""With a hundred pools one takes a tenth of a second of CPU, and the next some more or less."""


@dataclass(frozen=True)
class Start:
    """What one start has taken."""

    seconds: float
    cpu: float
    mib: float


@dataclass(frozen=True)
class Idle:
    """What an activator does while nothing happens."""

    share: float
    """Of a core."""
    calls: int


@dataclass(frozen=True)
class Seen:
    """What an activator with a number of pools has shown."""

    pools: int
    base_mib: float
    """Its memory without a pool."""
    mib: float
    ready_after: float
    """Seconds from its start until every slice was published."""
    publish_ms: list[float]
    """Milliseconds of CPU a pool for that in each start, beyond what one takes without a pool."""
    files: int
    slices: int
    idle: Idle

    @property
    def kib_each(self) -> float:
        """KiB a pool."""
        return 1024 * (self.mib - self.base_mib) / self.pools


async def rows(quick: bool) -> list[Row]:
    """An activator for each number of pools, on a control plane of its own."""
    sizes, idle = ([50, 200], 5.0) if quick else ([100, 1000, 4000], 30.0)
    try:
        with _address():
            found = [await _measure(size, idle, Alone()) for size in sizes]
            shared = [await _measure(size, idle, Shared()) for size in sizes]
    except NodeError as error:
        return [
            unmeasured(f"activator: {what}", HOW, str(error), "", "listeners")
            for what in (MEMORY, PUBLISH)
        ]
    return [*_judged(found, "activator"), *_judged(shared, SHARED)]


class Alone:
    """The activator of one namespace."""

    activators = own_set(NAMESPACE, NAMESPACE)

    def place(self, _: int) -> str:
        """The namespace of a pool."""
        return NAMESPACE

    async def prepare(self, editor: Any, pools: int) -> None:
        """Make the namespaces."""


class Shared(Alone):
    """An activator that the namespaces share, each with one pool."""

    activators = shared_set(NAMESPACE, 0)

    def place(self, number: int) -> str:
        """The namespace of a pool."""
        return f"tenant-{number:05d}"

    async def prepare(self, editor: Any, pools: int) -> None:
        """Make the namespaces."""
        names = (self.place(number) for number in range(pools))
        made = [Namespace(metadata=ObjectMeta(name=name)) for name in names]
        await _each(pools, lambda n: editor.create(made[n]))


@contextlib.contextmanager
def _address() -> Iterator[None]:
    """The address of the activator's pod, on this machine for the block."""
    command = ["ip", "address"]
    if os.geteuid() != 0:
        raise NodeError("only root can give this machine the address that slices need")
    subprocess.run([*command, "replace", f"{ADDRESS}/32", "dev", "lo"], check=True)
    try:
        yield
    finally:
        subprocess.run([*command, "delete", f"{ADDRESS}/32", "dev", "lo"], check=True)


async def _measure(pools: int, idle: float, how: Alone) -> Seen:
    with (
        progress.step(f"{pools} sleeping pools"),
        control_plane(Layout.from_environment(), USERS) as plane,
    ):
        editor: Any = AsyncClient(KubeConfig.from_file(plane.users["editor"]))
        try:
            kubectl = [str(plane.kubectl), f"--kubeconfig={plane.admin}"]
            for verb in (["apply", "--server-side"], ["wait", "--for=condition=Established"]):
                command = [*kubectl, *verb, "-f", str(CRD)]
                await asyncio.to_thread(_run, command)
            uid = await _own_pod(editor)
            bases = [await _start(plane, uid, how) for _ in range(STARTS)]
            base_cpu = median(start.cpu for start in bases)
            await how.prepare(editor, pools)
            await _each(pools, lambda n: _make(editor, how.place(n), f"pool-{n:05d}", how))
            starts = []
            for _ in range(STARTS):
                starts.append(await _start(plane, uid, how))
                for namespace in sorted({how.place(n) for n in range(pools)}):
                    await editor.deletecollection(EndpointSlice, namespace=namespace)
            with _activator(plane, uid, how) as (pid, port):
                seen = await _idle(plane, pid, port, idle)
                slices = [s async for s in editor.list(EndpointSlice, namespace="*")]
                return Seen(
                    pools,
                    median(start.mib for start in bases),
                    resident_mib(pid),
                    median(start.seconds for start in starts),
                    [1000 * (start.cpu - base_cpu) / pools for start in starts],
                    len(os.listdir(f"/proc/{pid}/fd")),  # noqa: PTH208
                    sum("kotatsu" in s["metadata"]["name"] for s in slices),
                    seen,
                )
        finally:
            await editor.close()


async def _start(plane: ControlPlane, uid: str, how: Alone) -> Start:
    """Start an activator, and end it once every slice is published."""
    with _activator(plane, uid, how) as (pid, port):
        began = time.monotonic()
        await _until_ready(port)
        return Start(time.monotonic() - began, cpu_seconds(pid), resident_mib(pid))


async def _idle(plane: ControlPlane, pid: int, port: int, seconds: float) -> Idle:
    await _until_ready(port)
    await asyncio.sleep(5)
    at, before = datetime.now(UTC), cpu_seconds(pid)
    await asyncio.sleep(seconds)
    calls = count(read_audit(plane.audit_log), "activator", at, datetime.now(UTC))
    return Idle((cpu_seconds(pid) - before) / seconds, sum(calls.values()))


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


async def _own_pod(editor: Any) -> str:
    container = {"name": "activator", "image": "none"}
    obj = {
        "metadata": {"name": "activator", "namespace": NAMESPACE},
        "spec": {"nodeName": "nowhere", "containers": [container]},
    }
    made = await editor.create(Pod(obj), namespace=NAMESPACE)
    return str(made["metadata"]["uid"])


async def _each(number: int, make: Any) -> None:
    for start in range(0, number, 50):
        await asyncio.gather(*(make(n) for n in range(start, min(start + 50, number))))


async def _make(editor: Any, namespace: str, name: str, how: Alone) -> None:
    """A pool that sleeps, with its Service."""
    spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]}
    metadata = {"name": name, "namespace": namespace}
    await editor.create(Service({"metadata": metadata, "spec": spec}), namespace=namespace)
    pool = {"metadata": metadata, "spec": {"targetRef": {"name": name}}}
    await editor.create(WarmPool(pool), namespace=namespace)
    accepted = {
        "type": "Accepted",
        "status": "True",
        "reason": "Bench",
        "message": "",
        "lastTransitionTime": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }
    status = {
        "phase": "Asleep",
        "route": {"target": "Activator", "epoch": 1},
        "conditions": [accepted],
        "internal": {"activators": how.activators},
    }
    merge = PatchType.MERGE
    patch = {"status": status}
    await editor.patch(WarmPool.Status, name, patch, namespace=namespace, patch_type=merge)


@contextlib.contextmanager
def _activator(plane: ControlPlane, uid: str, how: Alone) -> Iterator[tuple[int, int]]:
    """Run one; yields its process's id and the port of its admin pages."""
    [port] = free_ports(1)
    environment = {
        "KUBECONFIG": str(plane.users["activator"]),
        "KOTATSU_NAMESPACE": NAMESPACE,
        "KOTATSU_ACTIVATORS": how.activators,
        "KOTATSU_POD_NAME": "activator",
        "KOTATSU_POD_UID": uid,
        "KOTATSU_POD_IPS": ADDRESS,
        "KOTATSU_NODE_NAME": "nowhere",
        "KOTATSU_HOST": "127.0.0.1",
        "KOTATSU_PORT": str(port),
        "KOTATSU_DRAIN_TIMEOUT": "1s",
        "KOTATSU_LOG_LEVEL": "warning",
    }
    program = Path(sys.executable).with_name("kotatsu-activator")
    child = subprocess.Popen([program], env=os.environ | environment, stdout=sys.stderr)
    try:
        yield child.pid, port
    finally:
        child.kill()  # its slices stay, and the next one makes them its own
        child.wait()


async def _until_ready(port: int) -> None:
    async with asyncio.timeout(900):
        while True:
            with contextlib.suppress(OSError):
                url = f"http://127.0.0.1:{port}/readyz"
                page = await asyncio.to_thread(urllib.request.urlopen, url, timeout=60)
                if page.status == 200:
                    return
            await asyncio.sleep(0.1)


def _judged(found: list[Seen], who: str) -> list[Row]:
    sizes = " / ".join(f"{seen.pools:,}" for seen in found)
    few, many = found[0], found[-1]

    def over(values: list[str]) -> str:
        return " / ".join(values)

    calls = over([f"{s.idle.calls}" for s in found])
    said = over([f"{s.mib:.0f} MiB, {s.files} files, {s.slices} slices" for s in found])
    each = [median(s.publish_ms) for s in found]
    spread = [f"{digits(min(s.publish_ms))} to {digits(max(s.publish_ms))} ms" for s in found]
    published = over([f"{s.ready_after:.1f} s" for s in found])
    return [
        Row(
            f"{who}: {MEMORY}, {many.pools:,} ÷ {few.pools:,} pools",
            f"{HOW}; {few.base_mib:.0f} MiB without a pool; {sizes} pools: {said}",
            f"{many.kib_each:.1f} KiB",
            over([f"{s.kib_each:.1f} KiB" for s in found]),
            len(found),
            "≤ 1: falls or stays flat",
            many.kib_each / few.kib_each,
            many.kib_each <= few.kib_each,
            AGAIN,
        ),
        Row(
            f"{who}: {PUBLISH}, {many.pools:,} ÷ {few.pools:,} pools",
            f"{STARTS} starts with {sizes} pools, beyond those without one; medians"
            f" {over([f'{digits(ms)} ms' for ms in each])}; all published after {published}",
            f"{digits(each[-1])} ms",
            over(spread),
            STARTS,
            "≤ 1.1: falls or stays flat",
            each[-1] / each[0],
            each[-1] <= 1.1 * each[0],
            AGAIN,
        ),
        Row(
            f"{who}: {IDLE}",
            f"{sizes} pools; API calls meanwhile: {calls} (watches begin anew each half minute)",
            f"{digits(100 * many.idle.share)} %",
            over([f"{digits(100 * s.idle.share)} %" for s in found]),
            len(found),
            "",
            None,
            None,
            AGAIN,
        ),
    ]


if __name__ == "__main__":
    main(rows)
