"""WarmPool.status: the decision's memory written down, and the conditions people read."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from .core.activity import override_end
from .core.clock_changes import dropped
from .core.cost import Ledger
from .core.durations import format_duration, parse_duration
from .core.spec import PoolSpec
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
from .views import moment

Status = dict[str, Any]


def stamp(at: datetime | None) -> str | None:
    """Write an instant the way the API does, to the microsecond."""
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def read_memory(status: Mapping[str, Any], transient: Memory) -> Memory:
    """The memory: what the status keeps, and what only this process knows (`transient`).

    The status is the truth: what only the process knew is dropped when the status has moved to a
    route epoch or phase that this process did not write.
    """
    if "phase" not in status:
        return transient
    route = status.get("route") or {}
    override = status.get("override") or {}
    opening = status.get("lastOpening") or {}
    phase, epoch = Phase(status["phase"]), int(route.get("epoch", 0))
    same = (phase, epoch) == (transient.phase, transient.epoch)
    return replace(
        transient if same else Memory(last_active=transient.last_active),
        phase=phase,
        reason=Reason(status.get("reason", Reason.IDLE)),
        since=moment(status.get("phaseSince")),
        route=Route(route.get("target", Route.NATIVE)),
        epoch=epoch,
        last_active=transient.last_active or moment(status.get("lastActive")),
        warm_ups=tuple(
            WarmUp(float(w["seconds"]), int(w["replicas"])) for w in status.get("warmUps") or ()
        ),
        override_key=override.get("key", ""),
        override_seen=moment(override.get("seenAt")),
        override_done=bool(override.get("done")),
        opening=None
        if not opening
        else Opening(
            opening["window"],
            datetime.fromisoformat(opening["at"]),
            moment(opening.get("readyAt")),
            bool(opening.get("cold")),
            int(opening.get("replicas", 0)),
            bool(opening.get("excused")),
        ),
        lead=parse_duration(status.get("lead", "0s")),
        ahead=parse_duration(status.get("ahead", "0s")),
        windows=Tally(**{name: int(count) for name, count in _tally(status).items()}),
    )


def _tally(status: Mapping[str, Any]) -> dict[str, Any]:
    known = status.get("windows") or {}
    return {name: known.get(name, 0) for name in ("ready", "cold", "late")}


def read_ledger(status: Mapping[str, Any]) -> Ledger:
    """The ledger as the status keeps it."""
    cost = status.get("cost") or {}
    return Ledger(
        currency=cost.get("currency", ""),
        period_start=moment(cost.get("periodStart")),
        accrued=Decimal(cost.get("accrued", "0")),
        at=moment(cost.get("at")),
    )


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
            {"seconds": round(w.seconds, 3), "replicas": w.replicas} for w in memory.warm_ups
        ],
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
        "cost": None
        if not ledger.currency
        else {
            "currency": ledger.currency,
            "periodStart": stamp(ledger.period_start),
            "accrued": f"{ledger.accrued:.6f}",
            "ratePerHour": f"{ledger.rate:.6f}",
            "at": stamp(ledger.at),
        },
    }


def condition(kind: str, holds: bool, reason: str, message: str) -> Status:
    """One condition, not yet dated."""
    return {
        "type": kind,
        "status": "True" if holds else "False",
        "reason": reason,
        "message": message,
    }


def pool_conditions(spec: PoolSpec, seen: Observation, decision: Decision) -> list[Status]:
    """Accepted, Ready and Warm for a pool that is acted on.

    Ready is about health, so it holds while asleep: `kubectl wait` must not hang on a pool that
    rightly has no pods.
    """
    phase = decision.memory.phase
    asleep = phase in (Phase.ASLEEP, Phase.SLEEPING)
    no_activator = seen.acknowledged is None
    if asleep and no_activator:
        ready = condition("Ready", False, "NoActivator", _NO_ACTIVATOR)
    elif asleep:
        ready = condition("Ready", True, "Asleep", "asleep; the next request wakes it")
    elif phase is Phase.WARMING:
        ready = condition("Ready", False, "Warming", f"{seen.ready} replicas are Ready so far")
    elif no_activator and phase is Phase.DRAINING:
        ready = condition("Ready", True, "NoActivator", _NO_ACTIVATOR)
    else:
        ready = condition("Ready", True, phase.value, f"{seen.ready} replicas are Ready")
    floor = max(decision.floor, 1)
    warm = condition(
        "Warm",
        phase is Phase.WARM and seen.ready >= floor,
        phase.value,
        f"{seen.ready} of {floor} replicas are Ready",
    )
    accepted = condition("Accepted", True, "Accepted", "the spec is in force")
    if spec.suspend:
        accepted = condition("Accepted", True, "Suspended", "spec.suspend stops every action")
    elif never := dropped(spec.windows, spec.zone):
        text = "the spec is in force, but " + "; ".join(d.message for d in never)
        accepted = condition("Accepted", True, "WindowNeverOpens", text)
    return [accepted, ready, warm]


_NO_ACTIVATOR = (
    "no Ready activator in this namespace: a sleeping pool could not be woken, so it stays as it "
    "is; check the Deployment kotatsu-activator here (chart value `namespaces`)"
)


def date_conditions(
    new: list[Status], old: Sequence[Mapping[str, Any]], generation: int, now: datetime
) -> list[Status]:
    """Give each condition its lastTransitionTime: kept while the status stays the same."""
    known = {c["type"]: c for c in old}
    dated = []
    for c in new:
        before = known.get(c["type"])
        kept = before is not None and before["status"] == c["status"]
        at = before["lastTransitionTime"] if before is not None and kept else stamp(now)
        dated.append(c | {"lastTransitionTime": at, "observedGeneration": generation})
    return dated


_QUIET = ("lastActive", "cost")
"""Fields that change all the time: they alone are written once a minute, not at each look."""


def worth_writing(new: Status, old: Mapping[str, Any], *, quiet_too: bool) -> bool:
    """Whether the new status says something the old one does not."""
    for name, value in new.items():
        if name in _QUIET and not quiet_too:
            continue
        if name == "cost" and isinstance(value, dict):
            # That nothing has been spent since is no news: a sleeping pool writes nothing.
            value = {key: said for key, said in value.items() if key != "at"}
        if not _same(value, old.get(name)):
            return True
    return False


def _same(new: Any, old: Any) -> bool:
    if isinstance(new, dict):
        known = old if isinstance(old, dict) else {}
        return all(_same(value, known.get(name)) for name, value in new.items())
    return bool(new == old)
