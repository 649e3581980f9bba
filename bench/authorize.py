"""GET /authorize for 1,000 clients: what reaches GitHub, and what a cached answer costs."""

import asyncio
import json
from collections.abc import Sequence

import uvloop

from http1 import Connection, Load, connect, hammer, request
from report import Row
from samples import Samples, amount
from services import Running, running
from topic import again, main, progress

CLIENTS = 1000
EACH = 3
"""Connections that ask for the same token at once."""
AGAIN = again("authorize")
TTL = 3600
HEALTH = request("GET", "/livez")


def ask(client: int) -> bytes:
    """The request of one of the clients, each of whom has a token of its own."""
    return request("GET", "/authorize", Authorization=f"Bearer demo-{client}")


async def rows(quick: bool) -> list[Row]:
    """Auth as a process, the stand-in for GitHub as another."""
    turns, seconds = (2, 1.0) if quick else (8, 2.0)
    with running("kotatsu_github_stub", {}) as github:
        settings = {
            "KOTATSU_GITHUB_CLIENT_ID": "bench",
            "KOTATSU_GITHUB_CLIENT_SECRET": "bench",
            "KOTATSU_GITHUB_API_URL": github.url,
            "KOTATSU_GITHUB_OAUTH_URL": github.url,
            "KOTATSU_GITHUB_TIMEOUT": "60",
            "KOTATSU_TOKEN_TTL": str(TTL),
        }
        with running("kotatsu_auth", settings) as auth:
            return await _measure(auth, github, turns, seconds)


async def _measure(auth: Running, github: Running, turns: int, seconds: float) -> list[Row]:
    raw = [ask(number) for number in range(CLIENTS)]
    with progress.step(f"{EACH} connections for each of {CLIENTS} tokens, all at once"):
        first = await _storm(auth, raw)
    calls = _asked(github)
    clients = await connect(auth.address, CLIENTS)
    health: list[Load] = []
    cached: list[Load] = []
    for turn in range(-1, turns):
        base = await hammer(clients, [HEALTH], seconds)
        answers = await hammer(clients, raw, seconds)
        if turn >= 0:
            health.append(base)
            cached.append(answers)
    for client in clients:
        client.close()
    return [_upstream(first, calls, _asked(github), cached), _cached(health, cached)]


async def _storm(auth: Running, raw: Sequence[bytes]) -> list[float]:
    clients = await connect(auth.address, CLIENTS * EACH)
    answers = await asyncio.gather(
        *(client.ask(raw[number % CLIENTS]) for number, client in enumerate(clients))
    )
    for client in clients:
        client.close()
    refused = [answer.status for answer in answers if answer.status != 200]
    if refused:
        raise RuntimeError(f"{len(refused)} answers were not 200, such as {refused[0]}")
    return [answer.seconds for answer in answers]


def _asked(github: Running) -> int:
    """How often the stand-in was asked who a token is."""
    with Connection(github.address) as connection:
        control = json.loads(connection.ask(request("GET", "/_stub/control")).body)
    return int(control["counted"].get("user", 0))


def _upstream(first: list[float], calls: int, later: int, cached: list[Load]) -> Row:
    took = Samples.of(first)
    answered = sum(len(load.latencies) for load in cached)
    per_token = later / CLIENTS
    how = (
        f"{EACH} connections each at once, nothing cached (times are of these); {calls} questions"
        f" for {len(first):,} requests, and {later - calls} for {answered:,} more within the TTL"
    )
    return Row(
        f"questions to GitHub for each of {CLIENTS:,} tokens within its TTL",
        how,
        took.text,
        took.spread,
        len(first),
        "≤ 1 per token and TTL",
        per_token,
        per_token <= 1,
        AGAIN,
    )


def _cached(health: list[Load], cached: list[Load]) -> Row:
    """The medians of the turns' p99, which all 1,000 clients see."""
    base = Samples.of(load.latencies.p99 for load in health)
    ours = Samples.of(load.latencies.p99 for load in cached)
    turns = zip(health, cached, strict=True)
    ratio = Samples.of((b.latencies.p99 / a.latencies.p99 for a, b in turns), "")
    rate = Samples.of((load.per_second for load in cached), "requests/s")
    failed = sum(load.failed for load in cached)
    how = (
        f"{CLIENTS:,} connections without a pause, in turns with /livez, whose p99 is {base.text};"
        f" {amount(rate.median, 'requests/s')}, {failed} failed; ratio of each turn: {ratio.spread}"
    )
    return Row(
        "a cached /authorize ÷ /livez, p99",
        how,
        ours.text,
        ours.spread,
        len(ours),
        "≤ 2 x",
        ratio.median,
        failed == 0 and ratio.median <= 2,
        AGAIN,
    )


if __name__ == "__main__":
    uvloop.install()
    main(rows)
