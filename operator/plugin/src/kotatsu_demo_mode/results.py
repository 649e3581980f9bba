"""The results of a rehearsal."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from kotatsu_operator.core.plan.lead import percentile

from .terminal import paired


@dataclass(frozen=True)
class Answer:
    """The result of a request: its duration, status (0 without an answer), and error."""

    seconds: float
    status: int
    error: str = ""

    @property
    def is_good(self) -> bool:
        """Whether the service answered with success or a redirect."""
        return 200 <= self.status < 400

    @property
    def problem(self) -> str:
        return self.error or f"status {self.status}"


@dataclass(frozen=True)
class Report:
    """The results of a rehearsal."""

    pool: str
    route: str
    window: str
    """The window that was rehearsed; empty without a coming one."""
    replicas: int
    cold: Answer | None
    """The request that woke the pool; None with --warm-only."""
    ready_seconds: float
    """From the override with all replicas until they were Ready."""
    lead: timedelta
    """How early pods start before a window."""
    load: Sequence[Answer]
    load_seconds: float
    concurrency: int
    max_p95: timedelta | None = None
    restored_seconds: float | None = None
    """From the same override until no pod had smaller requests; None if the pool was not parked, or
    some pods do not get their requests back."""

    @property
    def errors(self) -> list[Answer]:
        return [a for a in self.load if not a.is_good]

    def _percentile(self, share: float) -> float:
        return percentile([a.seconds for a in self.load], share)

    @property
    def failures(self) -> list[str]:
        """Why the demo would have failed; empty if it would not."""
        found = []
        if self.cold is not None and not self.cold.is_good:
            found.append(f"the request to the sleeping pool was not answered: {self.cold.problem}")
        if self.window and self.ready_seconds > self.lead.total_seconds():
            found.append(
                f"{self.window} would have opened cold: the pods took {self.ready_seconds:.1f} s "
                f"and start {self.lead.total_seconds():.0f} s early; raise spec.prewarm.lead"
            )
        if self.errors:
            found.append(
                f"{len(self.errors)} of {len(self.load)} requests failed, "
                f"the first with {self.errors[0].problem}"
            )
        if self.max_p95 is not None and self._percentile(0.95) > self.max_p95.total_seconds():
            found.append(
                f"p95 was {self._percentile(0.95):.3f} s, above the limit of "
                f"{self.max_p95.total_seconds():g} s (--max-p95)"
            )
        return found

    @property
    def passed(self) -> bool:
        return not self.failures

    def figures(self) -> list[str]:
        rows = [("route", self.route)]
        if self.cold is not None:
            what = f"{self.cold.seconds:.2f} s"
            rows.append(("cold wake", what if self.cold.is_good else self.cold.problem))
        early = f"pods start {self.lead.total_seconds():.0f} s before a window"
        if self.restored_seconds is not None:
            rows.append(("restored", f"{self.restored_seconds:.1f} s to full requests"))
        rows += [
            (f"{self.replicas} Ready", f"{self.ready_seconds:.1f} s ({early})"),
            (
                "requests",
                f"{len(self.load)}, {self.concurrency} at once, in {self.load_seconds:.2f} s",
            ),
            ("p50", f"{self._percentile(0.5) * 1000:.1f} ms"),
            ("p95", f"{self._percentile(0.95) * 1000:.1f} ms"),
            ("errors", str(len(self.errors))),
        ]
        title = f"{self.pool}: rehearsal of {self.window or 'no window (none is planned)'}"
        return [title, *paired(rows)]

    def text(self) -> list[str]:
        lines = self.figures()
        if self.passed:
            return [*lines, "The demo would have succeeded. The pool follows its schedule again."]
        lines.append("The demo would have failed. The pool follows its schedule again.")
        return [*lines, *(f"  - {failure}" for failure in self.failures)]

    def record(self) -> dict[str, Any]:
        """The report for JSON; times in seconds."""
        cold = self.cold
        return {
            "pool": self.pool,
            "route": self.route,
            "window": self.window or None,
            "replicas": self.replicas,
            "cold": None
            if cold is None
            else {
                "seconds": round(cold.seconds, 3),
                "status": cold.status,
                "error": cold.error or None,
            },
            "ready": {
                "seconds": round(self.ready_seconds, 1),
                "lead": self.lead.total_seconds(),
            },
            "restored": None
            if self.restored_seconds is None
            else {"seconds": round(self.restored_seconds, 1)},
            "load": {
                "requests": len(self.load),
                "concurrency": self.concurrency,
                "seconds": round(self.load_seconds, 3),
                "p50": round(self._percentile(0.5), 4),
                "p95": round(self._percentile(0.95), 4),
                "errors": len(self.errors),
            },
            "passed": self.passed,
            "failures": self.failures,
        }
