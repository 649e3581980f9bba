"""A WarmPool, read from the cluster or from a manifest."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.budget.limit import EVERYTHING, Allowed, allowed
from kotatsu_operator.core.budget.podtime import PodPrice
from kotatsu_operator.core.calendar.schedule import Window
from kotatsu_operator.core.formats import conditions_of, count, is_false, table, tables, text
from kotatsu_operator.core.plan.activity import in_force
from kotatsu_operator.core.plan.plan import Plan, plan_at, with_least
from kotatsu_operator.core.pool.calendars import with_calendars
from kotatsu_operator.core.pool.memory import KnownOverride, Memory, Phase
from kotatsu_operator.core.pool.parse import SpecError, parse
from kotatsu_operator.core.pool.route import with_route
from kotatsu_operator.core.pool.spec import PLATFORM, Override, Parked, Platform, PoolSpec
from kotatsu_operator.core.protocol import API_VERSION
from kotatsu_operator.core.report.status import read_ledger, read_memory

from .errors import DemoModeError, NotFoundError
from .objects import Object, path_of
from .schema import defaulted, faults, sentence, spec_schema

if TYPE_CHECKING:
    from .api import Api  # which loads HTTP; a plan of a manifest does not need it


@dataclass(frozen=True)
class Pool:
    """A pool's spec, and what its status holds."""

    namespace: str
    name: str
    spec: PoolSpec
    memory: Memory
    ledger: Ledger
    """The pool's cost as the operator has written it."""
    raw: Object

    @property
    def status(self) -> Mapping[str, Any]:
        """The status; manual edits may have changed it."""
        return table(self.raw.get("status"))

    @property
    def generation(self) -> int:
        return count(self.raw["metadata"].get("generation"))

    @property
    def refusal(self) -> str:
        """Why the operator refuses this spec; empty if it does not, or has not seen it yet."""
        return refusal_in(self.status, self.generation)

    @property
    def currency(self) -> str:
        return self.ledger.currency

    @property
    def own_windows(self) -> Sequence[Window]:
        """The windows of the manifest, without those of calendars that the operator follows."""
        return [window for window in self.spec.windows if not window.calendar]

    @property
    def path(self) -> str:
        return pool_path(self.namespace, self.name)

    @property
    def parking(self) -> Parked | None:
        """How its pods are parked; None if they are not, or cannot be."""
        works = conditions_of(self.status).get("ParkingWorks", {})
        cannot = is_false(works) and works.get("reason") != "NotRestored"
        return None if cannot else self.spec.parked

    @property
    def price(self) -> PodPrice | None:
        """The cost of a pod per hour, also of a parked one, as the operator writes it.

        None without prices, or before an operator has seen the pool.
        """
        ledger = self.ledger
        if not ledger.currency or ledger.pod_hour is None:
            return None
        if self.parking is None:
            return PodPrice(ledger.pod_hour)
        return PodPrice(ledger.pod_hour, ledger.parked_hour or ledger.pod_hour)

    @property
    def asleep(self) -> Pool:
        """The same without the pods that there are now."""
        return replace(self, memory=replace(self.memory, phase=Phase.ASLEEP))

    def plan_at(self, now: datetime) -> Plan:
        """What the schedule asks for now, and what the budget permits of it."""
        return self.allowed_at(now).trim(plan_at(self.spec, self.memory, now))

    def override_at(self, now: datetime) -> Override | None:
        return in_force(self.spec.override, self.memory, now)

    def allowed_at(self, at: datetime) -> Allowed:
        """What the budget allows, if nothing more is spent."""
        end = self.ledger.period_end
        if end is not None and at >= end:
            return EVERYTHING
        return allowed(self.ledger, self.spec.budget, at)


def refusal_in(status: Mapping[str, Any], generation: int) -> str:
    """Why a status says that this generation of a spec is refused; empty if it does not."""
    accepted = conditions_of(status).get("Accepted", {})
    is_old = count(accepted.get("observedGeneration"), generation) < generation
    if not is_false(accepted) or is_old:
        return ""
    return f"the operator refuses it: {text(accepted.get('message'), 'no reason given')}"


def hopeless(status: Mapping[str, Any], generation: int) -> str:
    """Why waiting for pods is no use: the pool is refused, or a pod cannot start."""
    ready = conditions_of(status).get("Ready", {})
    is_new = count(ready.get("observedGeneration"), generation) >= generation
    if is_new and ready.get("reason") == "PodsCannotStart":
        return text(ready.get("message"))
    return refusal_in(status, generation)


def pool_path(namespace: str, name: str = "") -> str:
    """The path of a pool, or of the list of a namespace's pools ("": all namespaces)."""
    return path_of(API_VERSION, "warmpools", namespace, name)


def history_path(pool: Pool) -> str:
    """The path of a pool's WarmPoolHistory."""
    return path_of(API_VERSION, "warmpoolhistories", pool.namespace, pool.name)


def read_pool(raw: Object, platform: Platform = PLATFORM, *, strict: bool = False) -> Pool:
    """Read a WarmPool. Raises DemoModeError if the spec is invalid.

    `strict` rejects unknown fields. Without it they are accepted: a cluster's CRD may be newer.
    """
    meta = raw.get("metadata") or {}
    name = str(meta.get("name") or "")
    spec = defaulted(raw.get("spec"), spec_schema())
    found = faults(spec, strict=strict)
    if found:
        raise DemoModeError(f"WarmPool {name}: {sentence(found)}")
    try:
        parsed = parse(spec, platform, table(meta.get("annotations")))
    except SpecError as error:
        raise DemoModeError(f"WarmPool {name}: {error}") from None
    status = table(raw.get("status"))
    memory = read_memory(status, Memory())
    if parsed.override is None or memory.override.key != parsed.override.key:
        # The status is about another override.
        memory = replace(memory, override=KnownOverride(memory.override.key))
    namespace = str(meta.get("namespace") or "")
    parsed = with_least(with_calendars(with_route(parsed, raw), memory), memory)
    return Pool(namespace, name, parsed, memory, read_ledger(status), raw)


def is_named(options: Namespace) -> bool:
    """Whether the command line names pools, by name, label or --all."""
    return bool(options.pools or options.selector or options.everything)


def chosen(pools: list[Pool], options: Namespace, command: str, refused: int) -> list[Pool]:
    """The pools that were named, or the only one; `refused` is how many could not be read."""
    if not pools:
        raise DemoModeError("this namespace has no WarmPool; see `kubectl get warmpools -A`")
    if not is_named(options) and len(pools) + refused > 1:
        there = ", ".join(pool.name for pool in pools)
        raise DemoModeError(
            f"name a pool ({there}), as in `kubectl demo-mode {command} {pools[0].name}`, or use "
            "--all"
        )
    return pools


def names(api: Api, namespace: str, *, windows: bool = False) -> list[str]:
    """The names of the pools of a namespace, or of their windows."""
    items = api.get(pool_path(namespace))["items"]
    if not windows:
        return sorted(item["metadata"]["name"] for item in items)
    return sorted({str(w.get("name")) for i in items for w in tables(i["spec"].get("windows"))})


def items_of(api: Api, namespace: str, options: Namespace) -> list[Object]:
    """The chosen pools as they are in the cluster. Raises DemoModeError if there are none."""
    query = {"labelSelector": options.selector} if options.selector else {}
    items: list[Object] = api.get(pool_path(namespace), **query).get("items") or []
    if options.pools:
        items = [_named(name, items, namespace) for name in options.pools]
    elif not items and is_named(options):
        which = f" with labels {options.selector}" if options.selector else ""
        raise DemoModeError(
            f"{f'namespace {namespace}' if namespace else 'this cluster'} has no WarmPool{which}; "
            "see `kubectl get warmpools -A --show-labels`"
        )
    return sorted(items, key=lambda i: (i["metadata"]["namespace"], i["metadata"]["name"]))


def _named(text: str, items: Sequence[Object], namespace: str) -> Object:
    kind, _, name = text.rpartition("/")
    if kind and kind not in ("warmpool", "warmpools", "wp", "warmpool.kotatsu.dev"):
        raise DemoModeError(f"{text!r} is not a WarmPool; write it like voice or warmpool/voice")
    found = [item for item in items if item["metadata"]["name"] == name]
    if found:
        return found[0]
    there = ", ".join(sorted(item["metadata"]["name"] for item in items))
    hint = f"it has {there}" if there else "it has none; see `kubectl get warmpools -A`"
    raise NotFoundError(f"namespace {namespace} has no WarmPool {name}; {hint}")
