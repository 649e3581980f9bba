"""A cold request to a sleeping pool, against what Kubernetes alone needs to start the same pod."""

import asyncio

from cluster import App, NoClusterError, eventually, platform, service_ip
from coldstart import Start, Starts, sleepy_pool, small_app
from http1 import request
from report import Row
from samples import Samples, amount
from topic import again, main, progress, unmeasured

WHAT = "wake of a small app: cold request to answer ÷ floor"
TAIL = "the same at the 95th percentile"
HOW = "Python's asyncio alone; floor: patch the scale, ask the pod every 5 ms until its first 200"
GOAL, TAIL_GOAL = "≤ 1.05 x floor", "≤ 1.2 x floor"
PAIRS = 4
AFTERMATH = 2.5
"""Seconds for what the last start leaves to do: on two cores it would be part of the next one."""
GET = request("GET", "/")


async def rows(quick: bool) -> list[Row]:
    """Cold starts in turns: one through a pool, one without."""
    runs = 4 if quick else 40
    try:
        with platform("wake") as kubectl:
            async with Starts.watching(kubectl) as starts:
                with progress.step(f"{runs} wakes, and as many starts without a pool"):
                    measured = await _measure(starts, runs)
                return judged(*measured)
    except NoClusterError as error:
        missing = str(error)
        return [
            unmeasured(WHAT, HOW, missing, GOAL, "wake"),
            unmeasured(TAIL, HOW, missing, TAIL_GOAL, "wake"),
        ]


async def _measure(starts: Starts, runs: int) -> tuple[list[Start], list[Start]]:
    kubectl = starts.kubectl
    pooled = [f"pooled-{n}" for n in range(PAIRS)]
    plain = [f"plain-{n}" for n in range(PAIRS)]
    for name in (*pooled, *plain):
        kubectl.apply(*small_app(name))
    for name in pooled:
        kubectl.apply(sleepy_pool(name))
    for name in pooled:
        await eventually(f"{name} accepted", lambda n=name: App(n, kubectl).phase() == "Asleep")  # type: ignore[misc]
    addresses = {name: service_ip(kubectl, name) for name in pooled}
    await asyncio.sleep(5)
    floors: list[Start] = []
    wakes: list[Start] = []
    for number in range(-1, runs):
        ours, theirs = pooled[number % PAIRS], plain[number % PAIRS]
        for is_ours in (True, False) if number % 2 else (False, True):
            if is_ours:
                wake = await starts.wake(addresses[ours], ours, GET)
            else:
                floor = await starts.floor(theirs, theirs, GET)
            await asyncio.sleep(AFTERMATH)
            if not is_ours:
                await starts.down(theirs, theirs)
                await asyncio.sleep(AFTERMATH)
        if number >= 0:  # the first warms the caches
            wakes.append(wake)
            floors.append(floor)
            progress.say(f"  {number + 1}: {wake.seconds:.3f} s, floor {floor.seconds:.3f} s")
        if number % PAIRS == PAIRS - 1:
            with progress.step("back to sleep"):
                await starts.to_sleep(*pooled)
    return wakes, floors


def judged(wakes: list[Start], floors: list[Start]) -> list[Row]:
    """The rows of wakes and floors that were made in turns."""
    ours = Samples.of(start.seconds for start in wakes)
    floor = Samples.of(start.seconds for start in floors)
    how = f"{HOW}; floor {floor.text} ({floor.spread})"
    found = []
    for what, goal, bound, mine, base in (
        (WHAT, GOAL, 1.05, ours.median, floor.median),
        (TAIL, TAIL_GOAL, 1.2, ours.p95, floor.p95),
    ):
        ratio = mine / base
        text, runs = amount(mine), len(ours)
        met = ratio <= bound
        found.append(Row(what, how, text, ours.spread, runs, goal, ratio, met, again("wake")))
    return found


if __name__ == "__main__":
    main(rows)
