"""The first answer of a pool from asleep, from parked and warm: the voice, and a large model."""

import asyncio
from dataclasses import dataclass, field

from cluster import NoClusterError, platform, service_ip
from coldstart import SETTLE, Starts
from kotatsu_operator.controller.reconciler import BEAT
from parking import Parking
from report import Row
from samples import Samples, amount
from subjects import CPU, Subject, model, voice
from topic import again, main, progress, unmeasured

AGAIN = again("states")
PAUSE = 1.0
"""Seconds before the warm request: idle cores, as before the parked one, and not parked again."""
WHAT = "first answer from parked ÷ from asleep"


@dataclass
class Answers:
    """First answers of one pool in its states, in seconds."""

    asleep: list[float] = field(default_factory=list)
    parked: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)


async def rows(quick: bool) -> list[Row]:
    """The voice, and an app that loads 2 GB."""
    cycles = (1, 1) if quick else (10, 5)
    try:
        with platform("states", "parked.enabled=true") as k:
            async with Starts.watching(k) as starts, Parking.watching(k) as parking:
                return await _measured(starts, parking, cycles)
    except NoClusterError as error:
        return [unmeasured(WHAT, "one pool, in turns", str(error), "", "states")]


async def _measured(starts: Starts, parking: Parking, cycles: tuple[int, int]) -> list[Row]:
    kubectl, found = parking.kubectl, []
    for subject, number in zip((voice(kubectl), model()), cycles, strict=True):
        pool = subject.pools[0]
        await subject.install(kubectl, pool)
        try:
            with progress.step(f"{subject.name}: asleep, parked, warm"):
                found.append(_row(subject, await _states(starts, parking, subject, number)))
        finally:
            subject.remove(kubectl, pool)
    return found


async def _states(starts: Starts, parking: Parking, subject: Subject, number: int) -> Answers:
    """One pool from asleep, then from parked, then warm; again and again."""
    pool, answers = subject.pools[0], Answers()
    address = service_ip(parking.kubectl, pool)
    for turn in range(-1, number):
        await starts.to_sleep(pool)
        asleep = (await starts.wake(address, pool, subject.raw)).first
        await subject.first((address, 80))  # what a pod does only once is part of its start
        await parking.is_parked(pool)
        # Each turn at another moment between two looks of the operator at a parked pool.
        await asyncio.sleep(SETTLE + BEAT.total_seconds() * turn / number)
        parked = await subject.first((address, 80))
        await parking.is_restored(pool, CPU)
        await asyncio.sleep(PAUSE)
        warm = await subject.first((address, 80))
        if turn >= 0:  # the first warms the caches
            answers.asleep.append(asleep)
            answers.parked.append(parked)
            answers.warm.append(warm)
            said = f"asleep {amount(asleep)}, parked {amount(parked)}, warm {amount(warm)}"
            progress.say(f"  {turn + 1}: {said}")
    return answers


def _row(subject: Subject, answers: Answers) -> Row:
    asleep, parked, warm = map(Samples.of, (answers.asleep, answers.parked, answers.warm))
    how = (
        f"one pool, in turns; asleep {asleep.text} ({asleep.spread}), warm {warm.text}"
        f" ({warm.spread})"
    )
    what = f"{subject.name}: {WHAT}"
    ratio = parked.median / asleep.median
    return Row(what, how, parked.text, parked.spread, len(parked), "", ratio, None, AGAIN)


if __name__ == "__main__":
    main(rows)
