"""Where the seconds of a warm-up went, as text."""

from kotatsu_operator.core.pool.memory import Parts

from .money import UNKNOWN
from .pools import Pool


def spent_on(parts: Parts) -> str:
    """The parts of a warm-up that took at least half a second; all of it is the start otherwise."""
    named = {
        "node": parts.node,
        "volumes and network": parts.sandbox,
        "image": parts.pull,
        "start": parts.start,
    }
    long = [f"{name} {seconds:.0f}" for name, seconds in named.items() if seconds >= 0.5]
    return ", ".join(long) or f"start {parts.start:.0f}"


def last_warm_up(pool: Pool) -> str:
    """The latest warm-up of a pool and its parts."""
    if not pool.memory.warm_ups:
        return UNKNOWN
    last = pool.memory.warm_ups[-1]
    parts = "" if last.parts is None else f" ({spent_on(last.parts)})"
    return f"{last.seconds:.0f} s{parts}"
