"""How long end-to-end tests wait: one measure, and longer where the machine is slow or busy.

A wait that ends well costs nothing, however long it might have been. So tests assert what happens,
in which order and how often; how long it took is reported (pytest --durations).
"""

import re
from functools import cache
from pathlib import Path

import cpu

PATIENCE = 120.0
"""Seconds that whatever a test waits for may take, on an idle machine like the reference."""
REFERENCE = 0.045
"""Seconds of CPU that the loop of tests/cpu.py takes on the reference: two cores of a cloud."""
MOST = 4.0
"""How many times as long a wait is, at most."""
PRESSURE = Path("/proc/pressure/cpu")


@cache
def slowness() -> float:
    """How much longer than the reference this machine needs for the same; measured once."""
    return max(1.0, cpu.loop() / REFERENCE)


def stalled(pressure: Path = PRESSURE) -> float:
    """The share of the last 10 s in which a process waited for a CPU; 0 where that is unknown."""
    try:
        found = re.match(r"some avg10=([\d.]+)", pressure.read_text())
    except OSError:
        return 0.0
    return float(found[1]) / 100 if found else 0.0


def patience(seconds: float = PATIENCE) -> float:
    """Seconds on this machine, as it is now, for so many on the reference."""
    return seconds * min(MOST, slowness() / max(1.0 - stalled(), 1.0 / MOST))
