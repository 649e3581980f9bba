"""Parked pods: their first answer against that of warm and of sleeping ones, and their price."""

import asyncio
from dataclasses import dataclass, field

import full_node
from cluster import NoClusterError, platform, service_ip
from coldstart import SETTLE, Starts
from full_node import ANNOUNCED, FOUND, NO_ROOM, WAITED, WARM
from hourly import hourly_row
from parking import Parking, Shares
from report import Row
from samples import Samples, amount, parts
from subjects import APPLIED, CPU, STAGES, First, Subject, echo, model, restored, voice
from topic import again, main, progress, unmeasured

AGAIN = again("parked")
FIRST = "parked: first answer ÷ that of a warm pod"
MEDIAN_GOAL, TAIL_GOAL = 1.1, 50.0


@dataclass
class Answers:
    """First answers of one app in its states, in seconds."""

    asleep: list[float] = field(default_factory=list)
    parked: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    restores: list[dict[str, float]] = field(default_factory=list)
    """The stages of the parked pods' restores."""


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
    try:
        found.append(await _states_row(starts, parking, large, max(1, cycles // 2)))
    finally:
        kubectl("exec", f"deployment/{large.pools[0]}", "--", "rm", "/model/weights", check=False)
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
                parked = await restored(parking, subject, pool, address[pool])
            else:
                with Shares(parking.uid(subject.warm)):
                    warm = await subject.first(address[subject.warm])
            await asyncio.sleep(0.2)
        if turn >= 0:  # the first of each pool warm the caches
            answers.parked.append(parked.seconds)
            answers.warm.append(warm)
            answers.restores.append(parked.restore)
            progress.say(f"  {turn + 1}: parked {amount(parked.seconds)}, warm {amount(warm)}")
    return answers


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
    announced = sum(STAGES[0] in restore for restore in answers.restores)
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


def _full_rows(subject: Subject, answers: dict[str, list[First]]) -> list[Row]:
    """Each way against a pod that was never reduced."""
    warm = Samples.of(first.seconds for first in answers[WARM])
    how = (
        "every core is busy with a pod that requests what others leave of it; in turns;"
        f" {WARM}: {warm.text} ({warm.spread})"
    )
    found = []
    for way in (FOUND, ANNOUNCED, WAITED, NO_ROOM):
        took = Samples.of(first.seconds for first in answers[way])
        ratio = took.median / warm.median
        what = f"{subject.name}, a full node: {way}"
        told = _restores([first.restore for first in answers[way]])
        found.append(
            Row(what, f"{how}{told}", took.text, took.spread, len(took), "", ratio, None, AGAIN)
        )
    return found


def _restores(restores: list[dict[str, float]]) -> str:
    """How long the stages took until the requests were full, where they became so."""
    full = [restore for restore in restores if APPLIED in restore]
    if not full:
        return ""
    took = Samples.of(restore[APPLIED] for restore in full)
    share = f"{len(full)} of {len(restores)}"
    return f"; full requests after {took.text} ({share}), of it {parts(full, STAGES)}"


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
    """The time to full requests: after an announcement, and after the operator's look."""
    found = []
    for what, some in (
        ("announced", [r for r in restores if STAGES[0] in r]),
        ("found by the operator's look", [r for r in restores if STAGES[0] not in r]),
    ):
        if took := [r[APPLIED] for r in some if APPLIED in r]:
            all_of = Samples.of(took)
            how = f"an idle node, seconds from the request on{_restores(some)}"
            name = f"parked: request → full requests, {what}"
            row = Row(name, how, all_of.text, all_of.spread, len(took), "", None, None, AGAIN)
            found.append(row)
    return found


if __name__ == "__main__":
    main(rows)
