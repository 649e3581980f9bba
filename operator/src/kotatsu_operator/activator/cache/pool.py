"""The parts of a WarmPool that the activator needs."""

from dataclasses import dataclass, replace

from kotatsu_operator.activator.cache.budget import SpentBudget, spent_budget
from kotatsu_operator.core.formats import choice, seconds_of
from kotatsu_operator.core.pool.memory import Phase, Route
from kotatsu_operator.core.pool.spec import RouteMode
from kotatsu_operator.kube.objects import ref
from kotatsu_operator.kube.resources import Object


@dataclass(frozen=True)
class Pool:
    """The activator's view of one WarmPool."""

    name: str
    service: str
    target: str
    """The `ref` of the workload."""
    route: Route
    epoch: int
    phase: Phase
    accepted: bool
    was_accepted: bool
    """Whether it is or was accepted: a pool that is rejected later remains published."""
    hold_timeout: float
    max_held: int
    ignore_paths: frozenset[str]
    settle: float
    wake_with: tuple[str, ...] = ()
    """Pools that are woken together with this one."""
    always: bool = False
    """Route Always: every connection passes the activator, and the Service selects no pod."""
    counted: bool = False
    """Whether the operator judges the pool by its connections here: route Always, or pods that do
    not report their requests. Those connections then stay here while the pool is warm."""
    deleted: bool = False
    """The WarmPool is deleted. It stays until its target's pods answer, so that no client is
    rejected."""
    spent: SpentBudget | None = None
    """The spent budget that prevents a wake; None within the budget."""

    @property
    def is_going_down(self) -> bool:
        """Whether its pods may end soon, so that new requests must be announced."""
        return self.phase in (Phase.DRAINING, Phase.SLEEPING)


def pool_view(obj: Object) -> Pool:
    """Read a WarmPool. A pool without a status is on the native route.

    Raises nothing for an object that the API server accepts: one invalid pool would end the
    activator of all pools. The operator overwrites status fields that were edited to invalid
    values.
    """
    spec, status = obj["spec"], obj.get("status") or {}
    wake, drain = spec.get("wake") or {}, spec.get("drain") or {}
    route = status.get("route") or {}
    # Knative has its own activator.
    is_ours = spec["targetRef"].get("kind") != "Service"
    conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
    return Pool(
        name=obj["metadata"]["name"],
        # The accepted Service: a rejected edit does not change the published one.
        service=route.get("service") or spec.get("service") or spec["targetRef"]["name"],
        target=ref(spec["targetRef"].get("kind", "Deployment"), spec["targetRef"]["name"]),
        route=choice(Route, route.get("target"), Route.NATIVE),
        epoch=int(route.get("epoch", 0)),
        phase=choice(Phase, status.get("phase"), Phase.WARM),
        accepted=is_ours and conditions.get("Accepted") == "True",
        was_accepted=is_ours and (conditions.get("Accepted") == "True" or "target" in route),
        hold_timeout=seconds_of(wake.get("holdTimeout", "45s"), 45.0),
        max_held=int(wake.get("maxHeld", 1000)),
        ignore_paths=frozenset(
            wake.get("ignorePaths", ("/healthz", "/livez", "/readyz", "/metrics"))
        ),
        settle=seconds_of(drain.get("routeSettle", "5s"), 5.0),
        wake_with=tuple(wake.get("wakeWith") or ()),
        spent=spent_budget(spec, status),
        always=spec.get("route") == RouteMode.ALWAYS,
        counted=spec.get("route") == RouteMode.ALWAYS or route.get("counted") is True,
    )


def deleted(pool: Pool) -> Pool:
    """The pool after its WarmPool is deleted: on the native route, until its pods answer."""
    return replace(pool, deleted=True, route=Route.NATIVE)
