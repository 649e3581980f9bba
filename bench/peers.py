"""Kotatsu and others that scale to zero, one after the other on this node; only when asked for.

All run the same pods and get the same requests from this machine. peers.yaml says how each is set
up; one that cannot be had, installed or measured is a row that says why.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import uvloop

from burst import AT_ONCE, COST_MS, burst
from cluster import NoClusterError
from coldstart import SETTLE, app_of
from http1 import Address, Client, connect, hammer, request
from report import Row
from samples import Samples, amount
from systems import APPS, FAILURES, PLAIN, PRE_STOP, SOON, Installed, System, installed, read
from topic import again, main, progress, unmeasured

ON_REQUEST = True
SECONDS = 10800
AGAIN = again("peers")
APP, OTHER = APPS[:2]
AFTERMATH = 2.5
"""Seconds for what a start leaves to do: on two cores it would be part of the next one."""
WARMED = 10.0
"""Seconds after a start until new connections go where they go from then on."""
CONNECTIONS = 16
SPREAD = 30.0
"""Pauses of the cycles differ by so many seconds at the most. With less, Kotatsu would keep apps
awake, because most of their sleeps would be ended soon (decision 63). Where apps sleep sooner, less
is enough."""
NO_GAUGE = "no gauge"
"""The configuration for apps that tell nothing; KEDA's need not (see no_gauge.py)."""
PATIENCE = 60.0
"""Seconds after which a request counts as lost."""
FRAME = b"\x81\x85\x00\x00\x00\x00quiet"
"""A text of a WebSocket's client."""


@dataclass(frozen=True)
class Sizes:
    """How often what is measured."""

    cold: int
    cycles: dict[str, int]
    """By configuration; 0: not at all."""
    bursts: int
    loads: int
    idle: float
    """Seconds before memory is looked at."""
    quiet: float
    """Seconds of the long request, and of a WebSocket's silence."""
    kills: int


FULL = Sizes(20, {"default": 5, "tuned": 200, NO_GAUGE: 100}, 5, 20, 30, 90, 3)
QUICK = Sizes(2, {"default": 0, "tuned": 8, NO_GAUGE: 8}, 1, 2, 5, 10, 1)


async def rows(quick: bool) -> list[Row]:
    """Each system as its documents install it, then each tuned, in the other order."""
    systems = raced_systems()
    raced = [system for system in systems if not system.missing]
    found: list[Row] = []
    for name, some in (("default", raced), ("tuned", raced[::-1])):
        for system in some:
            found += await race(system, name, quick)
    found.sort(key=lambda row: row.what.partition(":")[0])  # all of a kind together
    elsewhere = "one run elsewhere, on Kubernetes 1.34.4: "
    missing = [(s.name, s.missing, elsewhere + s.once) for s in systems if s.missing]
    return [*found, *(not_raced(*one) for one in missing)]


def not_raced(name: str, why: str, how: str = "") -> Row:
    """The row of a system that cannot be had or installed."""
    return unmeasured(f"not raced: {name}", how, why, "", "peers")


def raced_systems() -> list[System]:
    """What peers.yaml has: also those that cannot be had."""
    return read(Path(__file__).with_name("peers.yaml").read_text())


async def race(system: System, name: str, quick: bool, command: str = AGAIN) -> list[Row]:
    """All that is measured of one system in one configuration, by this command."""
    title, sizes = f"{system.name}, {name}", QUICK if quick else FULL
    found: list[Row] = []
    async with AsyncExitStack() as stack:
        try:
            with progress.step(f"{title}: install"):
                holding = installed(system, system.configurations[name])
                race = Race(await stack.enter_async_context(holding), title, command)
        except (NoClusterError, *FAILURES) as error:
            return [not_raced(title, _why(error))]
        for what, measure in race.measures(sizes, sizes.cycles[name]).items():
            with progress.step(f"{title}: {what}"):
                try:
                    seen = await measure()
                except FAILURES as error:
                    why = _why(error)
                    seen = [unmeasured(f"{what}: {title}", "it ended early", why, "", "peers")]
            for row in seen:
                progress.say(f"  {row.what}: {row.median} ({row.spread})")
            found += seen
    return found


def _why(error: BaseException) -> str:
    return f"{error}".strip() or type(error).__name__


class Race:
    """What is measured of a system that is installed."""

    def __init__(self, it: Installed, title: str, command: str = AGAIN) -> None:
        self.it, self.title, self._command = it, title, command
        self._chance = random.Random(1)  # noqa: S311  (the same pauses in every run)

    def measures(self, sizes: Sizes, cycles: int) -> dict[str, Callable[[], Awaitable[list[Row]]]]:
        """What is measured, in this order; the last two only where apps sleep soon."""
        found: dict[str, Callable[[], Awaitable[list[Row]]]] = {
            # Before any load: KEDA starts more interceptors under it, and keeps them for a while.
            "memory": lambda: self.memory(sizes.idle),
            "cold": lambda: self.cold(sizes.cold),
            "burst": lambda: self.burst(sizes.bursts),
            "warm": lambda: self.warm(sizes.loads),
        }
        if cycles:
            found["cycles"] = lambda: self.cycles(cycles)
        if self.it.configuration.idle <= SOON:
            found["quiet"] = lambda: self.quiet(sizes.quiet)
            found["killed"] = lambda: self.killed(sizes.kills)
        return found

    def row(
        self, what: str, how: str, text: str, spread: str, runs: int, ratio: float | None = None
    ) -> Row:
        """A row of this system; there are no goals for others."""
        return Row(f"{what}: {self.title}", how, text, spread, runs, "", ratio, None, self._command)

    async def ask(self, app: str = APP, path: str = "/", within: float = PATIENCE) -> float | None:
        """Seconds to the answer over a new connection; None when it is lost or not 200."""
        raw = request("GET", path, Host=app, Connection="close")
        began, client = time.perf_counter(), None
        try:
            async with asyncio.timeout(within):
                client = await Client.connect(self.it.addresses[app])
                answer = await client.ask(raw)
        except OSError as error:
            progress.say(f"  {app}: lost after {amount(time.perf_counter() - began)}: {error!r}")
            return None
        finally:
            if client is not None:
                client.close()
        return time.perf_counter() - began if answer.status == 200 else None

    async def _floor(self) -> tuple[float, Address]:
        """Start a pod without any system; seconds to its answer, and its address."""
        raw = request("GET", "/", Connection="close")
        start, pod = await self.it.starts.floor_and_address(PLAIN, PLAIN, raw)
        return start.seconds, (pod, 8080)

    async def _plain_down(self) -> None:
        await self.it.starts.down(PLAIN, PLAIN)
        await asyncio.sleep(AFTERMATH)

    async def cold(self, number: int) -> list[Row]:
        """Cold requests, and starts without any system, in turns."""
        took: list[float | None] = []
        floors = []
        await self.it.asleep(APP)
        for turn in range(-1, number):
            seconds = await self.ask()
            await self.it.asleep(APP)
            floor, _ = await self._floor()
            await self._plain_down()
            if turn >= 0:  # the first warms the caches
                took.append(seconds)
                floors.append(floor)
                progress.say(f"  {turn + 1}: {_text(seconds)}, floor {amount(floor)}")
        answered = Samples.of(seconds for seconds in took if seconds is not None)
        base = Samples.of(floors)
        how = (
            f"cold request to answer, ratio to the floor of {base.text} ({base.spread}), in turns;"
            f" {took.count(None)} of {number} lost"
        )
        spread = f"p99 {amount(answered.p99)}, {answered.spread}"
        ratio = answered.median / base.median
        return [self.row("cold", how, answered.text, spread, len(answered), ratio)]

    async def cycles(self, number: int) -> list[Row]:
        """Light steady traffic to all apps, whose pauses are such that they sleep in between."""
        wakes, idle = self.it.starts.wakes, self.it.configuration.idle
        longest = idle + min(SPREAD, 3 * idle + 3)
        before = sum(wakes[app] for app in APPS)
        end = time.monotonic() + 300 + 2 * number * (idle + 10) / min(number, len(APPS))
        answers: list[float | None] = []

        async def traffic(app: str) -> None:
            while sum(wakes[a] for a in APPS) < before + number and time.monotonic() < end:
                answers.append(await self.ask(app))
                await asyncio.sleep(self._chance.uniform(idle, longest))

        await self.it.asleep(*APPS)
        await asyncio.gather(*map(traffic, APPS))
        seen = sum(wakes[app] for app in APPS) - before
        lost, sent = answers.count(None), len(answers)
        how = (
            f"{len(APPS)} apps, a request to each {idle:g} to {longest:g} s after its last"
            f" answer, where {idle:g} s without one is idle; a pod that is to end answers for"
            f" {PRE_STOP} s; lost: no 200 within {PATIENCE:g} s"
        )
        answered = Samples.of(seconds for seconds in answers if seconds is not None)
        spread = f"{seen} wakes; answers {answered.text} ({answered.spread})"
        return [self.row("cycles", how, f"{lost} of {sent} lost", spread, seen)]

    async def burst(self, number: int) -> list[Row]:
        """All at once to a sleeping app, and to a pod that has just started."""
        raw = request("GET", f"/?ms={COST_MS}", Host=APP, Connection="close")
        took, alone, lost = [], [], 0
        for turn in range(-1, number):
            await self.it.asleep(APP)
            seconds, unanswered = await burst(self.it.addresses[APP], raw)
            await self.it.asleep(APP)
            floor, pod = await self._floor()
            at_pod, _ = await burst(pod, raw)
            await self._plain_down()
            lost += unanswered
            if turn >= 0:
                took.append(seconds)
                alone.append(floor + at_pod)
        last, base = Samples.of(took), Samples.of(alone)
        how = (
            f"{AT_ONCE} requests at once from zero, {COST_MS} ms of CPU each: the last answer,"
            f" ratio to a pod alone ({base.text}); {lost} of {AT_ONCE * (number + 1)} lost"
        )
        return [self.row("burst", how, last.text, last.spread, number, last.median / base.median)]

    async def warm(self, number: int) -> list[Row]:
        """Load through the system and straight to the same pod, in turns."""
        rates: dict[str, list[float]] = {"through": [], "direct": []}
        failed = 0
        # The app does not sleep while its pod is asked directly.
        awake = asyncio.create_task(self.ask(path="/wait?s=600", within=600))
        try:
            await asyncio.sleep(WARMED)
            addresses = {"through": self.it.addresses[APP], "direct": self._pod()}
            clients = {way: await connect(there, CONNECTIONS) for way, there in addresses.items()}
            for turn in range(-1, number):
                for way in sorted(rates, reverse=bool(turn % 2)):
                    load = await hammer(clients[way], [request("GET", "/", Host=APP)], 1.0)
                    failed += load.failed
                    if turn >= 0:
                        rates[way].append(load.per_second)
            for client in (client for some in clients.values() for client in some):
                client.close()
        finally:
            awake.cancel()
        turns = zip(rates["through"], rates["direct"], strict=True)
        ratio = Samples.of((through / direct for through, direct in turns), "")
        base = Samples.of(rates["direct"], "requests/s")
        how = (
            f"requests/s over {CONNECTIONS} kept connections, ratio to those straight to the pod"
            f" ({base.text}) in turns; ratios {ratio.spread}; {failed} failed"
        )
        through = Samples.of(rates["through"], "requests/s")
        return [self.row("warm", how, through.text, through.spread, number, ratio.median)]

    def _pod(self) -> Address:
        """The address of the app's pod, or of one of them."""
        pods = (pod for pod in self.it.starts.pods.values() if app_of(pod) == APP)
        return next(pod.ip for pod in pods if pod.ip and not pod.terminating), 8080

    async def memory(self, seconds: float) -> list[Row]:
        """What the system's processes hold while all apps sleep."""
        await self.it.asleep(*APPS)
        await asyncio.sleep(seconds)
        names = sorted(pod["metadata"]["name"] for pod in self.it.pods())
        how = f"resident memory of all its processes while {len(APPS)} apps sleep"
        return [self.row("memory", how, f"{self.it.memory():.0f} MB", ", ".join(names), 1)]

    async def quiet(self, seconds: float) -> list[Row]:
        """A long request and a quiet WebSocket, each the only thing its app has to do."""
        await self.it.asleep(APP, OTHER)
        within = seconds + PATIENCE
        answered, websocket = await asyncio.gather(
            self.ask(APP, f"/wait?s={seconds:g}", within),
            quiet_websocket(self.it.addresses[OTHER], OTHER, seconds),
        )
        how = f"alone at an app that sleeps after {self.it.configuration.idle:g} s"
        said = "lost" if answered is None else f"answered after {amount(answered)}"
        return [
            self.row(f"request of {seconds:g} s", how, said, "", 1),
            self.row(f"WebSocket quiet for {seconds:g} s", how, websocket, "", 1),
        ]

    async def killed(self, number: int) -> list[Row]:
        """A cold request right after all processes of a part were killed; for each part."""
        found = []
        for part in self.it.system.parts:
            said, lost = [], 0
            for _ in range(number):
                await self.it.asleep(APP)
                self.it.kill(part)
                began = time.perf_counter()
                tries = 1
                while await self.ask() is None and time.perf_counter() < began + 5 * PATIENCE:
                    tries += 1
                    await asyncio.sleep(0.2)
                lost += tries > 1
                said.append(f"{amount(time.perf_counter() - began)}, request {tries}")
                await self.it.recovered(part)
            how = (
                "SIGKILL to all its processes while the app sleeps, and a cold request at once;"
                f" while none is answered, the next one; {5 * PATIENCE:g} s at the most"
            )
            text = f"the first lost {lost} of {number} times"
            found.append(self.row(f"killed, {part}", how, text, "; ".join(said), number))
        return found


def _text(seconds: float | None) -> str:
    return "lost" if seconds is None else amount(seconds)


async def quiet_websocket(address: Address, host: str, seconds: float) -> str:
    """Open a WebSocket, leave it alone and send something then; what became of it."""
    began, silence = time.perf_counter(), "no answer"
    raw = request(
        "GET",
        "/",
        Host=host,
        Connection="Upgrade",
        Upgrade="websocket",
        Sec_WebSocket_Version="13",
        Sec_WebSocket_Key="a29ra29ra29ra29ra29rbw==",
    )
    try:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(raw)
        async with asyncio.timeout(PATIENCE):
            status = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode()
        if status != "101":
            return f"refused with {status}"
        silence = "closed"
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await reader.readexactly(1)
        writer.write(FRAME)
        async with asyncio.timeout(SETTLE):
            back = await reader.readexactly(len(FRAME))
        writer.close()
    except (OSError, asyncio.IncompleteReadError):
        return f"{silence} after {amount(time.perf_counter() - began)}"
    return "open, and answers" if back == FRAME else "something else came back"


if __name__ == "__main__":
    uvloop.install()
    main(rows)
