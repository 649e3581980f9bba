"""WarmPool.status: the decision's memory and the ledger, written and read by one declaration.

The kubectl plugin reads it too.
"""

from collections.abc import Collection, Mapping
from typing import Any

from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.formats import (
    choice,
    conditions_of,
    format_duration,
    is_true,
    stamp,
    table,
    text,
)
from kotatsu_operator.core.plan.activity import override_end
from kotatsu_operator.core.pool.calendars import FOLLOWED
from kotatsu_operator.core.pool.decision import Decision, Observation, Transition
from kotatsu_operator.core.pool.memory import (
    Memory,
    Opening,
    Original,
    Phase,
    Process,
    Routing,
    changed,
)
from kotatsu_operator.core.pool.spec import PoolSpec
from kotatsu_operator.core.schema import MOST_ITEMS, Schema, several

Status = dict[str, Any]

_MEMORY = Schema(
    Memory,
    but=("process", "has_timed_out"),
    brief=("ahead", "first_start", "reduced", "capacity", "calendars", "woken_soon"),
    forms={
        "calendars": several(FOLLOWED, MOST_ITEMS),
        "opening": Schema(Opening, brief=("excused",)),
        "route": Schema(Routing, brief=("counted",)),
    },
    since="phaseSince",
    unknown_since="demandUnknownSince",
    announced="demand",
    opening="lastOpening",
    original="hpa",
)
_ORIGINAL = Schema(Original)
_TRANSITION = Schema(Transition)
_LEDGER = Schema(
    Ledger,
    but=("rate", "limit", "forecast", "pods"),
    pod_hour="podPerHour",
    parked_hour="parkedPodPerHour",
)


def memory_status(memory: Memory, spec: PoolSpec) -> Status:
    """The part of the status with the memory (None removes a field)."""
    status, override = _MEMORY.write(memory), spec.override
    # A rejected pool keeps its previous Service.
    status["route"]["service"] = None if spec.target.scales_itself else spec.service
    if memory.announced.seen is None:
        del status["demand"]  # an activator writes the rest of it
    if override is None:
        status["override"] = None
    else:
        status["override"]["endsAt"] = stamp(override_end(override, memory))
    if (opening := memory.opening) is not None:
        early = opening.early
        status["lastOpening"]["early"] = None if early is None else format_duration(early)
    return status


def read_memory(status: Mapping[str, Any], transient: Memory) -> Memory:
    """The memory: from the status, completed with what only this process knows (`transient`).

    The status takes precedence: `transient` is dropped if the status has a route epoch or phase
    that this process did not write.
    """
    phase = choice(Phase, status.get("phase"), None)
    if phase is None:
        # A new pool may have inherited parked pods.
        return changed(transient, reduced=transient.reduced or status.get("reduced") is True)
    calendars = transient.calendars
    if calendars and status.get("calendars") == [one.written for one in calendars]:
        stored = _MEMORY.values({**status, "calendars": None}) | {"calendars": calendars}
    else:
        stored = _MEMORY.values(status)
    same = (phase, stored["route"].epoch) == (transient.phase, transient.route.epoch)
    if same and transient.since is not None:
        stored["unknown_since"] = transient.unknown_since
    stored["last_active"] = transient.last_active or stored["last_active"]
    stored["has_timed_out"] = is_true(conditions_of(status).get("RequestsTimedOut"))
    return Memory(**stored, process=transient.process if same else Process())


def target_status(spec: PoolSpec) -> Status:
    """The target that the pool has: it stays in the status until it is given back."""
    return {"kind": spec.target.kind, "name": spec.target.name}


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
    return status | {"cost": cost_status(ledger)}


def decided_status(spec: PoolSpec, seen: Observation, decision: Decision, ledger: Ledger) -> Status:
    """The whole status after a decision, without its conditions."""
    coming = decision.next
    desired = seen.replicas if decision.replicas is None else decision.replicas
    return memory_status(decision.memory, spec) | {
        "target": target_status(spec),
        "desiredReplicas": desired,
        "readyReplicas": seen.ready,
        "activeWindow": decision.window or None,
        "nextTransition": None if coming is None else _TRANSITION.write(coming),
        "cost": cost_status(ledger),
    }


_NEVER_ALONE = frozenset(
    {
        "cost.at",
        "history.running.cost",
        "history.running.podSeconds",
        "history.running.replicas",
        "history.running.wakes",
        "history.running.opened",
        "history.running.cold",
    }
)
"""Fields that are written only together with others: a pool that sleeps writes nothing."""

_QUIET = _NEVER_ALONE | {
    "lastActive",
    "demandUnknownSince",
    "cost.accrued",
    "cost.ratePerHour",
    "cost.forecast",
}
"""Fields that change all the time: changes of these alone are written once a minute."""


def worth_writing(new: Status, old: Mapping[str, Any], *, quiet_too: bool) -> bool:
    """Whether the new status differs enough from the old one to be written."""
    # A later `cost.at` is not written for itself: so a sleeping pool writes nothing.
    quiet = _NEVER_ALONE if quiet_too else _QUIET
    return not all(_same(value, old.get(name), name, quiet) for name, value in new.items())


def _same(new: Any, old: Any, name: str, quiet: Collection[str]) -> bool:
    if name in quiet:
        return True
    if isinstance(new, dict):
        known = old if isinstance(old, dict) else {}
        return all(_same(value, known.get(n), f"{name}.{n}", quiet) for n, value in new.items())
    return bool(new == old)


# --- an operator that is newer than its CRD ---
#
# The API server drops fields that the CRD does not have. They are the memory of what was reported,
# so without them each reconcile would report it again. The operator that wrote them remembers them.


def dropped(written: Mapping[str, Any], came: Mapping[str, Any]) -> Status:
    """What the API server has not kept of a status that was merged into a pool's."""
    lost: Status = {}
    for name, value in written.items():
        known = came.get(name)
        if isinstance(value, Mapping):
            if inner := dropped(value, table(known)):
                lost[name] = inner
        elif value is not None and value != known:
            lost[name] = value
    return lost


def merged(status: Mapping[str, Any], fields: Mapping[str, Any]) -> Status:
    """A status with fields merged into it; None removes one."""
    made = dict(status)
    for name, value in fields.items():
        made[name] = merged(table(status.get(name)), value) if isinstance(value, Mapping) else value
    return {name: value for name, value in made.items() if value is not None}
