"""A WarmPool as the commands see it, read from the cluster or from a manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from kotatsu_operator.core.activity import in_force
from kotatsu_operator.core.cost import hourly, pod_requests
from kotatsu_operator.core.durations import parse_duration
from kotatsu_operator.core.spec import Override, PoolSpec, SpecError, parse
from kotatsu_operator.core.state import Memory, WarmUp

from .errors import DemoModeError, NotFoundError

if TYPE_CHECKING:
    from .api import Api  # which loads HTTP; a plan of a manifest does without

Object = dict[str, Any]

GROUP = "/apis/kotatsu.dev/v1alpha1"
_DEFAULT_TARGET = {"apiVersion": "apps/v1", "kind": "Deployment"}


@dataclass(frozen=True)
class Pool:
    """A pool's spec, what its status remembers, and what one of its pods requests."""

    namespace: str
    name: str
    spec: PoolSpec
    memory: Memory
    raw: Object
    requests: Mapping[str, Decimal] | None = None
    """None when the workload could not be read."""

    @property
    def status(self) -> Object:
        """The status as the operator wrote it."""
        return self.raw.get("status") or {}

    @property
    def path(self) -> str:
        """Where the API has it."""
        return pool_path(self.namespace, self.name)

    @property
    def zone(self) -> str:
        """Name of the time zone of its windows."""
        return self.spec.zone.key

    @property
    def pod_price(self) -> Decimal | None:
        """What one pod costs an hour; None without prices, or without its requests."""
        if self.requests is None or not self.spec.budget.prices.per_hour:
            return None
        return hourly(self.requests, self.spec.budget.prices)

    def override_at(self, now: datetime) -> Override | None:
        """The override that is in force."""
        return in_force(self.spec.override, self.memory, now)


def pool_path(namespace: str, name: str = "") -> str:
    """Path of a pool, or of the list of a namespace's pools ("" is every namespace)."""
    place = f"{GROUP}/namespaces/{quote(namespace)}" if namespace else GROUP
    return f"{place}/warmpools/{quote(name)}" if name else f"{place}/warmpools"


def read_pool(raw: Object, requests: Mapping[str, Decimal] | None = None) -> Pool:
    """Read a WarmPool. Raises DemoModeError when the spec asks for something that cannot be."""
    meta = raw.get("metadata") or {}
    name = str(meta.get("name") or "")
    spec = dict(raw.get("spec") or {})
    spec["targetRef"] = _DEFAULT_TARGET | (spec.get("targetRef") or {"name": name})
    try:
        parsed = parse(spec)
    except SpecError as error:
        raise DemoModeError(f"WarmPool {name}: {error}") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DemoModeError(
            f"WarmPool {name}: the spec is not one ({type(error).__name__}: {error}); "
            "compare it with `kubectl explain warmpool.spec`"
        ) from None
    status = raw.get("status") or {}
    memory = read_memory(status, parsed.override)
    return Pool(str(meta.get("namespace") or ""), name, parsed, memory, raw, requests)


def read_memory(status: Mapping[str, Any], override: Override | None) -> Memory:
    """What the schedule needs of the operator's memory: the lead it has learned, the override."""
    warm_ups = tuple(
        WarmUp(float(w["seconds"]), int(w["replicas"])) for w in status.get("warmUps") or ()
    )
    seen = status.get("override") or {}
    is_known = override is not None and seen.get("key") == override.key
    return Memory(
        warm_ups=warm_ups,
        lead=parse_duration(status.get("lead") or "0s"),
        override_key=str(seen.get("key", "")),
        override_seen=datetime.fromisoformat(seen["seenAt"]) if is_known else None,
    )


@dataclass(frozen=True)
class Selection:
    """Which pools a command is about."""

    names: Sequence[str] = ()
    selector: str = ""
    everything: bool = False
    """All of the namespace, by --all."""
    all_namespaces: bool = False

    @property
    def is_named(self) -> bool:
        """Whether somebody said which: a command that changes something asks for that."""
        return bool(self.names or self.selector or self.everything)


def find(api: Api, namespace: str, chosen: Selection, *, priced: bool = True) -> list[Pool]:
    """The chosen pools, by namespace and name. Raises DemoModeError when one does not exist."""
    place = "" if chosen.all_namespaces else namespace
    query = {"labelSelector": chosen.selector} if chosen.selector else {}
    items = api.get(pool_path(place), **query).get("items") or []
    if chosen.names:
        items = [_named(name, items, namespace) for name in chosen.names]
    elif not items and (chosen.selector or chosen.everything):
        which = f" with labels {chosen.selector}" if chosen.selector else ""
        raise DemoModeError(
            f"{f'namespace {namespace}' if place else 'this cluster'} has no WarmPool{which}; "
            "see `kubectl get warmpools -A --show-labels`"
        )
    items.sort(key=lambda i: (i["metadata"]["namespace"], i["metadata"]["name"]))
    return [read_pool(item, _requests_of(api, item) if priced else None) for item in items]


def _named(text: str, items: Sequence[Object], namespace: str) -> Object:
    kind, _, name = text.rpartition("/")
    if kind and kind not in ("warmpool", "warmpools", "wp", "warmpool.kotatsu.dev"):
        raise DemoModeError(f"{text!r} is no WarmPool; write it like voice or warmpool/voice")
    found = [item for item in items if item["metadata"]["name"] == name]
    if found:
        return found[0]
    there = ", ".join(sorted(item["metadata"]["name"] for item in items))
    hint = f"there are: {there}" if there else "it has none; see `kubectl get warmpools -A`"
    raise NotFoundError(f"namespace {namespace} has no WarmPool {name}; {hint}")


def _requests_of(api: Api, item: Object) -> Mapping[str, Decimal] | None:
    """What a pod of the pool's target requests, if this person may read the target."""
    target = _DEFAULT_TARGET | item["spec"]["targetRef"]
    version, plural = target["apiVersion"], f"{target['kind'].lower()}s"
    namespace = quote(item["metadata"]["namespace"])
    path = f"/apis/{version}/namespaces/{namespace}/{plural}/{quote(target['name'])}"
    try:
        found = api.get(path)
    except DemoModeError:
        return None  # costs are then left open; everything else needs no workload
    return requests_of(found)


def requests_of(workload: Object) -> dict[str, Decimal]:
    """What one pod of a Deployment or Knative Service requests."""
    return pod_requests((workload.get("spec") or {}).get("template", {}).get("spec") or {})
