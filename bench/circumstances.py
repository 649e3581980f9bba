"""The machine, the versions and the load that a measurement was made under."""

import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

from report import ROOT, Machine

_PACKAGES = ("uvloop", "fastapi", "uvicorn", "kopf", "lightkube", "pyopenjtalk-plus", "lameenc")


def machine() -> Machine:
    """This machine."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    cores = len(os.sched_getaffinity(0))
    return Machine(_cpu(), cores, round(memory, 1), platform.release())


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def versions() -> dict[str, str]:
    """The versions that decide what is measured; a checkout that was edited is marked with +."""
    found = {"kotatsu": _commit(), "python": platform.python_version()}
    return found | {name: version(name) for name in _PACKAGES} | _node()


def _node() -> dict[str, str]:
    """The versions of the cluster's first node; nothing where no cluster runs."""
    fields = "{.items[0].status.nodeInfo['kubeletVersion', 'containerRuntimeVersion']}"
    command = ["kubectl", "get", "nodes", "--request-timeout=5s", "-o", f"jsonpath={fields}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return {}
    kubelet, _, runtime = done.stdout.partition(" ")
    name, _, number = runtime.partition("://")
    if not number:
        return {}
    return {"kubernetes": kubelet.removeprefix("v"), name: number.partition("+")[0]}


def _commit() -> str:
    def git(*command: str) -> str:
        done = subprocess.run(
            ["git", "-C", ROOT, *command], capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    commit = git("rev-parse", "--short", "HEAD") or "unknown"
    return commit + ("+" if git("status", "--porcelain", "--", ":!docs/benchmarks") else "")


def load() -> float:
    """The load average of the last minute."""
    return round(os.getloadavg()[0], 2)


def busy_share(seconds: float = 2.0) -> float:
    """Share of all cores in use over the next seconds, by whomever."""
    total, idle = _ticks()
    time.sleep(seconds)
    total_later, idle_later = _ticks()
    return round(1 - (idle_later - idle) / max(1, total_later - total), 3)


def wait_until_quiet(share: float, at_most: float) -> float:
    """Wait until no more than `share` of the cores is in use; the last share seen."""
    end = time.monotonic() + at_most
    while True:
        busy = busy_share()
        if busy <= share or time.monotonic() > end:
            return busy


def _ticks() -> tuple[int, int]:
    """CPU time of the machine since its start: all of it, and the part that was idle."""
    fields = [int(n) for n in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(fields), fields[3] + fields[4]
