"""A WarmPoolSet as a value, read from its manifest. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from kotatsu_operator.core.calendar.wallclock import zones
from kotatsu_operator.core.formats import amount, choice, parse_duration, table, text
from kotatsu_operator.core.objects import Object, is_selector, selector_view, selects
from kotatsu_operator.core.pool.parse import SpecError
from kotatsu_operator.core.pool.spec import Budget, OnExhausted, Period
from kotatsu_operator.core.protocol import API_VERSION, INSTALL_LABEL, SET_KIND
from kotatsu_operator.core.scope import Namespace, Scope

Selector = Mapping[str, Any]

_OWN = ("targetRef", "service", "override")
"""Fields of a WarmPool that are never the same for all pools of a set."""


@dataclass(frozen=True)
class PoolSet:
    """What a WarmPoolSet asks for."""

    name: str
    uid: str
    made: tuple[str, str]
    """What orders sets by age: the time of creation, and the name."""
    namespaces: Selector
    workloads: Selector | None
    """None: all workloads that have a Service."""
    template: Mapping[str, Any]
    """The spec of its pools, without what differs between them."""
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    order: tuple[Selector, ...] = ()
    """Selectors of workloads: one that an entry selects waits for those of the entries after it."""
    names: tuple[str, ...] = ()
    """Pools by name on which all pools of the set depend."""
    budget: Budget | None = None
    """The limit on what its pools cost together."""
    unused_after: timedelta | None = None
    heeds_opt_out: bool = True
    """Whether owners of workloads and namespaces can keep them out."""

    def has(self, namespace: str, found: Namespace) -> bool:
        """Whether the set makes pools in a namespace."""
        out = self.heeds_opt_out and found.opts_out
        return bool(namespace) and not out and selects(self.namespaces, found.labels)

    @property
    def owner(self) -> dict[str, Any]:
        """The entry of ownerReferences of its pools."""
        return {
            "apiVersion": API_VERSION,
            "kind": SET_KIND,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }


def is_of(scope: Scope, obj: Object) -> bool:
    """Whether an install acts on a set: the one that its label names, or the unlabeled one."""
    named = table(obj["metadata"].get("labels")).get(INSTALL_LABEL)
    return scope.unlabeled if named is None else bool(named == scope.home)


def read_set(obj: Object) -> PoolSet:
    """Read a WarmPoolSet. Raises SpecError with a sentence that says what to change."""
    meta, spec = obj["metadata"], table(obj.get("spec"))
    template = table(spec.get("template"))
    given = dict(table(template.get("spec")))
    marks = table(template.get("metadata"))
    for name in _OWN:
        if name in given:
            raise SpecError(f"spec.template.spec.{name} differs between pools: remove it")
    if unknown := template.keys() - {"metadata", "spec"}:
        raise SpecError(f"spec.template has no field {min(unknown)}: its fields are in spec")
    if unknown := marks.keys() - {"labels", "annotations"}:
        raise SpecError(f"spec.template.metadata has no field {min(unknown)}: remove it")
    order, names = _order(given.pop("dependsOn", None))
    workloads = spec.get("selector")
    budget = _budget(spec.get("budget"), given.get("timeZone"))
    if budget is not None:
        if "budget" in given:
            raise SpecError("spec.budget limits all pools: remove spec.template.spec.budget")
        given["budget"] = table(spec.get("budget"))
    unused = spec.get("unusedAfter")
    return PoolSet(
        name=meta["name"],
        uid=meta["uid"],
        made=(text(meta.get("creationTimestamp")), meta["name"]),
        namespaces=_selector(spec.get("namespaceSelector"), "spec.namespaceSelector"),
        workloads=None if workloads is None else _selector(workloads, "spec.selector"),
        template=given,
        labels=_texts(marks.get("labels"), "labels"),
        annotations=_texts(marks.get("annotations"), "annotations"),
        order=order,
        names=names,
        budget=budget,
        unused_after=None if unused is None else _duration(str(unused)),
        heeds_opt_out=spec.get("optOut", "Allowed") == "Allowed",
    )


def _selector(given: Any, where: str) -> Selector:
    if not isinstance(given, Mapping) or not is_selector(given):
        raise SpecError(f"{where} is no label selector: write it like {{matchLabels: {{a: b}}}}")
    return selector_view(given)


def _order(given: Any) -> tuple[tuple[Selector, ...], tuple[str, ...]]:
    where = "spec.template.spec.dependsOn"
    if not isinstance(given or [], list):
        raise SpecError(f"{where} is no list: write it like [{{matchLabels: {{tier: db}}}}]")
    names = tuple(entry for entry in given or () if isinstance(entry, str))
    rest = (entry for entry in given or () if not isinstance(entry, str))
    return tuple(_selector(entry, where) for entry in rest), names


def _texts(given: Any, where: str) -> Mapping[str, str]:
    found = table(given)
    if found.keys() and not all(isinstance(value, str) for value in found.values()):
        raise SpecError(f"spec.template.metadata.{where} has a value that is no text: quote it")
    return {name: value for name, value in found.items() if not name.startswith("kotatsu.dev/")}


def _budget(given: Any, zone: Any) -> Budget | None:
    if not given:
        return None
    limit = amount(table(given).get("limit"))
    if limit is None:
        raise SpecError("spec.budget.limit is no amount: write it like 50")
    period = choice(Period, given.get("period", "Month"), None)
    action = choice(OnExhausted, given.get("onExhausted", "BlockStarts"), None)
    if period is None or action is None:
        raise SpecError(
            f"spec.budget.{'onExhausted' if period else 'period'} has no such value: see the "
            "reference of WarmPoolSet"
        )
    # Another value than a name of a zone is refused with the template.
    return Budget(limit, period, action, ZoneInfo(zone if text(zone) in zones() else "UTC"))


def _duration(given: str) -> timedelta:
    """A duration; also whole days, as in `14d`."""
    try:
        if given.endswith("d"):
            return timedelta(days=int(given[:-1]))
        return parse_duration(given)
    except (OverflowError, ValueError):
        raise SpecError("spec.unusedAfter is no duration: write it like 14d or 36h") from None
