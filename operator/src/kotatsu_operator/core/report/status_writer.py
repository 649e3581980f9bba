"""Write WarmPool.status: the decision's memory and the ledger; status_reader reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.formats import format_duration, stamp
from kotatsu_operator.core.plan.activity import override_end
from kotatsu_operator.core.pool.decision import Decision
from kotatsu_operator.core.pool.memory import Contest, Followed, Memory, Original
from kotatsu_operator.core.pool.observation import Observation
from kotatsu_operator.core.pool.spec import PoolSpec

Status = dict[str, Any]


def original_status(original: Original | None) -> Status | None:
    """The part of the status that `status_reader.read_original` reads."""
    if original is None:
        return None
    return {"name": original.name, "minReplicas": original.min_replicas}


def _contest_status(contest: Contest | None) -> Status | None:
    if contest is None:
        return None
    return {
        "by": contest.by,
        "writtenAt": stamp(contest.write_at),
        "seenAt": stamp(contest.seen_at),
        "count": contest.count,
        "applied": contest.applied,
    }


def cost_status(ledger: Ledger) -> Status | None:
    """The status of the ledger; None for a pool without prices."""
    if not ledger.currency:
        return None
    before, limit, expected = ledger.previous, ledger.limit, ledger.forecast
    return {
        "currency": ledger.currency,
        "period": ledger.period.value,
        "periodStart": stamp(ledger.period_start),
        "periodEnd": stamp(ledger.period_end),
        "accrued": f"{ledger.accrued:.6f}",
        "ratePerHour": f"{ledger.rate:.6f}",
        "podPerHour": None if ledger.pod_hour is None else f"{ledger.pod_hour:.6f}",
        "forecast": None if expected is None else f"{expected:.2f}",
        "at": stamp(ledger.at),
        "limit": None if limit is None else str(limit),
        "exhausted": None if limit is None else ledger.exhausted_at is not None,
        "exhaustedAt": stamp(ledger.exhausted_at),
        "previous": None
        if before is None
        else {
            "currency": before.currency,
            "periodStart": stamp(before.period_start),
            "accrued": f"{before.accrued:.6f}",
        },
    }


def _calendar_status(followed: Followed) -> Status:
    return {
        "name": followed.name,
        "readAt": stamp(followed.read_at),
        "windows": [
            {
                "name": w.name,
                "replicas": w.replicas,
                "start": None if w.start is None else w.start.isoformat(),
                "end": None if w.end is None else w.end.isoformat(),
            }
            for w in followed.windows
        ],
        "closed": [day.isoformat() for day in sorted(followed.closed)],
        "leftOut": followed.left_out,
    }


def memory_status(memory: Memory, spec: PoolSpec) -> Status:
    """The part of the status with the memory (None removes a field)."""
    opening, override = memory.opening, spec.override
    return {
        "phase": memory.phase.value,
        "phaseSince": stamp(memory.since),
        "reason": memory.reason.value,
        "route": {
            "target": memory.route.value,
            "epoch": memory.epoch,
            # A rejected pool keeps its previous Service.
            "service": None if spec.target.scales_itself else spec.service,
        },
        "lead": format_duration(memory.lead),
        "ahead": format_duration(memory.ahead) if memory.ahead else None,
        "windows": asdict(memory.windows),
        "lastActive": stamp(memory.last_active),
        "warmUps": [
            {"seconds": round(w.seconds, 3), "replicas": w.replicas, "template": w.template}
            for w in memory.warm_ups
        ],
        "demandUnknownSince": stamp(memory.unknown_since),
        "template": {"hash": memory.template, "proven": memory.proven},
        "hpa": original_status(memory.original),
        "contest": _contest_status(memory.contest),
        "calendars": [_calendar_status(f) for f in memory.calendars] or None,
        # An activator writes the rest of `demand`.
        **(
            {}
            if memory.ticket is None
            else {"demand": {"seen": stamp(memory.ticket), "seenAt": stamp(memory.ticket_seen)}}
        ),
        "override": None
        if override is None
        else {
            "key": memory.override_key,
            "seenAt": stamp(memory.override_seen),
            "endsAt": stamp(override_end(override, memory)),
            "done": memory.override_done,
        },
        "lastOpening": None
        if opening is None
        else {
            "window": opening.window,
            "at": stamp(opening.at),
            "readyAt": stamp(opening.ready_at),
            "early": None if opening.early is None else format_duration(opening.early),
            "cold": opening.cold,
            "replicas": opening.replicas,
            "excused": opening.excused or None,
        },
    }


def books_status(spec: PoolSpec, seen: Observation, memory: Memory, ledger: Ledger) -> Status:
    """The status of a rejected pool on which the operator must not act."""
    status = {
        "override": memory_status(memory, spec)["override"],
        "desiredReplicas": seen.replicas,
        "readyReplicas": seen.ready,
    }
    return status | without_unread_cost({"cost": cost_status(ledger)})


def without_unread_cost(status: Status) -> Status:
    """The status of a rejected pool, without `cost: None`: an invalid budget removes no ledger."""
    return {name: value for name, value in status.items() if (name, value) != ("cost", None)}


def decided_status(spec: PoolSpec, seen: Observation, decision: Decision, ledger: Ledger) -> Status:
    """The whole status after a decision, without its conditions."""
    coming = decision.next
    desired = seen.replicas if decision.replicas is None else decision.replicas
    return memory_status(decision.memory, spec) | {
        "desiredReplicas": desired,
        "readyReplicas": seen.ready,
        "activeWindow": decision.window or None,
        "nextTransition": None
        if coming is None
        else {"at": stamp(coming.at), "window": coming.window, "kind": coming.kind},
        "cost": cost_status(ledger),
    }


_QUIET = (
    "lastActive",
    "demandUnknownSince",
    "cost.accrued",
    "cost.ratePerHour",
    "cost.forecast",
    "cost.at",
)
"""Fields that change all the time: changes of these alone are written once a minute."""


def worth_writing(new: Status, old: Mapping[str, Any], *, quiet_too: bool) -> bool:
    """Whether the new status differs enough from the old one to be written."""
    # A later `cost.at` alone is not written, so a sleeping pool writes nothing.
    quiet = ("cost.at",) if quiet_too else _QUIET
    return not all(_same(value, old.get(name), name, quiet) for name, value in new.items())


def _same(new: Any, old: Any, name: str, quiet: Sequence[str]) -> bool:
    if name in quiet:
        return True
    if isinstance(new, dict):
        known = old if isinstance(old, dict) else {}
        return all(_same(value, known.get(n), f"{name}.{n}", quiet) for n, value in new.items())
    return bool(new == old)
