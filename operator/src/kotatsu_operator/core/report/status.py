"""WarmPool.status: the decision's memory and the ledger, written and read by one declaration.

The kubectl plugin reads it too.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, fields
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Generic, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from kotatsu_operator.core.budget.groups import Shared
from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.formats import (
    amount,
    choice,
    conditions_of,
    count,
    format_duration,
    instant,
    is_true,
    lasting,
    seconds,
    stamp,
    table,
    text,
)
from kotatsu_operator.core.plan.activity import override_end
from kotatsu_operator.core.plan.lead import KEEP
from kotatsu_operator.core.pool.calendars import read_followed
from kotatsu_operator.core.pool.decision import Decision, Observation, Transition
from kotatsu_operator.core.pool.memory import (
    Followed,
    Memory,
    Opening,
    Original,
    Phase,
    Process,
    Routing,
    changed,
)
from kotatsu_operator.core.pool.spec import PoolSpec

T = TypeVar("T")


class Form(NamedTuple):
    """How values of one type are stored."""

    read: Callable[[Any], Any]
    """Returns None for anything that is not such a value."""
    write: Callable[[Any], Any]


_FORMS: Mapping[type, Form] = {
    bool: Form(bool, bool),
    str: Form(lambda given: given if isinstance(given, str) else None, str),
    int: Form(lambda given: None if (n := count(given, -1)) < 0 else n, int),
    float: Form(seconds, lambda value: round(value, 3)),
    Decimal: Form(amount, "{:.6f}".format),
    datetime: Form(instant, stamp),
    timedelta: Form(lasting, format_duration),
    Followed: Form(read_followed, lambda followed: followed.written),
}


def _form_of(kind: Any) -> Any:
    first = next((arg for arg in get_args(kind) if arg is not NoneType), None)
    if isinstance(kind, UnionType):
        return _form_of(first)
    if get_origin(kind) is tuple:
        return several(_form_of(first), KEEP)
    if issubclass(kind, Enum):
        return Form(lambda given: choice(kind, given, None), lambda one: one.value)
    return _FORMS[kind] if kind in _FORMS else Record(kind)


def several(form: Any, most: int) -> Form:
    """A tuple of values of one form, stored as a list of at most `most`."""

    def read(given: Any) -> tuple[Any, ...]:
        # Only the newest: an edited status may have more than the operator writes.
        listed = given[-most:] if isinstance(given, list) else ()
        return tuple(one for item in listed if (one := form.read(item)) is not None)

    def write(values: Sequence[Any]) -> list[Any]:
        # A patch replaces a list as a whole, so that a None would stay in it.
        written = [form.write(value) for value in values]
        return [{k: v for k, v in one.items() if v is not None} for one in written]

    return Form(read, write)


class Record(Generic[T]):
    """A dataclass that is stored as an object, without the attributes in `but`.

    A field has the name of its attribute in camel case, unless `names` has another one, or a path
    (`route.epoch`); the fields of an attribute with an empty name are those of the object itself.
    Its form follows from the attribute's type, unless `forms` has another one. The attributes in
    `brief` are left out while they have their defaults. A status may have been edited by hand, so
    everything is read tolerantly (`core.formats`).
    """

    def __init__(
        self,
        kind: type[T],
        but: Collection[str] = (),
        brief: Collection[str] = (),
        forms: Mapping[str, Any] = MappingProxyType({}),
        **names: str,
    ) -> None:
        self._kind, types, self._brief = kind, get_type_hints(kind), frozenset(brief)
        stored = [f for f in fields(kind) if f.name not in but]  # type: ignore[arg-type]
        self._defaults: dict[str, Any] = {}
        self._rows: list[tuple[str, list[str], str, Any]] = []
        for f in stored:
            optional = f.default is MISSING and NoneType in get_args(types[f.name])
            self._defaults[f.name] = None if optional else f.default
            *parents, last = names.get(f.name, _camel(f.name)).split(".")
            form = forms.get(f.name) or _form_of(types[f.name])
            self._rows.append((f.name, parents, last, form))

    def values(self, given: Any) -> dict[str, Any]:
        """The attributes. One that cannot be read has its default; MISSING without one."""
        read, top = dict(self._defaults), table(given)
        for attribute, parents, last, form in self._rows:
            parent = top
            for name in parents:
                parent = table(parent.get(name))
            found = parent.get(last) if last else parent
            if found is not None and (value := form.read(found)) is not None:
                read[attribute] = value
        return read

    def read(self, given: Any) -> T | None:
        """The dataclass; None if an attribute without a default cannot be read."""
        values = self.values(given)
        return None if MISSING in values.values() else self._kind(**values)

    def write(self, value: T) -> dict[str, Any]:
        """The object; a value of None becomes None, which removes the field from a status."""
        written: dict[str, Any] = {}
        for attribute, parents, last, form in self._rows:
            parent = written
            for name in parents:
                parent = parent.setdefault(name, {})
            one = getattr(value, attribute)
            if not last:
                parent.update(form.write(one))
            elif one is None or (attribute in self._brief and one == self._defaults[attribute]):
                parent[last] = None
            else:
                parent[last] = form.write(one)
        return written


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


Status = dict[str, Any]

_MEMORY = Record(
    Memory,
    but=("process", "has_timed_out"),
    brief=("ahead", "first_start", "reduced", "capacity", "calendars", "woken_soon"),
    forms={
        "opening": Record(Opening, brief=("excused",)),
        "route": Record(Routing, brief=("counted",)),
    },
    since="phaseSince",
    unknown_since="demandUnknownSince",
    announced="demand",
    opening="lastOpening",
    original="hpa",
)
_ORIGINAL = Record(Original)
_GROUP = Record(Shared, but=("rate", "disagreement"), total="spent")
_TRANSITION = Record(Transition)
_LEDGER = Record(
    Ledger,
    but=("rate", "limit", "forecast", "shared", "pods"),
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
        "group": None if ledger.shared is None else _GROUP.write(ledger.shared),
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
        "cost.group.spent",
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
    # A later `cost.at`, or what other pools of the group spend, is not written for itself: so a
    # sleeping pool writes nothing.
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
