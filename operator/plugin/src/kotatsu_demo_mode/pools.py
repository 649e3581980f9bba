"""A WarmPool, read from the cluster or from a manifest."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from kotatsu_operator.core.budget.forecast import PodPrice
from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.budget.limit import EVERYTHING, Allowed, allowed
from kotatsu_operator.core.budget.prices import hourly, pod_requests
from kotatsu_operator.core.calendar.schedule import Window
from kotatsu_operator.core.formats import conditions_of, count, is_true, table, tables, text
from kotatsu_operator.core.plan.activity import in_force
from kotatsu_operator.core.pool.calendars import with_calendars
from kotatsu_operator.core.pool.memory import KnownOverride, Memory
from kotatsu_operator.core.pool.parse import SpecError, parse
from kotatsu_operator.core.pool.spec import PLATFORM, Override, Parked, Platform, PoolSpec
from kotatsu_operator.core.pool.v1alpha1 import status_from
from kotatsu_operator.core.report.status import read_ledger, read_memory
from kotatsu_operator.features.parking.requests import parked_spec

from .errors import DemoModeError, NotFoundError
from .schema import defaulted, faults, sentence, spec_schema

if TYPE_CHECKING:
    from .api import Api  # which loads HTTP; a plan of a manifest does not need it
    from .shell import Shell

Object = dict[str, Any]

GROUP = "/apis/kotatsu.dev/v1beta1"


@dataclass(frozen=True)
class Pool:
    """A pool's spec, the memory in its status, and the template of its pods."""

    namespace: str
    name: str
    spec: PoolSpec
    memory: Memory
    raw: Object
    template: Mapping[str, Any] | None = None
    """The PodSpec of its pods; None if the workload could not be read."""
    ledger: Ledger = field(default_factory=Ledger)
    """The pool's cost as the operator has written it."""

    @property
    def status(self) -> Mapping[str, Any]:
        """The status; manual edits may have changed it."""
        return status_from(table(self.raw.get("status")))

    @property
    def generation(self) -> int:
        return count(self.raw["metadata"].get("generation"))

    @property
    def refusal(self) -> str:
        """Why the operator refuses this spec; empty if it does not, or has not seen it yet."""
        return refusal_in(self.status, self.generation)

    @property
    def currency(self) -> str:
        return self.ledger.currency or self.spec.platform.prices.currency

    @property
    def own_windows(self) -> Sequence[Window]:
        """The windows of the manifest, without those of calendars that the operator follows."""
        return [window for window in self.spec.windows if not window.calendar]

    @property
    def path(self) -> str:
        return pool_path(self.namespace, self.name)

    @property
    def zone(self) -> str:
        return self.spec.zone.key

    @property
    def pod_price(self) -> Decimal | None:
        """The cost of a pod per hour; None without prices or requests.

        The operator writes it, at the prices of the chart.
        """
        if self.ledger.currency and self.ledger.pod_hour is not None:
            return self.ledger.pod_hour
        if self.requests is None or not self.spec.platform.prices.per_hour:
            return None
        return hourly(self.requests, self.spec.platform.prices)

    @property
    def requests(self) -> Mapping[str, Decimal] | None:
        """The requests of one of its pods; None if the workload could not be read."""
        return None if self.template is None else pod_requests(self.template)

    @property
    def parking(self) -> Parked | None:
        """How its pods are parked; None if they are not, or cannot be."""
        failed = conditions_of(self.status).get("ParkingFailed", {})
        cannot = is_true(failed) and failed.get("reason") != "NotRestored"
        return None if cannot else self.spec.parked

    @property
    def price(self) -> PodPrice | None:
        """The cost of a pod per hour, also of a parked one; None without prices or requests."""
        warm, parked, ledger = self.pod_price, self.parking, self.ledger
        if warm is None or parked is None:
            return None if warm is None else PodPrice(warm)
        if ledger.currency and ledger.pod_hour is not None and ledger.parked_hour is not None:
            return PodPrice(warm, ledger.parked_hour)
        if self.template is None or not self.spec.platform.prices.per_hour:
            return PodPrice(warm, warm)
        requests = pod_requests(parked_spec(self.template, parked.cpu))
        return PodPrice(warm, hourly(requests, self.spec.platform.prices))

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
    if accepted.get("status") != "False" or is_old:
        return ""
    return f"the operator refuses it: {text(accepted.get('message'), 'no reason given')}"


def hopeless(status: Mapping[str, Any], generation: int) -> str:
    """Why waiting for pods is no use: the pool is refused, or a pod cannot start."""
    ready = conditions_of(status).get("Ready", {})
    is_new = count(ready.get("observedGeneration"), generation) >= generation
    if is_new and ready.get("reason") == "PodsCannotStart":
        return text(ready.get("message"))
    return refusal_in(status, generation)


def accepted(pools: Sequence[Pool], shell: Shell) -> list[Pool]:
    """The pools that the operator accepts. The others are named, and the command exits with 1."""
    for pool in pools:
        if pool.refusal:
            shell.refuse(DemoModeError(f"{pool.name}: {pool.refusal}"))
            if len(pools) > 1:
                shell.named_last.append(pool.name)
    return [pool for pool in pools if not pool.refusal]


def pool_path(namespace: str, name: str = "", plural: str = "warmpools") -> str:
    """The path of a pool, or of the list of a namespace's pools ("": all namespaces)."""
    place = f"{GROUP}/namespaces/{quote(namespace)}" if namespace else GROUP
    return f"{place}/{plural}/{quote(name)}" if name else f"{place}/{plural}"


def history_path(pool: Pool) -> str:
    """The path of a pool's WarmPoolHistory."""
    return pool_path(pool.namespace, pool.name, "warmpoolhistories")


def read_pool(
    raw: Object,
    template: Mapping[str, Any] | None = None,
    platform: Platform = PLATFORM,
    *,
    strict: bool = False,
) -> Pool:
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
    status = status_from(table(raw.get("status")))
    memory = read_memory(status, Memory())
    if parsed.override is None or memory.override.key != parsed.override.key:
        # The status is about another override.
        memory = replace(memory, override=KnownOverride(memory.override.key))
    namespace = str(meta.get("namespace") or "")
    parsed = with_calendars(parsed, memory)
    return Pool(namespace, name, parsed, memory, raw, template, read_ledger(status))


def find(
    api: Api,
    namespace: str,
    options: Namespace,
    *,
    priced: bool = True,
    refuse: Callable[[DemoModeError], None],
) -> list[Pool]:
    """The chosen pools, by namespace and name. Raises DemoModeError if one does not exist.

    If one of several cannot be read, `refuse` gets its error and it is left out.
    """
    items = items_of(api, namespace, options)
    pools = []
    for item in items:
        try:
            pool = read_pool(item)
        except DemoModeError as error:
            if len(items) == 1:
                raise
            refuse(error)
        else:
            pools.append(replace(pool, template=_template_of(api, pool)) if priced else pool)
    return pools


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


def names(api: Api, namespace: str) -> list[str]:
    return sorted(item["metadata"]["name"] for item in api.get(pool_path(namespace))["items"])


def window_names(api: Api, namespace: str) -> list[str]:
    items = api.get(pool_path(namespace))["items"]
    return sorted(
        {str(w.get("name")) for i in items for w in tables(table(i["spec"]).get("windows"))}
    )


def items_of(api: Api, namespace: str, options: Namespace) -> list[Object]:
    """The chosen pools as they are in the cluster. Raises DemoModeError if there are none."""
    place = "" if options.all_namespaces else namespace
    query = {"labelSelector": options.selector} if options.selector else {}
    items: list[Object] = api.get(pool_path(place), **query).get("items") or []
    if options.pools:
        items = [_named(name, items, namespace) for name in options.pools]
    elif not items and is_named(options):
        which = f" with labels {options.selector}" if options.selector else ""
        raise DemoModeError(
            f"{f'namespace {namespace}' if place else 'this cluster'} has no WarmPool{which}; "
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


def _template_of(api: Api, pool: Pool) -> Mapping[str, Any] | None:
    """The PodSpec of the pool's target; None if it cannot be read."""
    target = pool.spec.target
    version, plural = target.api_version, f"{target.kind.lower()}s"
    place = f"/apis/{version}/namespaces/{quote(pool.namespace)}/{plural}/{quote(target.name)}"
    try:
        return template_of(api.get(place))
    except DemoModeError:
        return None  # only costs need it


def pod_spec_of(workload: Mapping[str, Any]) -> Mapping[str, Any]:
    """The PodSpec of a workload's template; empty without one."""
    return table(table(table(workload.get("spec")).get("template")).get("spec"))


def template_of(workload: Object) -> Mapping[str, Any]:
    """The PodSpec of a Deployment or Knative Service. Raises DemoModeError for its resources."""
    template = pod_spec_of(workload)
    try:
        pod_requests(template)
    except (ArithmeticError, AttributeError, TypeError, ValueError):
        name = table(workload.get("metadata")).get("name")
        raise DemoModeError(
            f"{workload.get('kind', 'the workload')} {name}: its resources are invalid; write them "
            "like {requests: {cpu: 250m, memory: 320Mi}}"
        ) from None
    return template


def managers_of(raw: Object, field: str) -> Iterator[tuple[str, str, Object]]:
    """The managers of a field of the spec: name, operation, and the parts that they own."""
    for entry in raw["metadata"].get("managedFields") or ():
        parts = ((entry.get("fieldsV1") or {}).get("f:spec") or {}).get(f"f:{field}")
        if parts is not None:
            name = str(entry.get("manager") or "an unnamed manager")
            yield name, str(entry.get("operation") or ""), parts
