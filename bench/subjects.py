"""What the topic `parked` parks: pools of one app, and plain Deployments of it to compare with."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from cluster import App, Kubectl, Object, eventually, service_ip
from coldstart import SETTLE, service, sleepy_pool, small_app, twin
from first_sound import SAY, install_voice
from http1 import Address, Client, request
from kotatsu_operator.core.formats import parse_quantity
from parking import Parking, Shares
from samples import Samples, parts

IDLE_AFTER = "2s"
ANSWERED_WITHIN = 120.0
POOLS = 4
CPU = Decimal("0.25")
"""Cores that the template of each subject requests: those of the voice."""
MODEL_BYTES = 2 * 10**9
APPLIED = "status of the pod"
STAGES = ("announced", "resize written", "control group", APPLIED)
RESTORED_WITHIN = 10.0


@dataclass(frozen=True)
class First:
    """A first answer, in seconds since the request."""

    seconds: float
    restore: dict[str, float] = field(default_factory=dict)
    """The stages of the pod's restore that were seen."""


@dataclass(frozen=True)
class Subject:
    """An app, and the request that is sent to it."""

    name: str
    raw: bytes
    objects: Callable[[str, int], list[Object]]
    """Deployment and Service of a name, with so many replicas."""
    number: int = POOLS
    clean: tuple[str, ...] = ()
    """A command that its pods run before they are removed."""

    @property
    def pools(self) -> list[str]:
        """Its pools."""
        return [f"{self.name}-{n}" for n in range(self.number)]

    @property
    def warm(self) -> str:
        """A Deployment without a pool, whose pod is never reduced."""
        return f"{self.name}-warm"

    @property
    def waits(self) -> str:
        """A Deployment without a pool, whose pod is resized by hand."""
        return f"{self.name}-waits"

    async def install(self, kubectl: Kubectl, *names: str) -> None:
        """Pools and Deployments of these names, each with a pod that has answered."""
        for name in names:
            is_pooled = name in self.pools
            kubectl.apply(*self.objects(name, 0 if is_pooled else 1))
            if is_pooled:
                kubectl.apply(parked_pool(name))
            else:
                kubectl("rollout", "status", f"deployment/{name}", "--timeout=120s")
        for name in set(names) & set(self.pools):
            await eventually(f"{name} asleep", lambda n=name: App(n, kubectl).phase() == "Asleep")  # type: ignore[misc]
        await asyncio.sleep(SETTLE)
        for name in names:
            await self.first((service_ip(kubectl, name), 80))

    def remove(self, kubectl: Kubectl, *names: str) -> None:
        """Take them away."""
        for name in names if self.clean else ():
            kubectl("exec", f"deployment/{name}", "--", *self.clean, check=False)
        kubectl("delete", "warmpool", *names, "--ignore-not-found")
        kubectl("delete", "deployment,service", *names, "--ignore-not-found")

    async def first(self, address: Address) -> float:
        """Seconds from connecting to the first byte of an answer."""
        began = time.perf_counter()
        async with asyncio.timeout(ANSWERED_WITHIN):
            client = await Client.connect(address)
            connected = time.perf_counter() - began
            answer = await client.ask(self.raw)
        client.close()
        if answer.status != 200:
            raise RuntimeError(f"{self.name} answered {answer.status}: {answer.body[:200]!r}")
        return connected + answer.first


async def restored(parking: Parking, subject: Subject, pool: str, address: Address) -> First:
    """The first answer of a parked pool, and how its requests became full again."""
    before = parking.pool(pool).get("demand")
    seen = {
        "announced": lambda: parking.pool(pool).get("demand") != before,
        "resize written": lambda: parking.requested(pool) == CPU,
        APPLIED: lambda: parking.applied(pool) == CPU,
    }
    with Shares(parking.uid(pool)) as shares:
        stages = {name: asyncio.create_task(parking.seen(holds)) for name, holds in seen.items()}
        await asyncio.sleep(0)
        began = time.perf_counter()
        try:
            took = await subject.first(address)
            await asyncio.wait([stages[APPLIED]], timeout=RESTORED_WITHIN)
            ends = {name: stage.result() for name, stage in stages.items() if _was_seen(stage)}
        finally:
            for stage in stages.values():
                stage.cancel()
    if shares.changed_at is not None:
        ends["control group"] = shares.changed_at
    return First(took, {name: at - began for name, at in ends.items()})


def _was_seen(stage: asyncio.Task[float]) -> bool:
    return stage.done() and not stage.exception()


def restores_text(restores: list[dict[str, float]]) -> str:
    """How long the stages took until the requests were full, where they became so."""
    full = [restore for restore in restores if APPLIED in restore]
    if not full:
        return ""
    took = Samples.of(restore[APPLIED] for restore in full)
    share = f"{len(full)} of {len(restores)}"
    return f"; full requests after {took.text} ({share}), of it {parts(full, STAGES)}"


def parked_pool(name: str) -> Object:
    """A pool of one pod that is parked soon after its last request."""
    scaling = {"idleAfter": IDLE_AFTER, "maxReplicas": 1, "requestsPerPod": 100_000}
    return sleepy_pool(name, parkedFor="1h", **scaling)


def echo() -> Subject:
    """An app that does nothing but answer."""

    def objects(name: str, replicas: int) -> list[Object]:
        return small_app(name, f"{CPU}", replicas)

    return Subject("echo", request("GET", "/"), objects)


def voice(kubectl: Kubectl) -> Subject:
    """The pet's voice, without the chart's own pool of it. It speaks the same text each time."""
    install_voice(kubectl)
    kubectl("set", "env", "deployment/voice", "KOTATSU_VOICE_CACHE_BYTES=0")
    deployment = kubectl.get("deployment", "voice")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    asked = container["resources"]["requests"]["cpu"]
    if parse_quantity(asked) != CPU:
        raise RuntimeError(f"the voice requests {asked} of CPU, but {CPU} is to be measured")
    kubectl("delete", "warmpool,deployment", "voice")

    def objects(name: str, replicas: int) -> list[Object]:
        return [twin(deployment, name, replicas), service(name)]

    return Subject("voice", SAY, objects)


def model() -> Subject:
    """The small app with a model of 2 GB, which it reads from a file of the node."""

    def objects(name: str, replicas: int) -> list[Object]:
        deployment, its_service = small_app(name, f"{CPU}", replicas)
        spec = deployment["spec"]["template"]["spec"]
        [container] = spec["containers"]
        container["resources"]["requests"]["memory"] = "2560Mi"
        container["env"] = [{"name": "MODEL_BYTES", "value": f"{MODEL_BYTES}"}]
        container["volumeMounts"] = [{"name": "model", "mountPath": "/model"}]
        container["securityContext"] = {"runAsUser": 0}
        path = {"path": "/var/lib/kotatsu-bench-model", "type": "DirectoryOrCreate"}
        spec["volumes"] = [{"name": "model", "hostPath": path}]
        return [deployment, its_service]

    return Subject("model", request("GET", "/"), objects, 1, ("rm", "/model/weights"))
