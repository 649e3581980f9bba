"""What people read of a WarmPoolSet: its status, and the condition Visited of its pools. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from kotatsu_operator.core.budget.limit import NEAR, BudgetState, so_far
from kotatsu_operator.core.formats import (
    amount,
    choice,
    conditions_of,
    format_amount,
    format_duration,
    instant,
    is_false,
    stamp,
    table,
    text,
)
from kotatsu_operator.core.objects import Object, poolset_of
from kotatsu_operator.core.pool.memory import Phase
from kotatsu_operator.core.poolset.wanted import Refused, Wanted
from kotatsu_operator.core.report.conditions import budget_condition, condition
from kotatsu_operator.core.report.status import Status
from kotatsu_operator.features.sets.purse import Purse

MOST_NAMED = 20
"""Refused workloads, and unused pools, that a status names."""


@dataclass(frozen=True, slots=True)
class Member:
    """What a set says of one of its pools."""

    uid: str
    of: str
    """The set."""
    phase: Phase | None
    refused: tuple[str, str] | None
    """The reason and the message of its condition Accepted while it is False."""
    unused: bool
    forecast: Decimal


def member_of(pool: Object) -> Member | None:
    """Read a WarmPool; None if no set has made it."""
    if not (of := poolset_of(pool)):
        return None
    status = table(pool.get("status"))
    conditions, cost = conditions_of(status), table(status.get("cost"))
    accepted = conditions.get("Accepted", {})
    return Member(
        text(pool["metadata"].get("uid")),
        of,
        choice(Phase, status.get("phase"), None),
        (text(accepted.get("reason")), text(accepted.get("message")))
        if is_false(accepted)
        else None,
        is_false(conditions.get("Visited", {})),
        amount(cost.get("forecast")) or Decimal(0),
    )


def visited(pool: Object, after: timedelta, now: datetime) -> Status:
    """The condition Visited of a pool: whether it had a request in a time."""
    status, meta = table(pool.get("status")), pool["metadata"]
    times = (instant(given) for given in (status.get("lastActive"), meta.get("creationTimestamp")))
    last = max((at for at in times if at is not None), default=now)
    if now - last < after:
        return condition("Visited", True, "InUse", f"less than {format_duration(after)} ago")
    said = f"no request since {last:%Y-%m-%d}, for more than {format_duration(after)}"
    return condition("Visited", False, "Unused", said)


@dataclass(frozen=True)
class Seen:
    """All that the status of a set is made of."""

    name: str
    why: str
    """Why it is not accepted; empty if it is."""
    forbidden: str
    """Why that is not known."""
    purse: Purse | None
    """What is spent of its budget; None without one, and while that is not known."""
    members: Mapping[tuple[str, str], Member]
    found: Sequence[Wanted]
    failed: Sequence[Refused]

    @property
    def refused(self) -> list[Refused]:
        """The workloads without a pool, and the pools that are not accepted."""
        wanted = (one for found in self.found for one in found.refused.get(self.name, ()))
        pools = (
            Refused(key[0], f"WarmPool {key[1]}", *one.refused)
            for key, one in self.members.items()
            if one.refused
        )
        return [*wanted, *self.failed, *pools]


def set_status(seen: Seen) -> Status:
    """The status, without its generation; the conditions have no times yet."""
    members, refused = seen.members.values(), seen.refused
    phases = [one.phase for one in members]
    unused = sorted("/".join(key) for key, one in seen.members.items() if one.unused)
    return {
        "selected": sum(found.selected.get(seen.name, 0) for found in seen.found),
        "made": len(seen.members),
        "asleep": phases.count(Phase.ASLEEP),
        "awake": sum(phase is not None and phase.is_awake for phase in phases),
        "refused": len(refused),
        "unused": len(unused),
        "refusals": [asdict(one) for one in refused[:MOST_NAMED]],
        "unusedPools": unused[:MOST_NAMED],
        "cost": _cost(seen),
        "internal": None if seen.purse is None else seen.purse.status,
        "conditions": list(_conditions(seen)),
    }


def _cost(seen: Seen) -> Status | None:
    if (purse := seen.purse) is None:
        return None
    currency, limit = purse.currency, str(purse.budget.limit)
    forecast = sum((one.forecast for one in seen.members.values()), purse.left)
    return {
        "currency": currency,
        "periodStart": stamp(purse.start),
        "accrued": str(purse.total),
        "forecast": f"{forecast:.2f}",
        "limit": limit,
        "text": f"{format_amount(purse.total)} of {limit} {currency}".rstrip(),
    }


def _conditions(seen: Seen) -> Iterator[Status]:
    if (budget := _budget(seen)) is not None:
        yield budget
    if seen.why:
        yield condition("Accepted", False, "InvalidSpec", seen.why)
        return
    if seen.forbidden:
        yield condition("Accepted", None, "Forbidden", f"{seen.forbidden}; this is tried again")
    else:
        yield condition("Accepted", True, "Accepted", "its pools are made and kept as it says")
    twice = [
        f"WarmPoolSet {younger} selects {count} of the workloads of the older {older}"
        for found in seen.found
        for (older, younger), count in found.twice.items()
        if seen.name in (older, younger)
    ]
    yield (
        condition("Exclusive", False, "SelectedTwice", f"{twice[0]}, which has them")
        if twice
        else condition("Exclusive", True, "Exclusive", "no other set selects its workloads")
    )


def _budget(seen: Seen) -> Status | None:
    """The standing of the budget, in words that change only with it: `cost` has the amounts."""
    if (purse := seen.purse) is None or purse.end is None or purse.budget.limit is None:
        return None
    total, limit, currency = purse.total, purse.budget.limit, purse.currency
    if not currency:
        return budget_condition(
            BudgetState.UNPRICED, "spec.budget has no effect without the chart value prices"
        )
    stands = BudgetState.NEAR if total >= NEAR * limit else BudgetState.WITHIN
    if total >= limit:
        stands = BudgetState.EXHAUSTED
    until = f"{purse.end:%Y-%m-%dT%H:%M:%SZ}"
    return budget_condition(
        stands, so_far(stands, f"{limit} {currency}", purse.budget.period, until)
    )
