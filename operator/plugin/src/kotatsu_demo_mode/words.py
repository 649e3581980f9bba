"""Numbers, amounts of money and warm-ups, in words."""

from decimal import Decimal

from kotatsu_operator.core.pool.memory import Parts

from .pools import Pool


def pods(count: int) -> str:
    return "1 pod" if count == 1 else f"{count} pods"


def shown_pods(replicas: int, *, parked: bool) -> str:
    return f"{replicas} parked" if parked else str(replicas)


def windows_pods(replicas: int, *, parked: bool) -> str:
    """The pods of a window, and whether they are parked."""
    return f"{pods(replicas)}, parked" if parked else pods(replicas)


def days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"


UNKNOWN = "-"


def amount(value: Decimal | None, currency: str = "") -> str:
    """An amount with a few significant digits: `6,730`, `18.40`, `0.0052`; `-` if unknown."""
    if value is None:
        return UNKNOWN
    if abs(value) >= 1000:
        text = f"{value:,.0f}"
    elif abs(value) >= 1 or value == 0:
        text = f"{value:.2f}"
    else:
        text = f"{value:.2g}" if abs(value) < Decimal("0.01") else f"{value:.2f}"
    return f"{text} {currency}".rstrip()


def number(value: Decimal | None) -> float | None:
    """An amount for JSON, rounded to six decimals."""
    return None if value is None else round(float(value), 6)


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
