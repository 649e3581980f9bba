"""One install with 10,000 pools in 1,000 namespaces: labels, edits, wakes, windows, a roll.

API server, etcd and the controllers are real and run on this machine with the operator and two
activators; pods are pretended. With two numbers it runs once in that size: `.venv/bin/python
bench/namespaces.py 100 10` has 100 namespaces with 10 pools each.
"""

import asyncio
import contextlib
import itertools
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kotatsu_node.errors import NodeError
from kotatsu_operator.core.formats import internal
from kotatsu_operator.core.formats import table as as_table
from report import Row
from samples import Samples, amount
from simulation.install import HOW, Install, Pool, Stretch, installed, until
from simulation.measure import answers, percentile, resident_mib
from simulation.run import opening
from simulation.wakes import Wake, wake_up
from topic import again, main, progress, unmeasured

AGAIN = again("namespaces")
PACE = 10.0
"""Starts a second that the operator is told, and that the cluster has when windows open."""
LEAD = timedelta(seconds=68)
"""Of a pool that has learned nothing yet."""
EDITS_A_SECOND = 20.0
WAKES_A_SECOND = 4.0
"""For ten minutes: with all that a wake and the way back to sleep take, two cores allow 6."""


@dataclass(frozen=True)
class Size:
    """How large everything is."""

    namespaces: int = 1000
    each: int = 10
    idle: float = 60.0
    edits: int = 600
    wakes: int = 300
    windows: int = 1000
    asked: int = 20
    """Pools that get requests while the activators are replaced."""
    calm: float = 15.0
    """Seconds after which whatever was set off is over."""
    sustained: int = 2400
    """Wakes one after the other, WAKES_A_SECOND."""


QUICK = Size(20, 10, 15.0, 60, 40, 40, 10, 5.0, 40)


async def rows(quick: bool) -> list[Row]:
    """All of it on one install."""
    return await measured(QUICK if quick else Size())


async def measured(size: Size) -> list[Row]:
    """The rows of an install of some size."""
    total = size.namespaces * size.each
    starts = max(size.windows, size.wakes + size.sustained + size.asked)
    found: list[Row] = []

    def add(*more: Row) -> None:
        # Said at once: a run of this size may be ended before its end.
        for row in more:
            progress.say(f"{row.what}: {row.median}; {row.spread}")
        found.extend(more)

    try:
        async with installed(size.namespaces, size.each, starts, PACE, progress.say) as install:
            fresh = iter(install.pools[::-1])
            add(*await _labels(install))
            add(*await _idle(install, size))
            add(await _edits(install, size))
            add(*await _wakes(install, list(itertools.islice(fresh, size.wakes))))
            await asyncio.sleep(size.calm)
            add(await _sustained(install, list(itertools.islice(fresh, size.sustained))))
            await asyncio.sleep(size.calm)
            add(await _windows(install, size))
            add(_memory(install))
            add(await _roll(install, list(itertools.islice(fresh, size.asked))))
            return found
    except NodeError as error:
        return [unmeasured(f"{total:,} pools on one install", HOW, str(error), "", "namespaces")]


# --- memory, labels, an idle minute, edits ---


def _memory(install: Install) -> Row:
    operator = install.operator_pid
    activators = [a.process.pid for a in install.activators]

    def mib(of: str) -> tuple[float, float]:
        return resident_mib(operator, of), sum(resident_mib(pid, of) for pid in activators)

    (ours, theirs), (ours_peak, theirs_peak) = mib("VmRSS"), mib("VmHWM")
    ratio = max(ours_peak / 700, theirs_peak / 1229)
    return Row(
        f"memory of one install, {len(install.pools):,} pools",
        f"{HOW}; the peaks against 700 MiB of the operator, 1.2 GiB of the activators together",
        f"operator {ours:.0f} MiB, activators {theirs:.0f} MiB",
        f"peaks {ours_peak:.0f} and {theirs_peak:.0f} MiB",
        1,
        "≤ 1 x of both limits",
        ratio,
        ratio <= 1,
        AGAIN,
    )


async def _labels(install: Install) -> list[Row]:
    one, *others = install.namespaces
    wanted = 2 * install.each

    async def has_slices() -> bool:
        return await install.slices(one) == wanted

    with progress.step("operator and activators read what is there"):
        await install.at_rest()
    with progress.step("one namespace gets the label"):
        await install.select([one])
        first = await until(f"the slices of {one}", has_slices, every=0.05)
    began = time.monotonic()
    with progress.step(f"{len(others):,} namespaces get the label"), install.stretch() as stretch:
        await install.select(others)
        await install.all_asleep()
    took = time.monotonic() - began
    return [
        Row(
            "label on a namespace → its slices",
            f"{HOW}; {install.each} pools, an endpoint of each activator for each of them",
            amount(first),
            "",
            1,
            "≤ 5 s",
            first,
            first <= 5,
            AGAIN,
        ),
        Row(
            f"{len(others):,} namespaces labeled at once → all pools asleep and published",
            f"{HOW}; CPU a pool: {_cpu(stretch, len(install.pools))}",
            amount(took),
            f"{len(install.pools) / took:.0f} pools a second",
            1,
            "",
            None,
            None,
            AGAIN,
        ),
    ]


async def _idle(install: Install, size: Size) -> list[Row]:
    seconds = size.idle
    await asyncio.sleep(size.calm)
    with progress.step(f"nothing happens for {seconds:.0f} s"), install.stretch() as stretch:
        await asyncio.sleep(seconds)
    own = {n: s for n, s in stretch.cpu.items() if n == "operator" or "activator" in n}
    share = sum(own.values()) / stretch.seconds
    calls = {k: n for k, n in stretch.calls("operator", "activator").items() if "leases" not in k}
    said = ", ".join(f"{n} {kind}" for kind, n in calls.items()) or "no call"
    return [
        Row(
            f"{len(install.pools):,} pools on one install while nothing happens",
            f"{HOW}; {seconds:.0f} s: {_parts({n: s / seconds for n, s in own.items()}, '')}",
            f"{100 * share:.2f} % of a core",
            f"{said} beside Leases and watches",
            1,
            "≤ 3 % of a core, and no API call",
            100 * share,
            share <= 0.03 and not calls,
            AGAIN,
        )
    ]


async def _edits(install: Install, size: Size) -> Row:
    pools = install.pools[: size.edits]
    with progress.step(f"{len(pools)} edits"), install.stretch() as stretch:
        await install.edit(pools, {"holdTimeout": "44s"}, EDITS_A_SECOND)
        await asyncio.sleep(size.calm)
    made = [(r.name, r.began) for r in stretch.requests if r.user == "editor" and r.verb == "patch"]
    took = answers(made, stretch.requests)
    high = percentile(took, 0.99)
    return Row(
        f"edit of a WarmPool → written down, {len(install.pools):,} pools on one install",
        f"{HOW}; {EDITS_A_SECOND:g} edits a second;"
        f" operator {1000 * stretch.cpu['operator'] / len(pools):.1f} ms of CPU each",
        amount(percentile(took, 0.5) / 1000),
        f"p99 {amount(high / 1000)}, max {amount(took[-1] / 1000)}",
        len(took),
        "p99 ≤ 150 ms",
        high / 150,
        len(took) == len(pools) and high <= 150,
        AGAIN,
    )


# --- wakes ---


async def _wakes(install: Install, pools: Sequence[Pool]) -> list[Row]:
    """Wakes as fast as they are written: all requests come at once."""
    install.kubelet.per_second, install.kubelet.takes = 1e6, 0
    led = {pool: await install.endpoints(pool) for pool in pools}
    with progress.step(f"{len(pools)} wakes at once"), install.stretch() as went:
        found = await asyncio.gather(*(wake_up(install, pool, led[pool]) for pool in pools))
    raised = [
        r.began
        for r in went.requests
        if r.user == "activator" and r.verb == "patch" and r.what.endswith("/scale")
    ]
    late = _late(found, went)
    rate = (len(raised) - 1) / max(1e-9, (max(raised) - min(raised)).total_seconds())
    lost = sum(not wake.answered for wake in found)
    return [
        Row(
            "wakes a second of one install, as fast as they are written",
            f"{HOW}; {len(pools)} requests at once to as many sleeping pools, pods start at once;"
            f" CPU a wake: {_cpu(went, len(pools))}",
            f"{rate:.0f} written a second",
            f"{lost} of {len(pools)} not answered; request to answer"
            f" {Samples.of(wake.seconds for wake in found).spread}",
            len(pools),
            "≥ 50 a second",
            rate,
            rate >= 50 and lost == 0,
            AGAIN,
        ),
        Row(
            "pod Ready → the held request answered, at that rate",
            HOW,
            amount(percentile(late, 0.5)),
            f"p99 {amount(percentile(late, 0.99))}, max {amount(late[-1])}",
            len(late),
            "≤ 1 s, all of them",
            late[-1],
            late[-1] <= 1,
            AGAIN,
        ),
    ]


async def _sustained(install: Install, pools: Sequence[Pool]) -> Row:
    """Wakes one after the other; each pool goes to sleep again meanwhile."""
    turn, asked = time.monotonic(), list[asyncio.Task[Wake]]()
    step = progress.step(f"{len(pools):,} wakes, {WAKES_A_SECOND:g} a second")
    with step, install.stretch() as went:
        for pool in pools:
            asked.append(asyncio.create_task(wake_up(install, pool)))
            turn += 1 / WAKES_A_SECOND
            await asyncio.sleep(turn - time.monotonic())
        found = await asyncio.gather(*asked)
    late, lost = _late(found, went), sum(not wake.answered for wake in found)
    calls = sum(went.calls("operator", "activator").values()) / len(pools)
    high = percentile(late, 0.99)
    return Row(
        f"{WAKES_A_SECOND:g} wakes a second, one after the other: pod Ready → answered",
        f"{HOW}; {len(pools):,} pools, each of which sleeps again 5 s after its request; for a wake"
        f" and the way back {calls:.1f} calls and of CPU {_cpu(went, len(pools))}",
        amount(percentile(late, 0.5)),
        f"p99 {amount(high)}; {lost} of {len(pools):,} not answered; request to answer"
        f" {Samples.of(wake.seconds for wake in found).spread}",
        len(pools),
        "p99 ≤ 400 ms, none lost",
        high / 0.4,
        high <= 0.4 and lost == 0,
        AGAIN,
    )


def _late(found: Sequence[Wake], went: Stretch) -> list[float]:
    """Seconds from when a pod was Ready until the request was answered, the least first."""
    readied = {
        r.name.rsplit("-", 2)[0]: r.began
        for r in went.requests
        if r.user == "kubelet" and r.what == "pods/status" and r.code < 400
    }
    return sorted(
        (wake.at - readied[wake.pool.name]).total_seconds()
        for wake in found
        if wake.answered and wake.pool.name in readied
    )


# --- a roll, and windows ---


async def _roll(install: Install, pools: Sequence[Pool]) -> Row:
    """Each activator is replaced, while requests go to some pools all the time."""
    async with _asked(install, pools) as sent:
        began = time.monotonic()
        with progress.step("the activators are replaced"), install.stretch() as went:
            for old in list(install.activators):
                await install.start_activator()
                await install.end_activator(old)
        took = time.monotonic() - began
        await asyncio.sleep(3)
    lost = sum(not wake.answered for wake in sent)
    calls = sum(went.calls("activator").values())
    return Row(
        f"rolling update of the activators, {len(install.pools):,} pools",
        f"{HOW}; {calls / len(install.pools):.1f} calls of activators a pool; requests to"
        f" {len(pools)} pools meanwhile, each led to an endpoint of that moment",
        f"{took / 60:.1f} min",
        f"{lost} of {len(sent)} requests lost",
        1,
        "≤ 15 min, none lost",
        took / 60,
        took <= 900 and lost == 0,
        AGAIN,
    )


@contextlib.asynccontextmanager
async def _asked(install: Install, pools: Sequence[Pool]) -> AsyncIterator[list[Wake]]:
    """Ten requests a second to one pool after the other, during the block."""
    found, tasks = list[Wake](), set[asyncio.Task[None]]()

    async def one(pool: Pool) -> None:
        found.append(await wake_up(install, pool))

    async def ask() -> None:
        for pool in itertools.cycle(pools):
            task = asyncio.create_task(one(pool))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            await asyncio.sleep(0.1)

    asking = asyncio.create_task(ask())
    try:
        yield found
    finally:
        asking.cancel()
        await asyncio.gather(asking, *tasks, return_exceptions=True)


async def _windows(install: Install, size: Size) -> Row:
    pools = install.pools[: size.windows]
    install.kubelet.per_second, install.kubelet.takes = PACE, 3
    edits = 2 * EDITS_A_SECOND
    at = datetime.now(UTC).replace(microsecond=0) + LEAD
    at += timedelta(seconds=len(pools) * (1 / PACE + 1 / edits) + 20)
    with progress.step(f"{len(pools):,} windows open at {at:%H:%M:%S}"):
        await install.edit(pools, opening(at, 1), edits)
        await asyncio.sleep((at - datetime.now(UTC)).total_seconds() + size.calm)
    early = []
    for status in (await install.statuses(pools)).values():
        opened = status.get("lastOpening") or {}
        ready = as_table(internal(status).get("opening")).get("readyAt")
        if opened and ready:
            moments = (datetime.fromisoformat(x) for x in (opened["at"], ready))
            early.append((next(moments) - next(moments)).total_seconds())
    on_time = sum(seconds >= 0 for seconds in early)
    spread = f"the last {min(early):.0f} s before, the first {max(early):.0f} s" if early else ""
    return Row(
        f"{len(pools):,} windows of one install at the same minute, Ready before it",
        f"{HOW}; {len(install.pools):,} pools, {PACE:g} starts a second, no lead learned yet",
        f"{on_time:,} of {len(pools):,}",
        spread,
        len(pools),
        "≥ 1: all of them",
        on_time / len(pools),
        on_time == len(pools),
        AGAIN,
    )


def _cpu(stretch: Stretch, number: int) -> str:
    """The CPU of each part for one of so many."""
    return _parts({name: 1000 * s / number for name, s in stretch.cpu.items()}, "ms")


def _parts(values: dict[str, float], unit: str) -> str:
    """A figure of each part; activators together."""
    names = {"kube-controller-manager": "controllers", "kube-apiserver": "API server"}
    sums: dict[str, float] = {}
    for name, value in values.items():
        known = "activators" if "activator" in name else names.get(name, name)
        sums[known] = sums.get(known, 0) + value
    return ", ".join(f"{name} {amount(value, unit)}" for name, value in sums.items())


if __name__ == "__main__":
    if numbers := [int(n) for n in sys.argv[1:] if n.isdecimal()]:
        total = numbers[0] * numbers[1]
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # what it started ends, too
        parts = {"edits": total // 4, "wakes": total // 4, "sustained": total // 4}
        size = Size(*numbers, idle=15, windows=total // 4, **parts)
        found = asyncio.run(measured(size))
        for row in found:
            print(f"{row.what}\n    {row.median}; {row.spread} [{row.goal}]\n    {row.how}")
    else:
        main(rows)
