"""Measured values and what is said of them; nothing measured is ever left out of the spread."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Samples:
    """Values of one kind, in the order they were measured; at least one."""

    values: tuple[float, ...]
    unit: str = "s"
    """`s` is scaled to ms or µs where that reads better; any other unit stands as it is."""

    @classmethod
    def of(cls, values: Iterable[float], unit: str = "s") -> "Samples":
        """Samples of any values. Raises ValueError when there are none."""
        kept = tuple(values)
        if not kept:
            raise ValueError("nothing was measured")
        return cls(kept, unit)

    def __len__(self) -> int:
        return len(self.values)

    def quantile(self, share: float) -> float:
        """The nearest-rank quantile: a value that was measured, never one in between."""
        ordered = sorted(self.values)
        rank = -int(-share * len(ordered) // 1)  # rounded up
        return ordered[min(max(rank, 1), len(ordered)) - 1]

    @property
    def median(self) -> float:
        """The value in the middle (the lower one of two)."""
        return self.quantile(0.5)

    @property
    def p95(self) -> float:
        """95 % of the values are not above it."""
        return self.quantile(0.95)

    @property
    def p99(self) -> float:
        """99 % of the values are not above it."""
        return self.quantile(0.99)

    @property
    def text(self) -> str:
        """The median with its unit."""
        return amount(self.median, self.unit)

    @property
    def spread(self) -> str:
        """The least, the 95th of a hundred, and the most."""
        low, high = min(self.values), max(self.values)
        parts = (("min", low), ("p95", self.p95), ("max", high))
        return ", ".join(f"{name} {amount(value, self.unit)}" for name, value in parts)


def amount(value: float, unit: str = "s") -> str:
    """A value with its unit in three digits: 1.02 s, 43.1 ms, 8,120 requests/s."""
    if unit == "s":
        for factor, name in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
            if abs(value) * factor >= 1 or name == "µs":
                return f"{digits(value * factor)} {name}"
    return f"{digits(value)} {unit}".rstrip()


def parts(runs: Iterable[Mapping[str, float]], stages: Sequence[str]) -> str:
    """How long each stage took, medians of all runs. A run has the second when each stage ended.

    A stage that a run does not have is part of its next one.
    """
    took: dict[str, list[float]] = {stage: [] for stage in stages}
    for ends in runs:
        reached = [stage for stage in stages if stage in ends]
        begins = [0.0, *(ends[stage] for stage in reached)]
        for stage, began in zip(reached, begins, strict=False):
            took[stage].append(ends[stage] - began)
    return ", ".join(
        f"{stage} {Samples.of(all_of).text}" for stage, all_of in took.items() if all_of
    )


def digits(value: float) -> str:
    """Three digits that count, and no exponent."""
    size = abs(value)
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.1 else f"{value:.3g}"
