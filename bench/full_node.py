"""A node whose cores are all busy, and the ways to the first answer of a pod on it.

The pods that keep it busy request all CPU that nothing else on it requests. The kernel divides the
CPU by requests, so a parked pod gets almost none until its own are restored.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from decimal import ROUND_FLOOR, Decimal

from cluster import Kubectl, NoClusterError, Object, platform
from coldstart import SETTLE, small_app
from http1 import Address
from kotatsu_operator.core.budget.prices import pod_requests
from kotatsu_operator.core.formats import parse_quantity
from parking import PARKED, Parking, app_of
from report import Row
from samples import Samples, amount
from subjects import CPU, First, Subject, echo, restored, restores_text, voice
from topic import again, main, progress, unmeasured

AGAIN = again("full_node")

WARM = "never reduced"
FOUND = "parked, its operator's next look"
ANNOUNCED = "parked, announced and forwarded at once"
WAITED = "parked, forwarded once it is resized"
NO_ROOM = "parked, announced, and others took the room"
WAYS = (WARM, FOUND, ANNOUNCED, WAITED)
_MILLI = Decimal("0.001")
_SPIN, _REST = "while True: pass", "import time; time.sleep(1e6)"


async def rows(quick: bool) -> list[Row]:
    """An app that does nothing but answer, and the voice."""
    turns = (2, 2) if quick else (20, 10)
    found: list[Row] = []
    try:
        with platform("full", "parked.enabled=true") as k:
            async with Parking.watching(k) as parking:
                for subject, number in zip((echo(), voice(k)), turns, strict=True):
                    names = (subject.warm, subject.waits, subject.pools[0])
                    await subject.install(k, *names)
                    with progress.step(f"{subject.name}: a full node"):
                        found += _rows(subject, await _measure(parking, subject, number))
                    subject.remove(k, *names)
    except NoClusterError as error:
        what = "a full node: first answer of a parked pod"
        return [unmeasured(what, "in turns", str(error), "", "full_node")]
    return found


def _rows(subject: Subject, answers: dict[str, list[First]]) -> list[Row]:
    """Each way against a pod that was never reduced."""
    warm = Samples.of(first.seconds for first in answers[WARM])
    how = (
        "every core is busy with a pod that requests what others leave of it; in turns;"
        f" {WARM}: {warm.text} ({warm.spread})"
    )
    found = []
    for way in (FOUND, ANNOUNCED, WAITED, NO_ROOM):
        what = f"{subject.name}, a full node: {way}"
        cut = _without_room(len(answers[WARM])) - len(answers[way]) if way == NO_ROOM else 0
        if not answers[way]:
            why = f"all {cut} answers ended early"
            found.append(unmeasured(what, how, why, "", "full_node"))
            continue
        took = Samples.of(first.seconds for first in answers[way])
        ratio = took.median / warm.median
        restores = restores_text([first.restore for first in answers[way]])
        restores += f"; {cut} more ended early" if cut else ""
        found.append(
            Row(what, f"{how}{restores}", took.text, took.spread, len(took), "", ratio, None, AGAIN)
        )
    return found


async def _measure(parking: Parking, subject: Subject, runs: int) -> dict[str, list[First]]:
    """The first answers of each way, in turns; then of a pod whose room was taken."""
    pool = subject.pools[0]
    answers: dict[str, list[First]] = {way: [] for way in (*WAYS, NO_ROOM)}
    async with _busy(parking.kubectl, subject):
        for number in range(-1, runs):
            turn = number % len(WAYS)
            for way in (*WAYS[turn:], *WAYS[:turn]):
                first = await _way(parking, subject, pool, way)
                if number >= 0:  # the first warms the caches
                    answers[way].append(first)
            if number >= 0:
                said = ", ".join(f"{way} {amount(answers[way][-1].seconds)}" for way in WAYS)
                progress.say(f"  {number + 1}: {said}")
        await parking.is_parked(pool)
        parking.kubectl.apply(_deployment("taker", CPU - PARKED, 1, _REST))
        parking.kubectl("rollout", "status", "deployment/taker", "--timeout=120s")
        for _ in range(_without_room(runs)):
            # An app may give up before it has the CPU for all of its answer.
            with contextlib.suppress(ConnectionError):
                answers[NO_ROOM].append(await _way(parking, subject, pool, ANNOUNCED))
    return answers


def _without_room(runs: int) -> int:
    """How many requests there are to the pod whose room is taken: each can take half a minute."""
    return max(1, runs // 2)


async def _way(parking: Parking, subject: Subject, pool: str, way: str) -> First:
    if way == WARM:
        return First(await subject.first(_pod(parking, subject.warm)))
    if way == WAITED:
        await parking.resized(subject.waits, PARKED)
        await asyncio.sleep(SETTLE)
        began = time.perf_counter()
        await parking.resized(subject.waits, CPU)
        waited = time.perf_counter() - began
        return First(waited + await subject.first(_pod(parking, subject.waits)))
    await parking.is_parked(pool)
    await asyncio.sleep(SETTLE)
    to = _pod(parking, pool) if way == FOUND else _activator(parking.kubectl, pool)
    return await restored(parking, subject, pool, to)


def _pod(parking: Parking, app: str) -> Address:
    """An app's pod itself."""
    return parking.pod(app)["status"]["podIP"], 8080


def _activator(kubectl: Kubectl, pool: str) -> Address:
    """The activators' endpoint beside the pods of a pool."""
    labels = {
        "kubernetes.io/service-name": pool,
        "endpointslice.kubernetes.io/managed-by": "activator.kotatsu.dev",
    }
    for found in kubectl.items("endpointslices", **labels):
        for endpoint in found.get("endpoints") or ():
            if endpoint["conditions"].get("ready"):
                return endpoint["addresses"][0], found["ports"][0]["port"]
    raise RuntimeError(f"no activator is beside the pods of {pool}")


@contextlib.asynccontextmanager
async def _busy(kubectl: Kubectl, subject: Subject) -> AsyncIterator[None]:
    """All cores are busy for the block."""
    node = kubectl.items("nodes")[0]["status"]
    cores = int(parse_quantity(node["capacity"]["cpu"]))
    free = parse_quantity(node["allocatable"]["cpu"]) - _requested(kubectl, subject)
    each = (free / cores).quantize(_MILLI, ROUND_FLOOR)
    kubectl.apply(_deployment("busy", each, cores, _SPIN))
    kubectl("rollout", "status", "deployment/busy", "--timeout=120s")
    progress.say(f"  {cores} pods that request {each} cores keep them busy")
    try:
        yield
    finally:
        kubectl("delete", "deployment", "busy", "taker", "--ignore-not-found", check=False)


def _requested(kubectl: Kubectl, subject: Subject) -> Decimal:
    """Cores that all pods of the node that stay request while none of the subject's is parked."""
    total = Decimal(0)
    for pod in json.loads(kubectl("get", "pods", "--all-namespaces", "-o", "json"))["items"]:
        is_ending = "deletionTimestamp" in pod["metadata"]
        if not is_ending and pod["status"].get("phase") not in ("Succeeded", "Failed"):
            asked = pod_requests(pod["spec"]).get("cpu", Decimal(0))
            total += CPU if app_of(pod) in subject.pools else asked
    return total


def _deployment(name: str, cpu: Decimal, replicas: int, program: str) -> Object:
    """Pods that run one line of Python."""
    deployment, _ = small_app(name, f"{cpu}", replicas)
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    del container["readinessProbe"], container["ports"]
    container["command"] = ["python3", "-c", program]
    deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 0
    return deployment


if __name__ == "__main__":
    main(rows)
