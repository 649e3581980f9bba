"""Parked pods: their first answer against that of warm ones, on an idle node, and their price."""

import asyncio
from dataclasses import dataclass, field

from cluster import NoClusterError, platform, service_ip
from coldstart import SETTLE
from hourly import hourly_row
from parking import Parking, Shares
from report import Row
from samples import Samples, amount
from subjects import APPLIED, STAGES, Subject, echo, restored, restores_text, voice
from topic import again, main, progress, unmeasured

AGAIN = again("parked")
FIRST = "parked: first answer ÷ that of a warm pod"
MEDIAN_GOAL, TAIL_GOAL = 1.1, 50.0


@dataclass
class Answers:
    """First answers of one app in two states, in seconds."""

    parked: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    restores: list[dict[str, float]] = field(default_factory=list)
    """The stages of the parked pods' restores."""


async def rows(quick: bool) -> list[Row]:
    """An app that does nothing but answer, and the voice."""
    number = 8 if quick else 100
    try:
        with platform("parked", "parked.enabled=true") as k:
            async with Parking.watching(k) as parking:
                found = await _measured(parking, number)
    except NoClusterError as error:
        goal = f"≤ {MEDIAN_GOAL} x"
        found = [unmeasured(FIRST, "pairs in turns", str(error), goal, "parked")]
    return [*found, hourly_row()]


async def _measured(parking: Parking, number: int) -> list[Row]:
    kubectl = parking.kubectl
    found: list[Row] = []
    restores: list[dict[str, float]] = []
    for subject in (echo(), voice(kubectl)):
        await subject.install(kubectl, subject.warm, *subject.pools)
        with progress.step(f"{subject.name}: parked and warm"):
            idle = await _pairs(parking, subject, number)
        found += _first_rows(subject, idle)
        restores += idle.restores
        subject.remove(kubectl, subject.warm, *subject.pools)
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


def _restore_rows(restores: list[dict[str, float]]) -> list[Row]:
    """The time to full requests: after an announcement, and after the operator's look."""
    found = []
    for what, some in (
        ("announced", [r for r in restores if STAGES[0] in r]),
        ("found by the operator's look", [r for r in restores if STAGES[0] not in r]),
    ):
        if took := [r[APPLIED] for r in some if APPLIED in r]:
            all_of = Samples.of(took)
            how = f"an idle node, seconds from the request on{restores_text(some)}"
            name = f"parked: request → full requests, {what}"
            row = Row(name, how, all_of.text, all_of.spread, len(took), "", None, None, AGAIN)
            found.append(row)
    return found


if __name__ == "__main__":
    main(rows)
