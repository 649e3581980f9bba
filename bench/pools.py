"""1,000 pools on one operator: windows that open together, edits, and a minute without anything.

With a number of pools it runs once and tells everything: `.venv/bin/python bench/pools.py 100`. The
API server, etcd and the controllers are real and run on this machine, so they take their share of
its cores; pods are pretended (see simulation/kubelet.py).
"""

import argparse
import asyncio
import sys

from report import Row
from samples import amount
from simulation.measure import percentile
from simulation.run import Result, Stretch, simulate
from topic import again, main, progress

AGAIN = again("pools")
SIZES = (100, 1000, 5000)
OPENED = (100, 1000)
"""Of these the windows open together; 5,000 would need a quarter of an hour at this pace."""
PACE = 5.0
"""Starts a second: the chart's default."""
HOW = "a real API server, pretended pods, the operator as a process of its own"
NO_CALL = ("get leases", "update leases")


async def rows(quick: bool) -> list[Row]:
    """A simulation of each size; one that does not get through is a row that says so."""
    sizes = (20, 50) if quick else SIZES
    results, failed = [], []
    for size in reversed(sizes):  # the one that may fail first
        with progress.step(f"{size} pools"):
            try:
                result = await simulate(
                    size,
                    per_second=PACE,
                    idle=15 if quick else 60,
                    opens=quick or size in OPENED,
                    say=progress.say,
                )
            except TimeoutError as error:
                progress.say(str(error))
                failed.append(_too_many(size, str(error)))
            else:
                results.append(result)
    if not results:
        raise SystemExit("not even the smallest simulation got through")
    results.reverse()
    by_size = {result.pools: result for result in results}
    shown = by_size.get(1000, results[-1])
    return [*_opening(shown), *_latency(shown), *_idle(shown), *_per_pool(results), *failed]


def _too_many(size: int, why: str) -> Row:
    what = f"{size:,} pools on one operator"
    return Row(what, HOW, "–", why.partition(";")[0], 1, "taken on in time", None, False, AGAIN)


def _opening(result: Result) -> list[Row]:
    share = result.on_time / result.pools
    return [
        Row(
            f"{result.pools:,} windows that open at the same minute, Ready before it",
            f"{HOW}; one pod each, {PACE:g} starts a second, no lead learned yet",
            f"{result.on_time:,} of {result.pools:,}",
            f"the last {result.least_early:.0f} s before, the first {result.first_ahead:.0f} s",
            result.pools,
            "≥ 1: all of them",
            share,
            share >= 1,
            AGAIN,
        )
    ]


def _latency(result: Result) -> list[Row]:
    def row(what: str, how: str, ms: list[float], goal: str, limit: float | None) -> Row:
        high = percentile(ms, 0.99)
        spread = f"p99 {amount(high / 1000)}, max {amount(ms[-1] / 1000)}"
        met = None if limit is None else high <= limit
        middle = amount(percentile(ms, 0.5) / 1000)
        return Row(what, how, middle, spread, len(ms), goal, None, met, AGAIN)

    return [
        row(
            f"edit of a WarmPool → written down, {result.pools:,} pools",
            f"{HOW}; 50 edits a second",
            result.edit_ms,
            "p99 ≤ 100 ms",
            100.0,
        ),
        row(
            f"pod Ready → written down, while {result.pools:,} pools warm up",
            f"{HOW}; {PACE:g} starts a second, on the cores that run the API server too",
            result.ready_ms,
            "",
            None,
        ),
    ]


def _idle(result: Result) -> list[Row]:
    calls = {kind: n for kind, n in result.idle.calls.items() if kind not in NO_CALL}
    return [
        Row(
            f"{result.pools:,} pools while nothing happens",
            f"{HOW}; share of a core in {result.idle.seconds:.0f} s",
            f"{100 * result.idle.share:.2f} % of a core",
            _calls(calls) + " beside the Lease",
            1,
            "≤ 2 % of a core, and no API call",
            None,
            result.idle.share <= 0.02 and not calls,
            AGAIN,
        )
    ]


def _per_pool(results: list[Result]) -> list[Row]:
    least, most = results[0], results[-1]
    sizes = f"{least.pools:,} → {most.pools:,}"
    edit = [result.edits.cpu / result.edited for result in results]
    start = [result.start_cpu / result.pools for result in results]
    memory = [result.resident_mib / result.pools for result in results]

    def row(what: str, values: list[float], unit: str) -> Row:
        text = " → ".join(amount(value, unit) for value in values)
        ratio = values[-1] / values[0]
        how = f"{HOW}; " + ", ".join(f"{result.pools:,}" for result in results) + " pools"
        goal = "≤ 1.1: flat or falling"
        return Row(what, how, text, sizes, len(results), goal, ratio, ratio <= 1.1, AGAIN)

    return [
        row("CPU of the operator for an edit", edit, "s"),
        row("CPU of the operator's start, for each pool", start, "s"),
        row("memory of the operator, for each pool", memory, "MiB"),
    ]


def _calls(by_kind: dict[str, int]) -> str:
    most = sorted(by_kind.items(), key=lambda item: -item[1])
    return ", ".join(f"{n} {kind}" for kind, n in most) or "no call"


def everything(result: Result) -> list[tuple[str, str]]:
    """A result in lines."""

    def spread(ms: list[float]) -> str:
        middle, high = percentile(ms, 0.5), percentile(ms, 0.99)
        return f"median {middle:.0f} ms, p99 {high:.0f} ms, of {len(ms)}"

    def cost(name: str, stretch: Stretch) -> list[tuple[str, str]]:
        share = f"{100 * stretch.share:.1f} % of a core"
        return [
            (f"CPU {name}", f"{stretch.cpu:.1f} s in {stretch.seconds:.0f} s: {share}"),
            (f"API calls {name}", _calls(stretch.calls)),
        ]

    lines = [
        ("pools", f"{result.pools}"),
        ("CPU to take them all on", f"{result.start_cpu:.1f} s"),
        *cost("while nothing happens", result.idle),
        *cost(f"for {result.edited} edits", result.edits),
        ("edit → status written", spread(result.edit_ms)),
    ]
    if result.opening is not None:
        lines += [
            ("windows Ready before they opened", f"{result.on_time}"),
            ("Ready before the opening", f"{result.least_early:.1f} to {result.first_ahead:.1f} s"),
            *cost("for the opening", result.opening),
            ("pod Ready → status written", spread(result.ready_ms)),
        ]
    bounds = (f"{name} ≤ {ms:.0f} ms" for name, ms in result.decision_ms.items())
    lines += [
        ("due → decided and done", " ".join(bounds)),
        ("memory", f"{result.resident_mib:.0f} MiB"),
    ]
    return lines


def once() -> None:
    """Run one simulation of a size, and tell everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pools", type=int)
    parser.add_argument("--starts-per-second", type=float, default=PACE)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds in which nothing happens")
    parser.add_argument("--closed", action="store_true", help="no window opens")
    options = parser.parse_args()
    run = simulate(
        options.pools,
        per_second=options.starts_per_second,
        idle=options.idle,
        opens=not options.closed,
        say=progress.say,
    )
    for name, value in everything(asyncio.run(run)):
        print(f"{name:<36} {value}")


if __name__ == "__main__":
    if any(argument.isdecimal() for argument in sys.argv[1:]):
        once()
    else:
        main(rows)
