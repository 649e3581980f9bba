"""WarmPool.status: the decision's memory and the ledger, written and read by one declaration.

What people read has fields of its own. Everything else that the operator remembers is in
`status.internal`, without a schema (decision 71). The kubectl plugin reads both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import tzinfo
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.calendar.wallclock import zones
from kotatsu_operator.core.formats import (
    amount,
    choice,
    conditions_of,
    count,
    format_amount,
    format_duration,
    instant,
    internal,
    is_name,
    stamp,
    table,
)
from kotatsu_operator.core.plan.activity import override_end
from kotatsu_operator.core.pool.calendars import FOLLOWED
from kotatsu_operator.core.pool.memory import (
    WARM_UPS,
    Announced,
    Memory,
    Opening,
    Original,
    Phase,
    Routing,
    changed,
)
from kotatsu_operator.core.pool.news import Transition
from kotatsu_operator.core.pool.spec import Budget, PoolSpec
from kotatsu_operator.core.schema import MOST_ITEMS, Form, Schema, joined, several

if TYPE_CHECKING:
    from kotatsu_operator.core.pool.decision import Decision, Observation, Wake

Status = dict[str, Any]

VERSION = 1
"""Of the layout of `internal`."""

_ORIGINAL = Schema(
    Original, forms={"name": Form(lambda given: given if is_name(given) else None, str)}
)
_OPENING = Schema(
    Opening,
    brief=("excused",),
    window="lastOpening.window",
    at="lastOpening.at",
    cold="lastOpening.cold",
    ready_at="internal.opening.readyAt",
    replicas="internal.opening.replicas",
    excused="internal.opening.excused",
)
_MEMORY = Schema(
    Memory,
    but=("process", "has_timed_out"),
    brief=("ahead", "first_start", "reduced", "capacity", "calendars", "woken_soon", "keeps_one"),
    forms={
        "calendars": several(FOLLOWED, MOST_ITEMS),
        "opening": _OPENING,
        "route": Schema(Routing, brief=("beside",), beside="counted"),
        "announced": Schema(Announced, seen="demand.seen", seen_at="internal.demandSeenAt"),
        "warm_ups": WARM_UPS,
        "original": _ORIGINAL,
    },
    since="phaseSince",
    found="foundReplicas",
    opening="",
    announced="",
    **{
        name: f"internal.{stored}"
        for name, stored in {
            "parked_since": "parkedSince",
            "ahead": "ahead",
            "capacity": "capacity",
            "first_start": "firstStart",
            "keeps_one": "keepsOne",
            "windows": "windows",
            "warm_ups": "warmUps",
            "template": "template",
            "original": "hpa",
            "contest": "contest",
            "calendars": "calendars",
            "override": "override",
            "unknown_since": "demandUnknownSince",
            "raised_at": "raisedAt",
            "woken_soon": "wokenSoon",
        }.items()
    },
)
_TRANSITION = Schema(Transition)


def _zone(given: Any) -> ZoneInfo | None:
    return ZoneInfo(given) if isinstance(given, str) and given in zones() else None


_LEDGER = Schema(
    Ledger,
    but=("rate", "limit", "forecast", "ended", "pods"),
    currency="cost.currency",
    period_start="cost.periodStart",
    accrued="cost.accrued",
    at="internal.cost.at",
    pod_hour="internal.cost.podPerHour",
    parked_hour="internal.cost.parkedPodPerHour",
    period="internal.cost.period",
    period_end="internal.cost.periodEnd",
    exhausted_at="internal.cost.exhaustedAt",
    previous="internal.cost.previous",
)

_SHARED = Schema(
    Budget,
    but=("shared",),
    forms={"limit": Form(amount, str), "zone": Form(_zone, str)},
    zone="timeZone",
    beside="gone",
)


def memory_status(memory: Memory, spec: PoolSpec) -> Status:
    """The part of the status with the memory (None removes a field)."""
    status, override = _MEMORY.write(memory), spec.override
    inner = status["internal"]
    inner["version"] = VERSION
    # Where `foundReplicas` was until version 0.1: `read_memory` reads it there.
    inner["foundReplicas"] = status["restoreReplicas"] = None
    # A rejected pool keeps its previous Service.
    status["route"]["service"] = None if spec.target.scales_itself else spec.service
    if memory.announced.seen is None:
        del status["demand"]  # an activator writes the rest of it
    if override is None:
        status["overrideEndsAt"] = inner["override"] = None
    else:
        status["overrideEndsAt"] = stamp(override_end(override, memory))
    if (opening := memory.opening) is None:
        status["lastOpening"] = inner["opening"] = None
    else:
        early = opening.early
        status["lastOpening"]["early"] = None if early is None else format_duration(early)
    return status


def read_memory(status: Mapping[str, Any], transient: Memory) -> Memory:
    """The memory: from the status, completed with what only this process knows (`transient`).

    The status takes precedence: `transient` is dropped, but for requests that have timed out, if
    the status has a route epoch or phase that this process did not write.
    """
    phase = choice(Phase, status.get("phase"), None)
    if phase is None:
        # A new pool may have inherited parked pods, and what its target was found with.
        is_reduced, found = status.get("reduced") is True, count(status.get("foundReplicas"), -1)
        return changed(
            transient,
            reduced=transient.reduced or is_reduced,
            found=transient.found if found < 0 else found,
        )
    calendars, inner = transient.calendars, internal(status)
    if calendars and inner.get("calendars") == [one.written for one in calendars]:
        known = {**status, "internal": {**inner, "calendars": None}}
        stored = _MEMORY.values(known) | {"calendars": calendars}
    else:
        stored = _MEMORY.values(status)
    same = (phase, stored["route"].epoch) == (transient.phase, transient.route.epoch)
    if same and transient.since is not None:
        stored["unknown_since"] = transient.unknown_since
    stored["last_active"] = transient.last_active or stored["last_active"]
    conditions = conditions_of(status)
    fit = conditions.get("DurationsFit", {})
    stored["has_timed_out"] = fit.get("reason") == "RequestsTimedOut"
    if any(one.get("reason") == "Uninstalled" for one in conditions.values()):
        # The target ran without the pool, which adopts it anew.
        stored["since"], stored["found"] = None, stored["found"] or None
    elif stored["found"] is None:
        former = (inner.get("foundReplicas"), status.get("restoreReplicas"))
        numbers = [number for given in former if (number := count(given, -1)) >= 0]
        stored["found"] = numbers[0] if numbers else None
        stored["keeps_one"] = stored["found"] not in (0, 1)
    process = transient.process if same else transient.process.timeouts
    return Memory(**stored, process=process)


def target_status(spec: PoolSpec) -> Status:
    """The target that the pool has: it stays in the status until it is given back."""
    return {"internal": {"target": {"kind": spec.target.kind, "name": spec.target.name}}}


def original_status(original: Original | None) -> Status:
    """The part of the status that `read_original` reads."""
    return {"internal": {"hpa": None if original is None else _ORIGINAL.write(original)}}


def read_original(known: Mapping[str, Any]) -> Original | None:
    """The minReplicas of the target's HPA without the pool: from `internal`, or from a record."""
    return _ORIGINAL.read(known.get("hpa"))


def cost_status(ledger: Ledger) -> Status:
    """The part of the status with the ledger; a pool without prices has none."""
    if not ledger.currency:
        return {"cost": None, "internal": {"cost": None, "shown": {"cost": None}}}
    limit, expected = ledger.limit, ledger.forecast
    shown = {
        "ratePerHour": f"{ledger.rate:.6f}",
        "forecast": None if expected is None else f"{expected:.2f}",
        "limit": None if limit is None else str(limit),
    }
    text = {"internal": {"shown": {"cost": format_amount(ledger.accrued, ledger.currency)}}}
    return joined(_LEDGER.write(ledger), {"cost": shown}, text)


def read_ledger(status: Mapping[str, Any]) -> Ledger:
    return Ledger(**_LEDGER.values(status))


def shared_status(budget: Budget | None) -> Status:
    """The part of a status with the budget of the set; `beside` is what deleted pools had spent."""
    return {"internal": {"set": None if budget is None else _SHARED.write(budget)}}


def read_shared(status: Mapping[str, Any]) -> Budget | None:
    """The budget of a pool's set, as it was when the pool was decided on last; None for none."""
    if stored := internal(status).get("set"):
        return _SHARED.read(stored)
    ledger, limit = read_ledger(status), amount(table(status.get("cost")).get("limit"))
    if ledger.exhausted_at is None or limit is None:
        return None
    # Statuses did not have it once. What deleted pools had spent is not known, but was enough.
    return Budget(limit, ledger.period, beside=limit)


def books_status(spec: PoolSpec, seen: Observation, memory: Memory, ledger: Ledger) -> Status:
    """The status of a rejected pool on which the operator must not act."""
    known = memory_status(memory, spec)
    status = {
        "overrideEndsAt": known["overrideEndsAt"],
        "desiredReplicas": seen.replicas,
        "readyReplicas": seen.ready,
        "reduced": memory.reduced or None,
        "internal": {"version": VERSION, "override": known["internal"]["override"]},
    }
    return joined(status, kept_cost(ledger))


def kept_cost(ledger: Ledger) -> Status:
    """The part of a rejected pool's status with the ledger: an invalid budget removes none."""
    return cost_status(ledger) if ledger.currency else {}


def is_new_wake(wake: Wake | None, known: Mapping[str, Any]) -> bool:
    """Whether a wake is newer than the one that the status has."""
    written = instant(table(known.get("lastWake")).get("at"))
    return wake is not None and (written is None or wake.at > written)


def wake_status(wake: Wake | None, known: Mapping[str, Any]) -> Status:
    """The part of the status with a new wake that a pod has answered; empty for none."""
    if wake is None or wake.took is None or not is_new_wake(wake, known):
        return {}
    return {"lastWake": {"at": stamp(wake.at), "duration": f"{wake.took.total_seconds():.3f}s"}}


def decided_status(
    spec: PoolSpec,
    seen: Observation,
    decision: Decision,
    ledger: Ledger,
    cost: Callable[[Ledger], Status] = cost_status,
) -> Status:
    """The whole status after a decision, without its conditions."""
    coming = decision.next
    desired = seen.replicas if decision.replicas is None else decision.replicas
    shown = {
        "desiredReplicas": desired,
        "readyReplicas": seen.ready,
        "activeWindow": decision.window or None,
        "nextTransition": None if coming is None else _TRANSITION.write(coming),
        "internal": {"shown": {"next": None if coming is None else _text(coming, spec.zone)}},
    }
    return joined(memory_status(decision.memory, spec), shown, target_status(spec), cost(ledger))


_DOES = {"prewarm": "starts", "open": "opens", "close": "closes"}


def _text(coming: Transition, zone: tzinfo) -> str:
    """The next step for the column of `kubectl get`, which shows no time that is to come."""
    at = coming.at.astimezone(zone)
    return f"{_DOES[coming.kind]} {at:%Y-%m-%d %H:%M:%S}".removesuffix(":00")


_STAYS = ("cost", "history", "set", "version")
"""What a status keeps of a pool that is not served any more: what it has cost, and may cost."""


def left_status(status: Mapping[str, Any]) -> Status:
    """The merge patch that clears the status of a pool that is not served any more."""
    inner: Status = {name: None for name in internal(status) if name not in _STAYS}
    if "cost" in table(internal(status).get("shown")):
        inner["shown"] = {"next": None}
    return {name: None for name in status if name not in _STAYS} | {"internal": inner}


_NEVER_ALONE = frozenset({"internal.cost.at", "internal.history", "internal.set.gone"})
"""Fields that are written only together with others: a pool that sleeps writes nothing."""

_QUIET = _NEVER_ALONE | {
    "lastActive",
    "lastWake",
    "internal.demandUnknownSince",
    "cost.accrued",
    "internal.shown.cost",
    "cost.ratePerHour",
    "cost.forecast",
    "cost.text",
    "internal.spent",
}
"""Fields that change all the time: changes of these alone are written once a minute."""


def worth_writing(new: Status, old: Mapping[str, Any], *, quiet_too: bool) -> bool:
    """Whether the new status differs enough from the old one to be written."""
    # A later time of the ledger is not written for itself: so a sleeping pool writes nothing.
    return not _has(old, new, _NEVER_ALONE if quiet_too else _QUIET)


def is_written(new: Status, there: Mapping[str, Any]) -> bool:
    """Whether a status has all that was to be written to it."""
    return _has(there, new, ())


def _has(old: Mapping[str, Any], new: Status, quiet: Collection[str]) -> bool:
    return all(_same(value, old.get(name), name, quiet) for name, value in new.items())


def _same(new: Any, old: Any, name: str, quiet: Collection[str]) -> bool:
    if name in quiet:
        return True
    if isinstance(new, dict):
        known = old if isinstance(old, dict) else {}
        return all(_same(value, known.get(n), f"{name}.{n}", quiet) for n, value in new.items())
    return bool(new == old)
