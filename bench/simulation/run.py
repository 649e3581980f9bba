"""One run: make the pools, leave them alone, edit them, and let their windows open together."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lightkube import AsyncClient, KubeConfig
from lightkube.types import PatchType

from kotatsu_node.cluster.control_plane import (
    ADMINISTRATORS,
    ControlPlane,
    control_plane,
    free_ports,
)
from kotatsu_node.layout import Layout
from kotatsu_operator.core.formats import internal, table
from kotatsu_operator.core.report.record import parts_of
from kotatsu_operator.kube.objects import ConfigMap, Deployment, Service, WarmPool
from simulation.kubelet import Kubelet, serve_metrics
from simulation.measure import (
    answers,
    count,
    cpu_seconds,
    read_audit,
    resident_mib,
)

USERS = dict.fromkeys(("operator", "editor", "kubelet"), ADMINISTRATORS)
NAMESPACE = "default"
CRD = Path(__file__).parents[2] / "charts/kotatsu/crds/warmpools.kotatsu.dev.yaml"
_UNLEARNED = timedelta(seconds=68)
"""The lead of a pool that has learned nothing yet."""
EDIT_PAUSE = 0.02
"""Seconds between two edits."""
EDITS = 1000
"""So many pools are edited at the most."""
TAKE_ON = 0.25
"""Seconds that each pool may take until it is known and judged."""
CALM = 15.0
"""Seconds after which whatever was set off is over."""
_FAR = datetime(2100, 1, 1, tzinfo=UTC)


@dataclass
class Stretch:
    """What one stretch of time has cost the operator."""

    seconds: float = 0.0
    cpu: float = 0.0
    calls: dict[str, int] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Share of one core."""
        return self.cpu / self.seconds if self.seconds else 0.0


@dataclass
class Result:
    """What one run has shown."""

    pools: int
    start_cpu: float = 0.0
    """Seconds of CPU until every pool was known and judged."""
    idle: Stretch = field(default_factory=Stretch)
    edits: Stretch = field(default_factory=Stretch)
    edited: int = 0
    edit_ms: list[float] = field(default_factory=list)
    """From when each edit came in until the operator wrote what it made of it."""
    opening: Stretch | None = None
    """From the edits that ask for it until after the windows have opened; None: none were asked."""
    on_time: int = 0
    least_early: float = 0.0
    first_ahead: float = 0.0
    ready_ms: list[float] = field(default_factory=list)
    decision_ms: dict[str, float] = field(default_factory=dict)
    resident_mib: float = 0.0


@dataclass
class Simulation:
    """A control plane with its operator, and what the run does to it."""

    plane: ControlPlane
    client: Any
    pools: int
    per_second: float
    say: Callable[[str], None]
    operator: subprocess.Popen[bytes] | None = None
    """Once it has begun."""

    @property
    def names(self) -> list[str]:
        """The names of all pools, and of their Deployments."""
        return [f"pool-{n:04d}" for n in range(self.pools)]

    async def make(self, port: int) -> None:
        """The CRD, the record, and a Deployment, a Service and a WarmPool for each name."""
        await self.define(CRD)
        for part in parts_of(NAMESPACE):
            record = {"name": part.name, "namespace": NAMESPACE}
            await self.create(ConfigMap, {"metadata": record})
        await self.each(lambda name: self.create(Deployment, deployment(name, port)))
        await self.each(lambda name: self.create(Service, service(name)))
        await self.each(lambda name: self.create(WarmPool, warm_pool(name)))

    async def define(self, crds: Path) -> None:
        """Apply the CRDs of a file or folder, and wait until they are served."""
        kubectl = [str(self.plane.kubectl), f"--kubeconfig={self.plane.admin}"]
        for verb in (["apply", "--server-side"], ["wait", "--for=condition=Established"]):
            command = [*kubectl, *verb, "-f", str(crds)]
            await asyncio.to_thread(subprocess.run, command, check=True, stdout=subprocess.DEVNULL)

    async def edit(self, names: Sequence[str], spec: dict[str, Any]) -> None:
        """Edit some pools' specs, one after the other."""
        for name in names:
            await self.client.patch(
                WarmPool, name, {"spec": spec}, namespace=NAMESPACE, patch_type=PatchType.MERGE
            )
            await asyncio.sleep(EDIT_PAUSE)

    async def statuses(self) -> dict[str, dict[str, Any]]:
        """The status of every pool."""
        listed = self.client.list(WarmPool, namespace=NAMESPACE)
        return {p["metadata"]["name"]: p.get("status") or {} async for p in listed}

    async def until(self, holds: Callable[[dict[str, Any]], bool], seconds: float) -> None:
        """Wait until something holds for every pool's status."""
        deadline = time.monotonic() + seconds
        while True:
            asked = time.monotonic()
            found = [status for status in (await self.statuses()).values() if not holds(status)]
            now = time.monotonic()
            if not found:
                return
            gone = self.operator is not None and self.operator.poll() is not None
            if gone or now > deadline:
                left = f"{len(found)} pools were not so far"
                when = "when the operator ended" if gone else f"after {seconds:.0f} s"
                raise TimeoutError(f"{left} {when}; the first: {found[:1]}")
            # A list of thousands is work for the API server: no more than a tenth of its time.
            await asyncio.sleep(max(1.0, 9 * (now - asked)))

    async def create(self, kind: Any, obj: dict[str, Any]) -> None:
        """Create an object."""
        await self.client.create(kind(obj), namespace=NAMESPACE)

    async def each(self, make: Callable[[str], Awaitable[None]]) -> None:
        """Do something for every name, fifty at a time."""
        for start in range(0, self.pools, 50):
            await asyncio.gather(*map(make, self.names[start : start + 50]))


def deployment(name: str, port: int, namespace: str = NAMESPACE) -> dict[str, Any]:
    """A Deployment at 0 whose pods say they serve their metrics at `port`."""
    labels = {"app": name}
    container = {
        "name": "app",
        "image": "none",
        "ports": [{"name": "http", "containerPort": port}],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
    }
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def service(name: str, namespace: str = NAMESPACE) -> dict[str, Any]:
    """A Service in front of the Deployment of that name."""
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": "http"}]},
    }


def warm_pool(name: str, namespace: str = NAMESPACE) -> dict[str, Any]:
    """A WarmPool that sleeps until the end of the century."""
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"targetRef": {"name": name}, **opening(_FAR, 1)},
    }


def opening(at: datetime, replicas: int) -> dict[str, Any]:
    """A spec's windows: one of an hour."""
    start, end = (f"{x:%Y-%m-%dT%H:%M:%S}" for x in (at, at + timedelta(hours=1)))
    return {"windows": [{"name": "demo", "start": start, "end": end, "replicas": replicas}]}


@contextlib.contextmanager
def operator(
    plane: ControlPlane,
    port: int,
    per_second: float,
    log: Path,
    scope: Mapping[str, str] = {"KOTATSU_POD_NAMESPACE": NAMESPACE},
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the operator as a process of its own; `scope` are its settings of what it serves."""
    program = Path(sys.executable).with_name("kotatsu-operator")
    environment = {
        "KUBECONFIG": str(plane.users["operator"]),
        **scope,
        "KOTATSU_PORT": str(port),
        "KOTATSU_HOST": "127.0.0.1",
        "KOTATSU_STARTS_PER_SECOND": str(per_second),
        "KOTATSU_LOG_LEVEL": "warning",
    }
    with running([str(program)], environment, log) as child:
        yield child


@contextlib.contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run an operator for the block. Raises RuntimeError when it ends before."""
    with log.open("wb") as output:
        child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            env=os.environ | dict(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield child
        if child.poll() is not None:
            raise RuntimeError(f"the operator ended: {log.read_text()[-2000:]}")
    except TimeoutError as error:
        raise TimeoutError(f"{error}; the operator said: {log.read_text()[-2000:]}") from error
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


async def simulate(
    pools: int,
    *,
    per_second: float,
    idle: float,
    opens: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> Result:
    """Run it all; `per_second` is how many pods the cluster starts, and what the operator is told.

    Without `opens` no window opens. Raises TimeoutError when the operator does not keep up.
    """
    async with standing(pools, per_second, say) as (it, port):
        say(f"making {pools} pools")
        await it.make(port)
        log = it.plane.audit_log.with_name("operator.log")
        [told_at] = free_ports(1)
        with operator(it.plane, told_at, per_second, log) as it.operator:
            result = await _measure(it, it.operator.pid, told_at, idle, opens=opens)
            output = log.read_text()
        if output:
            say(f"the operator said: {output[-3000:]}")
        return result


@contextlib.asynccontextmanager
async def standing(
    pools: int, per_second: float, say: Callable[[str], None]
) -> AsyncIterator[tuple[Simulation, int]]:
    """A control plane with nothing in it and pretended kubelets, and the port of all pods' page."""
    with control_plane(Layout.from_environment(), USERS) as plane:
        clients = {
            user: AsyncClient(KubeConfig.from_file(file)) for user, file in plane.users.items()
        }
        server, port = await serve_metrics()
        kubelet = asyncio.create_task(Kubelet(clients["kubelet"], NAMESPACE, per_second, 3).run())
        try:
            yield Simulation(plane, clients["editor"], pools, per_second, say), port
        finally:
            kubelet.cancel()
            await asyncio.gather(kubelet, return_exceptions=True)
            server.close()
            for client in clients.values():
                await client.close()


async def _measure(it: Simulation, pid: int, port: int, idle: float, *, opens: bool) -> Result:
    result = Result(it.pools)
    it.say("the operator begins")
    await it.until(lambda s: s.get("phase") == "Asleep", max(600.0, TAKE_ON * it.pools))
    await asyncio.sleep(CALM)
    result.start_cpu = cpu_seconds(pid)
    before = _decisions(port)

    it.say(f"nothing happens for {idle:.0f} s")
    with _stretch(it.plane, pid, result.idle):
        await asyncio.sleep(idle)

    names = it.names[:EDITS]
    result.edited = len(names)
    it.say(f"{len(names)} pools are edited, one after the other")
    with _stretch(it.plane, pid, result.edits):
        await it.edit(names, {"idleAfter": "3m"})
        await asyncio.sleep(CALM)
    requests = read_audit(it.plane.audit_log)
    # From when the request came in: a watch may tell of it before the audit log has its end.
    edits = [(r.name, r.began) for r in requests if r.user == "editor" and r.verb == "patch"]
    result.edit_ms = answers(edits, requests)
    if opens:
        result.opening = Stretch()
        await _open(it, pid, result, result.opening)
    result.decision_ms = _percentiles(before, _decisions(port))
    result.resident_mib = resident_mib(pid)
    return result


async def _open(it: Simulation, pid: int, result: Result, stretch: Stretch) -> None:
    at = datetime.now(UTC).replace(microsecond=0) + _UNLEARNED
    at += timedelta(seconds=it.pools * (1 / it.per_second + EDIT_PAUSE * 2) + 30)
    it.say(f"every pool is edited: its window opens at {at:%H:%M:%S}")
    with _stretch(it.plane, pid, stretch):
        await it.edit(it.names, opening(at, 1))
        it.say("edited; waiting for the windows to open")
        await asyncio.sleep((at - datetime.now(UTC)).total_seconds() + CALM)
    requests = read_audit(it.plane.audit_log)
    readied = [
        (r.name[: len("pool-0000")], r.began)
        for r in requests
        if r.user == "kubelet" and r.verb == "patch"
    ]
    result.ready_ms = answers(readied, requests)
    _openings(result, await it.statuses())


@contextlib.contextmanager
def _stretch(plane: ControlPlane, pid: int, into: Stretch) -> Iterator[None]:
    """Measure what passes meanwhile."""
    began, cpu = datetime.now(UTC), cpu_seconds(pid)
    yield
    ended = datetime.now(UTC)
    into.seconds, into.cpu = (ended - began).total_seconds(), cpu_seconds(pid) - cpu
    into.calls = dict(count(read_audit(plane.audit_log), "operator", began, ended))


def _openings(result: Result, statuses: dict[str, dict[str, Any]]) -> None:
    earlies = []
    for status in statuses.values():
        found = status.get("lastOpening") or {}
        ready_at = table(internal(status).get("opening")).get("readyAt")
        if found and ready_at:
            at, ready = datetime.fromisoformat(found["at"]), datetime.fromisoformat(ready_at)
            earlies.append((at - ready).total_seconds())
            result.on_time += ready <= at
    result.least_early = min(earlies, default=float("nan"))
    result.first_ahead = max(earlies, default=float("nan"))


def _decisions(port: int) -> dict[float, float]:
    """The operator's histogram of decisions: how many took at most so many seconds."""
    page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30).read().decode()
    prefix = "kotatsu_decision_seconds_bucket{le="
    return {
        float(line.split('"')[1]): float(line.rsplit(" ", 1)[1])
        for line in page.splitlines()
        if line.startswith(prefix)
    }


def _percentiles(before: dict[float, float], after: dict[float, float]) -> dict[str, float]:
    """Upper bounds of the percentiles in milliseconds, of what came between two readings."""
    buckets = [(le, count - before.get(le, 0)) for le, count in sorted(after.items())]
    total = buckets[-1][1] if buckets else 0
    return {
        name: next((le * 1000 for le, n in buckets if n >= share * total), float("nan"))
        for name, share in (("median", 0.5), ("p99", 0.99))
    }
