"""The warm path: requests through a Service whose pool is awake, against one without a pool."""

import asyncio

import uvloop

from cluster import App, NoClusterError, eventually, platform, service_ip
from coldstart import SETTLE, Starts, sleepy_pool, small_app
from http1 import Client, Load, connect, hammer, request
from report import Row
from samples import Samples, amount, digits
from topic import again, main, progress, unmeasured

CONNECTIONS = 16
RATE = "warm path: requests/s through the Service with a pool ÷ without"
TAIL = "warm path: p99 with a pool ÷ without"
PAIRS = 4
"""Two processes of one program differ by a tenth for as long as they run, so no ratio is of two."""
HOW = f"{PAIRS} pairs of pods of one image, {CONNECTIONS} keep-alive connections, in turns"
RATE_GOAL, TAIL_GOAL = "≥ 0.95: 1 within noise", "≤ 1.1: 1 within noise"
GET = request("GET", "/")


async def rows(quick: bool) -> list[Row]:
    """Load in turns."""
    turns, seconds = (4, 1.0) if quick else (20, 2.0)
    try:
        with platform("warm") as kubectl:
            async with Starts.watching(kubectl) as starts:
                with progress.step(f"{turns} turns of load"):
                    measured = await _measure(starts, turns, seconds)
                return _judged(*measured)
    except NoClusterError as error:
        return [
            unmeasured(RATE, HOW, str(error), RATE_GOAL, "warm_path"),
            unmeasured(TAIL, HOW, str(error), TAIL_GOAL, "warm_path"),
        ]


async def _measure(starts: Starts, turns: int, seconds: float) -> tuple[list[Load], list[Load]]:
    kubectl = starts.kubectl
    pairs = [{kind: f"{kind}-{number}" for kind in ("pooled", "plain")} for number in range(PAIRS)]
    names = [name for pair in pairs for name in pair.values()]
    for name in names:
        kubectl.apply(*small_app(name))
    kubectl.apply(*(sleepy_pool(pair["pooled"]) for pair in pairs))
    for pair in pairs:
        await eventually("its pool is kept", App(pair["pooled"], kubectl).phase)
    kubectl("scale", *(f"deployment/{name}" for name in names), "--replicas=1")
    for name in names:
        kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")
    for pair in pairs:
        await eventually(
            f"only {pair['pooled']}'s pod is an endpoint",
            lambda name=pair["pooled"]: _is_direct(starts, name),  # type: ignore[misc]
            60,
        )
    await asyncio.sleep(SETTLE)
    loads: dict[str, list[Load]] = {"pooled": [], "plain": []}
    clients: dict[str, list[Client]] = {
        name: await connect((service_ip(kubectl, name), 80), CONNECTIONS) for name in names
    }
    for turn in range(-1, turns):
        pair = pairs[turn % PAIRS]
        # Who comes first changes after a round of all pairs.
        order = ("pooled", "plain") if turn // PAIRS % 2 else ("plain", "pooled")
        for kind in order:
            load = await hammer(clients[pair[kind]], [GET], seconds)
            if turn >= 0:
                loads[kind].append(load)
        if turn >= 0:
            rates = ", ".join(f"{n} {digits(loads[n][-1].per_second)}/s" for n in loads)
            progress.say(f"  {turn + 1}: {rates}")
    for client in (client for some in clients.values() for client in some):
        client.close()
    return loads["pooled"], loads["plain"]


def _is_direct(starts: Starts, name: str) -> bool:
    """Whether the Service has the pod as its only endpoint."""
    selector = {"kubernetes.io/service-name": name}
    found = [
        endpoint
        for obj in starts.kubectl.items("endpointslices", **selector)
        for endpoint in obj.get("endpoints") or ()
        if endpoint["conditions"].get("ready")
    ]
    return len(found) == 1 and found[0]["targetRef"]["name"].startswith(f"{name}-")


def _judged(pooled: list[Load], plain: list[Load]) -> list[Row]:
    """The median of the turns' ratios: what the machine does meanwhile happens to both."""
    rates = Samples.of(load.per_second for load in pooled)
    turns = list(zip(pooled, plain, strict=True))
    ratio = Samples.of((a.per_second / b.per_second for a, b in turns), "")
    tails = Samples.of(load.latencies.p99 for load in pooled)
    other = Samples.of(load.latencies.p99 for load in plain)
    tail = Samples.of((a.latencies.p99 / b.latencies.p99 for a, b in turns), "")
    failed = sum(load.failed for load in pooled)
    answered = sum(len(load.latencies) for load in pooled)
    how = f"{HOW}; {failed} of {answered:,} answers failed"
    return [
        Row(
            RATE,
            f"{how}; ratio of each turn: {ratio.spread}",
            amount(rates.median, "requests/s"),
            Samples(rates.values, "requests/s").spread,
            len(turns),
            RATE_GOAL,
            ratio.median,
            failed == 0 and ratio.median >= 0.95,
            again("warm_path"),
        ),
        Row(
            TAIL,
            f"{HOW}; p99 of each turn; without a pool {other.text}",
            tails.text,
            tails.spread,
            len(turns),
            TAIL_GOAL,
            tail.median,
            tail.median <= 1.1,
            again("warm_path"),
        ),
    ]


if __name__ == "__main__":
    uvloop.install()
    main(rows)
