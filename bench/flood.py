"""Wakes of one team's pools beside a flood on another's, and beside one that is not ours.

A flood and the server that answers it take a part of two cores wherever it goes. What shared
activators add to that is the difference. The install is small, the pools stay awake, and there is
time between the wakes: the work for other pools would be longer than what is measured.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from kotatsu_node.errors import NodeError
from report import Row
from samples import Samples, amount
from simulation.install import HOW, Endpoint, installed
from simulation.wakes import wake_up
from topic import again, main, progress, unmeasured

WHAT = "a wake beside a flood on another namespace, p99 more than beside one that is not ours"
GOAL = "≤ 10 ms"
AGAIN = again("flood")
A_SECOND = 500
EACH = 10
PAUSE = 0.3
"""Seconds between two wakes."""
TURNS = 8


async def rows(quick: bool) -> list[Row]:
    """So many wakes beside each of both."""
    wakes = 20 if quick else 200
    try:
        return [_judged(*await _measured(wakes))]
    except NodeError as error:
        return [unmeasured(WHAT, HOW, str(error), GOAL, "flood")]


async def _measured(wakes: int) -> tuple[list[float | None], list[float | None]]:
    """Seconds of the wakes beside a flood elsewhere and on another team; None: not answered."""
    namespaces = 2 * wakes // EACH + 1
    async with installed(namespaces, EACH, EACH * namespaces, 10, progress.say) as install:
        install.kubelet.per_second, install.kubelet.takes = 1e6, 0
        victim, *rest = install.pools[EACH - 1 :]
        install.kubelet.never.add(victim.name)
        with progress.step("all pools fall asleep"):
            await install.select(install.namespaces)
            await install.all_asleep()
            await install.edit(rest, {"idleAfter": "10m"}, 50)
            await install.at_rest()
        led = {pool: await install.endpoints(pool) for pool in [victim, *rest]}
        elsewhere, ours = list[float | None](), list[float | None]()
        with progress.step(f"{len(rest)} wakes beside {A_SECOND} connections a second"):
            for turn in range(TURNS):
                is_ours = bool(turn % 2)
                async with contextlib.nullcontext(led[victim]) if is_ours else _holding() as to:
                    at = (f"{host}:{port}" for host, port in to)
                    async with _program("flood.py", str(A_SECOND), *at):
                        await asyncio.sleep(3)
                        for pool in rest[turn::TURNS]:
                            wake = await wake_up(install, pool, led[pool])
                            seconds = wake.seconds if wake.answered else None
                            (ours if is_ours else elsewhere).append(seconds)
                            await asyncio.sleep(PAUSE)
        return elsewhere, ours


def _judged(elsewhere: list[float | None], ours: list[float | None]) -> Row:
    """The row of wakes that were made in turns."""
    base = Samples.of(seconds for seconds in elsewhere if seconds is not None)
    found = Samples.of(seconds for seconds in ours if seconds is not None)
    more, lost = found.p99 - base.p99, ours.count(None)
    return Row(
        WHAT,
        f"{HOW}; {A_SECOND} new connections a second to a pool whose pod does not start, in turns"
        f" with as many to a server that only holds them: {base.text}, {base.spread},"
        f" p99 {amount(base.p99)}",
        amount(more),
        f"{found.text}, {found.spread}, p99 {amount(found.p99)}; {lost} not answered",
        len(found),
        GOAL,
        1000 * more,
        more <= 0.01 and lost == 0,
        AGAIN,
    )


@contextlib.asynccontextmanager
async def _holding() -> AsyncIterator[Sequence[Endpoint]]:
    """A server in a process of its own that accepts connections and answers none."""
    async with _program("holding.py") as process:
        assert process.stdout
        yield [("127.0.0.1", int(await process.stdout.readline()))]


@contextlib.asynccontextmanager
async def _program(name: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program of the simulation that runs for the block, in a process of its own."""
    path = Path(__file__).parent / "simulation" / name
    command = ["setpriv", "--pdeathsig", "KILL", sys.executable, str(path), *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


if __name__ == "__main__":
    main(rows)
