"""A spent budget, from the pool's status."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kotatsu_operator.core.formats import amount, instant
from kotatsu_operator.core.pool.memory import Phase
from kotatsu_operator.core.pool.spec import OnExhausted, OverrideMode

_LONGEST_RETRY = 3600
"""The longest Retry-After, in seconds: the limit may be raised at any time."""


@dataclass(frozen=True)
class SpentBudget:
    """Why and until when requests must not wake a sleeping pool."""

    limit: str
    """The limit and its period, such as `3000 JPY a month`."""
    until: datetime
    warm_until: datetime | None = None
    """The end of a Warm override, which permits a wake despite the spent budget."""

    def forbids_raise(self, now: datetime) -> bool:
        """Whether the scale must not be raised from 0, in any phase that the watch has shown.

        The watch of pools may lag behind the watch of their targets. The operator starts pods for
        the schedule and for overrides.
        """
        return now < self.until and (self.warm_until is None or now >= self.warm_until)

    def retry_after(self, phase: Phase, now: datetime) -> int:
        """Seconds until a client may retry; 0 unless the pool sleeps and must not wake."""
        if not (phase.is_asleep and self.forbids_raise(now)):
            return 0
        left = -((now - self.until) // timedelta(seconds=1))  # rounded up
        return min(left, _LONGEST_RETRY)


def spent_budget(spec: Mapping[str, Any], status: Mapping[str, Any]) -> SpentBudget | None:
    """The spent budget in a WarmPool's status; None while the budget permits a wake.

    A limit that was edited after the operator's last check counts as not reached: neither a wake
    nor a raised limit requires the operator.
    """
    budget, cost = spec.get("budget") or {}, status.get("cost") or {}
    policy = budget.get("onExhausted", OnExhausted.NO_NEW_WARMTH)
    limit, until = amount(budget.get("limit")), instant(cost.get("periodEnd"))
    if not cost.get("exhausted") or limit is None or until is None or policy == OnExhausted.WARN:
        return None
    if limit != amount(cost.get("limit")):
        return None
    return SpentBudget(
        limit=f"{limit} {cost.get('currency', '')} a {cost.get('period', 'period').lower()}",
        until=until,
        warm_until=None if policy == OnExhausted.SLEEP else _warm_until(spec, status),
    )


def _warm_until(spec: Mapping[str, Any], status: Mapping[str, Any]) -> datetime | None:
    asked = spec.get("override") or {}
    until = instant(asked.get("until"))
    if asked.get("mode") != OverrideMode.WARM or until is None:
        return None
    seen = status.get("override") or {}
    ends = instant(seen.get("endsAt")) if "seenAt" in seen else None
    return until if ends is None else min(until, ends)
