"""Parked pods: their first answer against that of warm and of sleeping ones, and their price."""

import asyncio
import time
from dataclasses import dataclass, field

import full_node
from cluster import NoClusterError, platform, service_ip
from coldstart import SETTLE, Starts
from full_node import ANNOUNCED, FOUND, NO_ROOM, WAITED, WARM
from hourly import hourly_row
from parking import Parking, Shares
from report import Row
from samples import Samples, amount, parts
from subjects import CPU, Subject, echo, model, voice
from topic import again, main, progress, unmeasured

AGAIN = again("parked")
FIRST = "parked: first answer ÷ that of a warm pod"
MEDIAN_GOAL, TAIL_GOAL = 1.1, 50.0
STAGES = ("announced", "resize written", "control group", "status of the pod")
RESTORED_WITHIN = 30.0


@dataclass
class Answers:
    """First answers of one app in its states, in seconds."""

    asleep: list[float] = field(default_factory=list)
    parked: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    restores: list[dict[str, float]] = field(default_factory=list)
    """When each stage of a restore was seen, from the request on."""


async def rows(quick: bool) -> list[Row]:
    """An idle node, a full one, and three states of the voice and of a pod with a model."""
    pairs, ways, cycles = (8, 2, 1) if quick else (100, 20, 10)
    try:
        with progress.step("install the platform"), platform("parked", "parked.enabled=true") as k:
            async with Starts.watching(k) as starts, Parking.watching(k) as parking:
                found = await _measured(starts, parking, pairs, ways, cycles)
    except NoClusterError as error:
        goal = f"≤ {MEDIAN_GOAL} x"
        found = [unmeasured(FIRST, "pairs in turns", str(error), goal, "parked")]
    return [*found, hourly_row()]


async def _measured(
    starts: Starts, parking: Parking, pairs: int, ways: int, cycles: int
) -> list[Row]:
    kubectl = parking.kubectl
    found: list[Row] = []
    restores: list[dict[str, float]] = []
    for subject in (echo(), voice(kubectl)):
        await subject.install(kubectl, subject.warm, subject.waits, *subject.pools)
        with progress.step(f"{subject.name}: parked and warm"):
            idle = await _pairs(parking, subject, pairs)
        found += _first_rows(subject, idle)
        restores += idle.restores
        one, *others = subject.pools
        subject.remove(kubectl, *others)
        with progress.step(f"{subject.name}: a full node"):
            found += _full_rows(subject, await full_node.measure(parking, subject, ways))
        subject.remove(kubectl, subject.warm, subject.waits)
        if subject.name == "voice":
            found.append(await _states_row(starts, parking, subject, cycles))
        subject.remove(kubectl, one)
    large = model()
    await large.install(kubectl, *large.pools)
    found.append(await _states_row(starts, parking, large, max(1, cycles // 2)))
    kubectl("exec", f"deployment/{large.pools[0]}", "--", "rm", "/model/weights")
    return [*found, *_restore_rows(restores)]


async def _pairs(parking: Parking, subject: Subject, number: int) -> Answers:
    """A parked pool and a warm pod in turns, each through its Service."""
    kubectl = parking.kubectl
    address = {n: (service_ip(kubectl, n), 80) for n in (*subject.pools, subject.warm)}
    answers = Answers()
    for turn in range(-len(subject.pools), number):
        pool = subject.pools[turn % len(subject.pools)]
        await parking.is_parked(pool)
        await asyncio.sleep(SETTLE)
        for is_parked in (True, False) if turn % 2 else (False, True):
            if is_parked:
                parked, restore = await _restored(parking, subject, pool, address[pool])
            else:
                with Shares(parking.uid(subject.warm)):
                    warm = await subject.first(address[subject.warm])
            await asyncio.sleep(0.2)
        if turn >= 0:  # the first of each pool warm the caches
            answers.parked.append(parked)
            answers.warm.append(warm)
            answers.restores.append(restore)
            progress.say(f"  {turn + 1}: parked {amount(parked)}, warm {amount(warm)}")
    return answers


async def _restored(
    parking: Parking, subject: Subject, pool: str, address: tuple[str, int]
) -> tuple[float, dict[str, float]]:
    """The first answer of a parked pool, and when the stages of its restore were seen."""
    before = parking.pool(pool).get("demand")
    with Shares(parking.uid(pool)) as shares:
        seen = {
            "announced": lambda: parking.pool(pool).get("demand") != before,
            "resize written": lambda: parking.requested(pool) == CPU,
            "status of the pod": lambda: parking.applied(pool) == CPU,
        }
        stages = {
            name: asyncio.create_task(parking.seen(holds, RESTORED_WITHIN))
            for name, holds in seen.items()
        }
        await asyncio.sleep(0)
        began = time.perf_counter()
        took = await subject.first(address)
        await stages["status of the pod"]
    stages["announced"].cancel()
    await asyncio.gather(*stages.values(), return_exceptions=True)
    ends = {name: seen.result() for name, seen in stages.items() if not seen.cancelled()}
    if shares.changed_at is not None:
        ends["control group"] = shares.changed_at
    return took, {name: at - began for name, at in ends.items()}


async def _states(starts: Starts, parking: Parking, subject: Subject, number: int) -> Answers:
    """One pool from asleep, then from parked, then warm; again and again."""
    pool, answers = subject.pools[0], Answers()
    address = service_ip(parking.kubectl, pool)
    for turn in range(-1, number):
        await starts.to_sleep(pool)
        asleep = (await starts.wake(address, pool, subject.raw)).first
        await parking.is_parked(pool)
        await asyncio.sleep(SETTLE)
        parked = await subject.first((address, 80))
        await parking.is_restored(pool, CPU)
        warm = await subject.first((address, 80))
        if turn >= 0:  # the first warms the caches
            answers.asleep.append(asleep)
            answers.parked.append(parked)
            answers.warm.append(warm)
            said = f"asleep {amount(asleep)}, parked {amount(parked)}, warm {amount(warm)}"
            progress.say(f"  {turn + 1}: {said}")
    return answers


def _first_rows(subject: Subject, answers: Answers) -> list[Row]:
    parked, warm = Samples.of(answers.parked), Samples.of(answers.warm)
    announced = sum("announced" in restore for restore in answers.restores)
    how = (
        f"{subject.name}, an idle node; pairs in turns, each on a new connection to the Service;"
        f" {announced} of {len(parked)} through an activator, the others straight to the pod"
    )
    ratio, above = parked.median / warm.median, 1000 * (parked.p99 - warm.p99)
    return [
        Row(
            f"{subject.name}, {FIRST}",
            f"{how}; warm {warm.text} ({warm.spread})",
            parked.text,
            parked.spread,
            len(parked),
            f"≤ {MEDIAN_GOAL} x",
            ratio,
            ratio <= MEDIAN_GOAL,
            AGAIN,
        ),
        Row(
            f"{subject.name}, the same: p99 above that of a warm pod, in ms",
            f"{how}; p99 of warm {amount(warm.p99)}",
            amount(parked.p99),
            parked.spread,
            len(parked),
            f"≤ {TAIL_GOAL:.0f} ms",
            above,
            above <= TAIL_GOAL,
            AGAIN,
        ),
    ]


def _full_rows(subject: Subject, times: full_node.Times) -> list[Row]:
    """Each way against a pod that was never reduced."""
    warm = Samples.of(times[WARM])
    how = (
        "every core is busy with a pod that requests what others leave of it; in turns;"
        f" {WARM}: {warm.text} ({warm.spread})"
    )
    found = []
    for way in (FOUND, ANNOUNCED, WAITED, NO_ROOM):
        took = Samples.of(times[way])
        ratio = took.median / warm.median
        what = f"{subject.name}, a full node: {way}"
        found.append(Row(what, how, took.text, took.spread, len(took), "", ratio, None, AGAIN))
    return found


async def _states_row(starts: Starts, parking: Parking, subject: Subject, number: int) -> Row:
    with progress.step(f"{subject.name}: asleep, parked, warm"):
        answers = await _states(starts, parking, subject, number)
    asleep, parked, warm = map(Samples.of, (answers.asleep, answers.parked, answers.warm))
    how = (
        f"one pool, in turns; asleep {asleep.text} ({asleep.spread}), warm {warm.text}"
        f" ({warm.spread})"
    )
    what = f"{subject.name}: first answer from parked ÷ from asleep"
    ratio = parked.median / asleep.median
    return Row(what, how, parked.text, parked.spread, len(parked), "", ratio, None, AGAIN)


def _restore_rows(restores: list[dict[str, float]]) -> list[Row]:
    """How long requests take to be full again: after an announcement, and after a look."""
    found = []
    for what, some in (
        ("after an announcement", [r for r in restores if "announced" in r]),
        ("after the operator's look", [r for r in restores if "announced" not in r]),
    ):
        if some:
            took = Samples.of(r["status of the pod"] for r in some)
            how = f"an idle node; from the request on, of it {parts(some, STAGES)}"
            name = f"full requests of a parked pod again, {what}"
            found.append(Row(name, how, took.text, took.spread, len(took), "", None, None, AGAIN))
    return found


if __name__ == "__main__":
    main(rows)
