"""WarmPool.status: the decision's memory and the ledger, written down and read again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from .core.activity import override_end
from .core.autoscaler import Original
from .core.contest import Contest
from .core.durations import format_duration
from .core.edited import amount, choice, instant, lasting
from .core.ledger import Ledger, Spent
from .core.spec import Period, PoolSpec
from .core.state import (
    Decision,
    Memory,
    Observation,
    Opening,
    Phase,
    Reason,
    Route,
    Tally,
    WarmUp,
)

Status = dict[str, Any]


def stamp(at: datetime | None) -> str | None:
    """Write an instant the way the API does, to the microsecond."""
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def read_memory(status: Mapping[str, Any], transient: Memory) -> Memory:
    """The memory: what the status keeps, and what only this process knows (`transient`).

    The status is the truth: what only the process knew is dropped when the status has moved to a
    route epoch or phase that this process did not write.
    """
    phase = choice(Phase, status.get("phase"), None)
    if phase is None:
        return transient
    route = status.get("route") or {}
    override = status.get("override") or {}
    epoch = int(route.get("epoch", 0))
    same = (phase, epoch) == (transient.phase, transient.epoch)
    unknown_since = transient.unknown_since
    if not same or transient.since is None:
        unknown_since = instant(status.get("demandUnknownSince"))
    demand, template = status.get("demand") or {}, status.get("template") or {}
    return replace(
        transient if same else Memory(last_active=transient.last_active),
        phase=phase,
        reason=choice(Reason, status.get("reason"), Reason.IDLE),
        since=instant(status.get("phaseSince")),
        route=choice(Route, route.get("target"), Route.NATIVE),
        epoch=epoch,
        unknown_since=unknown_since,
        last_active=transient.last_active or instant(status.get("lastActive")),
        warm_ups=tuple(_read_warm_ups(status.get("warmUps") or ())),
        ticket=instant(demand.get("seen")),
        ticket_seen=instant(demand.get("seenAt")),
        template=template.get("hash", ""),
        proven=bool(template.get("proven")),
        original=read_original(status),
        contest=_read_contest(status.get("contest") or {}),
        override_key=override.get("key", ""),
        override_seen=instant(override.get("seenAt")),
        override_done=bool(override.get("done")),
        opening=_read_opening(status.get("lastOpening") or {}),
        lead=lasting(status.get("lead")),
        ahead=lasting(status.get("ahead")),
        windows=Tally(**{name: int(count) for name, count in _tally(status).items()}),
    )


def _read_warm_ups(written: Sequence[Mapping[str, Any]]) -> Iterator[WarmUp]:
    for w in written:
        if "seconds" in w and "replicas" in w:
            yield WarmUp(float(w["seconds"]), int(w["replicas"]), w.get("template", ""))


def _read_opening(written: Mapping[str, Any]) -> Opening | None:
    at = instant(written.get("at"))
    if at is None:
        return None
    return Opening(
        written.get("window", ""),
        at,
        instant(written.get("readyAt")),
        bool(written.get("cold")),
        int(written.get("replicas", 0)),
        bool(written.get("excused")),
    )


def _tally(status: Mapping[str, Any]) -> dict[str, Any]:
    known = status.get("windows") or {}
    return {name: known.get(name, 0) for name in ("ready", "cold", "late")}


def read_original(status: Mapping[str, Any]) -> Original | None:
    """The minReplicas that the target's autoscaler has without the pool, as the status keeps it."""
    hpa = status.get("hpa") or {}
    if not hpa.get("name"):
        return None
    return Original(hpa["name"], int(hpa.get("minReplicas", 1)))


def original_status(original: Original | None) -> Status | None:
    """The part of the status that `read_original` reads."""
    if original is None:
        return None
    return {"name": original.name, "minReplicas": original.min_replicas}


def _read_contest(raw: Mapping[str, Any]) -> Contest | None:
    seen_at = instant(raw.get("seenAt"))
    if seen_at is None or not raw.get("by"):
        return None
    return Contest(
        raw["by"],
        instant(raw.get("writtenAt")),
        seen_at,
        int(raw.get("count", 1)),
        bool(raw.get("applied")),
    )


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


def read_ledger(status: Mapping[str, Any]) -> Ledger:
    """The ledger as the status keeps it."""
    cost = status.get("cost") or {}
    currency, before = cost.get("currency", ""), cost.get("previous") or {}
    ended = instant(before.get("periodStart"))
    return Ledger(
        currency=currency,
        period_start=instant(cost.get("periodStart")),
        accrued=amount(cost.get("accrued")) or Decimal(0),
        at=instant(cost.get("at")),
        period=choice(Period, cost.get("period"), Period.MONTH),
        period_end=instant(cost.get("periodEnd")),
        exhausted_at=instant(cost.get("exhaustedAt")),
        previous=None
        if ended is None
        else Spent(
            before.get("currency", currency), ended, amount(before.get("accrued")) or Decimal(0)
        ),
    )


def cost_status(ledger: Ledger) -> Status | None:
    """The ledger written down; None for a pool without prices."""
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


def memory_status(memory: Memory, spec: PoolSpec) -> Status:
    """The part of the status that carries the memory (None removes a field)."""
    opening, override = memory.opening, spec.override
    return {
        "phase": memory.phase.value,
        "phaseSince": stamp(memory.since),
        "reason": memory.reason.value,
        "route": {"target": memory.route.value, "epoch": memory.epoch},
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
    """What is written of a refused pool that nothing may be done for."""
    status = {
        "override": memory_status(memory, spec)["override"],
        "desiredReplicas": seen.replicas,
        "readyReplicas": seen.ready,
    }
    return status | without_unread_cost({"cost": cost_status(ledger)})


def without_unread_cost(status: Status) -> Status:
    """The status of a refused pool: a budget that cannot be read takes nothing of the ledger."""
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
"""Fields that change all the time: they alone are written once a minute, not at each look."""


def worth_writing(new: Status, old: Mapping[str, Any], *, quiet_too: bool) -> bool:
    """Whether the new status says something the old one does not."""
    # That nothing has been spent since is no news: a sleeping pool writes nothing.
    quiet = ("cost.at",) if quiet_too else _QUIET
    return not all(_same(value, old.get(name), name, quiet) for name, value in new.items())


def _same(new: Any, old: Any, name: str, quiet: Sequence[str]) -> bool:
    if name in quiet:
        return True
    if isinstance(new, dict):
        known = old if isinstance(old, dict) else {}
        return all(_same(value, known.get(n), f"{name}.{n}", quiet) for n, value in new.items())
    return bool(new == old)
