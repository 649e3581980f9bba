"""1,000 pools on one operator: windows that open together, and an hour in which nothing happens.

Run it with `make bench`, or a smaller one with `.venv/bin/python bench/pools.py 100`. The API
server, etcd and the controllers are real and run on this machine, so they take their share of its
cores; pods are pretended (see simulation/kubelet.py).
"""

import argparse
import asyncio

from simulation.measure import percentile
from simulation.run import Result, simulate


def table(result: Result) -> list[tuple[str, str]]:
    """The result as rows."""

    def spread(ms: list[float]) -> str:
        middle, high = percentile(ms, 0.5), percentile(ms, 0.99)
        return f"median {middle:.0f} ms, p99 {high:.0f} ms, of {len(ms)}"

    def calls(by_kind: dict[str, int]) -> str:
        most = sorted(by_kind.items(), key=lambda item: -item[1])
        return ", ".join(f"{n} {kind}" for kind, n in most) or "none"

    return [
        ("pools", f"{result.pools}"),
        ("windows Ready before they opened", f"{result.on_time}"),
        ("Ready before the opening", f"{result.least_early:.1f} to {result.first_ahead:.1f} s"),
        ("edit → status written", spread(result.edit_ms)),
        ("pod Ready → status written", spread(result.ready_ms)),
        (
            "due → decided and done",
            " ".join(f"{name} ≤ {ms:.0f} ms" for name, ms in result.decision_ms.items()),
        ),
        ("CPU to take them all on", f"{result.start_cpu:.1f} s"),
        (
            "CPU while nothing happens",
            f"{100 * result.idle_cpu / result.idle_seconds:.1f} % of a core",
        ),
        ("API calls while nothing happens", calls(result.idle_calls)),
        (
            "CPU for the edits and the opening",
            f"{result.burst_cpu:.1f} s in {result.burst_seconds:.0f} s",
        ),
        ("API calls for them", calls(result.burst_calls)),
        ("memory", f"{result.resident_mib:.0f} MiB"),
    ]


def main() -> None:
    """Run the simulation and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pools", type=int, nargs="?", default=1000)
    parser.add_argument("--starts-per-second", type=float, default=5.0)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds in which nothing happens")
    options = parser.parse_args()
    run = simulate(
        options.pools,
        per_second=options.starts_per_second,
        idle=options.idle,
        say=lambda text: print(f"  {text}", flush=True),
    )
    for name, value in table(asyncio.run(run)):
        print(f"{name:<36} {value}")


if __name__ == "__main__":
    main()
