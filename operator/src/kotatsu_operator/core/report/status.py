"""WarmPool.status: the decision's memory and the ledger, written and read.

The kubectl plugin reads it too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from kotatsu_operator.core.budget.groups import Shared
from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.formats import choice, format_duration, stamp, table, text
from kotatsu_operator.core.plan.activity import override_end
from kotatsu_operator.core.pool.decision import Decision
from kotatsu_operator.core.pool.memory import Memory, Original, Phase
from kotatsu_operator.core.pool.observation import Observation
from kotatsu_operator.core.pool.spec import PoolSpec
from kotatsu_operator.core.report.fields import Record

Status = dict[str, Any]

_MEMORY = Record(
    Memory,
    but=("acknowledged_at", "raised_at", "trend", "lowered"),
    since="phaseSince",
    route="route.target",
    epoch="route.epoch",
    unknown_since="demandUnknownSince",
    override_key="override.key",
    override_seen="override.seenAt",
    override_done="override.done",
    opening="lastOpening",
    ticket="demand.seen",
    ticket_seen="demand.seenAt",
    template="template.hash",
    proven="template.proven",
    original="hpa",
)
_ORIGINAL = Record(Original)
_LEDGER = Record(Ledger, but=("rate", "limit", "forecast", "shared", "pods"), pod_hour="podPerHour")


def memory_status(memory: Memory, spec: PoolSpec) -> Status:
    """The part of the status with the memory (None removes a field)."""
    status, override = _MEMORY.write(memory), spec.override
    # A rejected pool keeps its previous Service.
    status["route"]["service"] = None if spec.target.scales_itself else spec.service
    if not memory.ahead:
        status["ahead"] = None
    if memory.ticket is None:
        del status["demand"]  # an activator writes the rest of it
    if override is None:
        status["override"] = None
    else:
        status["override"]["endsAt"] = stamp(override_end(override, memory))
    if (opening := memory.opening) is not None:
        early = None if opening.early is None else format_duration(opening.early)
        status["lastOpening"] |= {"early": early, "excused": opening.excused or None}
    return status


def read_memory(status: Mapping[str, Any], transient: Memory) -> Memory:
    """The memory: from the status, completed with what only this process knows (`transient`).

    The status takes precedence: `transient` is dropped if the status has a route epoch or phase
    that this process did not write.
    """
    phase = choice(Phase, status.get("phase"), None)
    if phase is None:
        return transient
    stored = _MEMORY.values(status)
    same = (phase, stored["epoch"]) == (transient.phase, transient.epoch)
    if same and transient.since is not None:
        stored["unknown_since"] = transient.unknown_since
    stored["last_active"] = transient.last_active or stored["last_active"]
    return replace(transient if same else Memory(), **stored)


def original_status(original: Original | None) -> Status | None:
    """The part of the status that `read_original` reads."""
    return None if original is None else _ORIGINAL.write(original)


def read_original(status: Mapping[str, Any]) -> Original | None:
    """The minReplicas of the target's HPA without the pool, from the status."""
    return _ORIGINAL.read(status.get("hpa"))


def cost_status(ledger: Ledger) -> Status | None:
    """The status of the ledger; None for a pool without prices."""
    if not ledger.currency:
        return None
    limit, expected = ledger.limit, ledger.forecast
    return _LEDGER.write(ledger) | {
        "ratePerHour": f"{ledger.rate:.6f}",
        "forecast": None if expected is None else f"{expected:.2f}",
        "limit": None if limit is None else str(limit),
        "exhausted": None if limit is None else ledger.exhausted_at is not None,
        "group": None if ledger.shared is None else _group_status(ledger.shared),
    }


def _group_status(shared: Shared) -> Status:
    return {
        "name": shared.name,
        "spent": f"{shared.total:.6f}",
        "deleted": None if shared.deleted is None else f"{shared.deleted:.6f}",
    }


def read_ledger(status: Mapping[str, Any]) -> Ledger:
    cost = table(status.get("cost"))
    previous = {"currency": text(cost.get("currency")), **table(cost.get("previous"))}
    return Ledger(**_LEDGER.values({**cost, "previous": previous}))


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


_NEVER_ALONE = ("cost.at", "cost.group.spent")
_QUIET = (
    *_NEVER_ALONE,
    "lastActive",
    "demandUnknownSince",
    "cost.accrued",
    "cost.ratePerHour",
    "cost.forecast",
)
"""Fields that change all the time: changes of these alone are written once a minute."""


def worth_writing(new: Status, old: Mapping[str, Any], *, quiet_too: bool) -> bool:
    """Whether the new status differs enough from the old one to be written."""
    # A later `cost.at`, or what other pools of the group spend, is not written for itself: so a
    # sleeping pool writes nothing.
    quiet = _NEVER_ALONE if quiet_too else _QUIET
    return not all(_same(value, old.get(name), name, quiet) for name, value in new.items())


def _same(new: Any, old: Any, name: str, quiet: Sequence[str]) -> bool:
    if name in quiet:
        return True
    if isinstance(new, dict):
        known = old if isinstance(old, dict) else {}
        return all(_same(value, known.get(n), f"{name}.{n}", quiet) for n, value in new.items())
    return bool(new == old)
