"""Requests that all come at once to a sleeping pool: are all answered, and how late the last."""

import asyncio
import time

from cluster import App, NoClusterError, eventually, platform, service_ip
from coldstart import Starts, sleepy_pool, small_app
from http1 import Address, Client, request
from report import Row
from samples import Samples
from topic import again, main, progress, unmeasured

AT_ONCE = 500
COST_MS = 2
HOLD = "45s"
WHAT = f"{AT_ONCE} requests at once from zero: last answer ÷ what the pod alone needs"
HOW = (
    f"each takes {COST_MS} ms of CPU in one pod of one thread, holdTimeout {HOLD}; alone: start the"
    " pod without a pool, and send it the same requests at its first 200"
)
GOAL = "≤ 1.15 x"
GET = request("GET", f"/?ms={COST_MS}", Connection="close")


async def rows(quick: bool) -> list[Row]:
    """Bursts in turns: through a sleeping pool, and at a pod that has just started."""
    runs = 2 if quick else 8
    try:
        with platform("burst") as kubectl:
            async with Starts.watching(kubectl) as starts:
                return [_judged(*await _measure(starts, runs))]
    except NoClusterError as error:
        return [unmeasured(WHAT, HOW, str(error), GOAL, "burst")]


async def _measure(starts: Starts, runs: int) -> tuple[list[float], list[float], int]:
    kubectl = starts.kubectl
    kubectl.apply(*small_app("pooled"), *small_app("plain"))
    kubectl.apply(sleepy_pool("pooled", holdTimeout=HOLD))
    await eventually("the pool sleeps", lambda: App("pooled", kubectl).phase() == "Asleep")
    address = service_ip(kubectl, "pooled")
    await asyncio.sleep(5)
    ours, alone, lost = [], [], 0
    for number in range(-1, runs):
        took, unanswered = await burst((address, 80))
        await starts.to_sleep("pooled")
        start, pod = await starts.floor_and_address("plain", "plain", request("GET", "/"))
        at_pod, _ = await burst((pod, 8080))
        await starts.down("plain", "plain")
        await asyncio.sleep(1)
        lost += unanswered
        if number >= 0:
            ours.append(took)
            alone.append(start.seconds + at_pod)
            progress.say(f"  {number + 1}: {took:.2f} s, alone {alone[-1]:.2f} s")
    return ours, alone, lost


async def burst(address: Address, raw: bytes = GET) -> tuple[float, int]:
    """Send all at once; seconds to the last answer, and how many got none (or not 200)."""
    began = time.perf_counter()

    async def one() -> bool:
        try:
            client = await Client.connect(address)
            answer = await client.ask(raw)
            client.close()
        except OSError:
            return False
        return answer.status == 200

    async with asyncio.timeout(90):
        answered = await asyncio.gather(*(one() for _ in range(AT_ONCE)))
    return time.perf_counter() - began, answered.count(False)


def _judged(ours: list[float], alone: list[float], lost: int) -> Row:
    took, base = Samples.of(ours), Samples.of(alone)
    ratio = took.median / base.median
    answered = (
        "all answered" if lost == 0 else f"{lost} of {AT_ONCE * (len(ours) + 1)} not answered"
    )
    how = f"{HOW}: {base.text} ({base.spread}); {answered}"
    met = lost == 0 and ratio <= 1.15
    return Row(WHAT, how, took.text, took.spread, len(took), GOAL, ratio, met, again("burst"))


if __name__ == "__main__":
    main(rows)
