"""What an activator has seen of its namespace."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kotatsu_operator.core.durations import seconds_of
from kotatsu_operator.core.spec import RouteMode
from kotatsu_operator.core.state import Phase, Route
from kotatsu_operator.kube import Object
from kotatsu_operator.views import SERVICE_LABEL, PodView, is_ours, pod_view, selects

from .budget import SpentBudget, spent_budget


@dataclass(frozen=True)
class Pool:
    """What matters of a WarmPool to the activator."""

    name: str
    service: str
    target: str
    route: Route
    epoch: int
    phase: Phase
    accepted: bool
    hold_timeout: float
    max_held: int
    ignore_paths: frozenset[str]
    settle: float
    wake_with: tuple[str, ...] = ()
    """Pools that are woken together with this one."""
    always: bool = False
    """Route Always: every connection passes the activator, whose Service selects no pod."""
    deleted: bool = False
    """The WarmPool is gone; kept until its target's pods answer, so that nobody is turned away."""
    spent: SpentBudget | None = None
    """The spent budget that keeps it asleep."""

    @property
    def is_going_down(self) -> bool:
        """Whether its pods may be about to go, so that what comes now must be announced."""
        return self.phase in (Phase.DRAINING, Phase.SLEEPING)


def pool_view(obj: Object) -> Pool:
    """Read a WarmPool. A pool the operator has not judged yet is on the native route."""
    spec, status = obj["spec"], obj.get("status") or {}
    wake, drain = spec.get("wake") or {}, spec.get("drain") or {}
    route = status.get("route") or {}
    conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
    return Pool(
        name=obj["metadata"]["name"],
        service=spec.get("service") or spec["targetRef"]["name"],
        target=spec["targetRef"]["name"],
        route=Route(route.get("target", Route.NATIVE)),
        epoch=int(route.get("epoch", 0)),
        phase=Phase(status.get("phase", Phase.WARM)),
        # Knative has an activator of its own.
        accepted=conditions.get("Accepted") == "True"
        and spec["targetRef"].get("kind") != "Service",
        hold_timeout=seconds_of(wake.get("holdTimeout", "45s"), 45.0),
        max_held=int(wake.get("maxHeld", 1000)),
        ignore_paths=frozenset(
            wake.get("ignorePaths", ("/healthz", "/livez", "/readyz", "/metrics"))
        ),
        settle=seconds_of(drain.get("routeSettle", "5s"), 5.0),
        wake_with=tuple(wake.get("wakeWith") or ()),
        spent=spent_budget(spec, status),
        always=spec.get("route") == RouteMode.ALWAYS,
    )


def _deleted(pool: Pool) -> Pool:
    return replace(pool, deleted=True, route=Route.NATIVE)


@dataclass
class View:
    """The namespace as watched; `changed` is called after every change."""

    changed: Callable[[], None] = lambda: None
    pools: dict[str, Pool] = field(default_factory=dict)
    services: dict[str, Object] = field(default_factory=dict)
    pods: dict[str, PodView] = field(default_factory=dict)
    slices: dict[str, Object] = field(default_factory=dict)
    selectors: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Label selectors of the Deployments."""
    synced: set[str] = field(default_factory=set)

    def on_change(self, kind: str) -> Callable[[str, Object], None]:
        """The callback for a watch of one kind."""
        stores: dict[str, tuple[dict[str, object], Callable[[Object], object]]] = {
            "WarmPool": (self.pools, pool_view),  # type: ignore[dict-item]
            "Service": (self.services, lambda obj: obj),  # type: ignore[dict-item]
            "Pod": (self.pods, pod_view),  # type: ignore[dict-item]
            "EndpointSlice": (self.slices, lambda obj: obj),  # type: ignore[dict-item]
            "Deployment": (self.selectors, lambda obj: obj["spec"]["selector"]),  # type: ignore[dict-item]
        }
        store, read = stores[kind]

        def apply(change: str, obj: Object) -> None:
            if change == "LIST":
                fresh = {item["metadata"]["name"]: read(item) for item in obj["items"]}
                gone = {n: p for n, p in store.items() if n not in fresh and isinstance(p, Pool)}
                store.clear()
                store.update({name: _deleted(pool) for name, pool in gone.items()})
                store.update(fresh)
                self.synced.add(kind)
            elif change == "DELETED":
                known = store.pop(obj["metadata"]["name"], None)
                if isinstance(known, Pool):
                    store[known.name] = _deleted(known)
            elif change in ("ADDED", "MODIFIED"):
                store[obj["metadata"]["name"]] = read(obj)
            self.changed()

        return apply

    @property
    def is_synced(self) -> bool:
        """Whether every kind has been listed once."""
        return len(self.synced) == 5

    def native_ready(self, service: str) -> int:
        """Ready, staying endpoints of a Service that are not ours."""
        return sum(
            (endpoint.get("conditions") or {}).get("ready", True) is not False
            and not (endpoint.get("conditions") or {}).get("terminating", False)
            for obj in self.slices.values()
            if (obj["metadata"].get("labels") or {}).get(SERVICE_LABEL) == service
            and not is_ours(obj)
            for endpoint in obj.get("endpoints") or ()
        )

    def labels(self, pool: Pool) -> Mapping[str, str]:
        """Labels that all pods of a pool carry, to list them by; empty when it selects none."""
        return self._selector(pool).get("matchLabels") or {}

    def replace_pods(self, labels: Mapping[str, str], listed: list[Object]) -> None:
        """Take a list of the pods with these labels for the truth, whatever the watch says."""
        wanted = {"matchLabels": labels}
        for name in [n for n, p in self.pods.items() if selects(wanted, p.labels)]:
            del self.pods[name]
        self.pods.update({obj["metadata"]["name"]: pod_view(obj) for obj in listed})
        self.changed()

    def backends(self, pool: Pool) -> list[PodView]:
        """The staying pods of a pool that have an address, Ready or not.

        Those its Service selects; with route Always, those of the target.
        """
        wanted = self._selector(pool)
        if not wanted:
            return []
        return [
            pod
            for pod in self.pods.values()
            if pod.ip and pod.running and not pod.terminating and selects(wanted, pod.labels)
        ]

    def _selector(self, pool: Pool) -> Mapping[str, Any]:
        if pool.always:
            return self.selectors.get(pool.target, {})
        obj = self.services.get(pool.service)
        selector = (obj or {}).get("spec", {}).get("selector")
        return {"matchLabels": selector} if selector else {}

    def ports(self, service: str) -> dict[str, str | int]:
        """TCP ports of a Service: port name → target port (name or number)."""
        obj = self.services.get(service)
        return {
            port.get("name", ""): port.get("targetPort", port["port"])
            for port in (obj or {}).get("spec", {}).get("ports") or ()
            if port.get("protocol", "TCP") == "TCP"
        }
