"""What matters of a WarmPool to the activator."""

from dataclasses import dataclass, replace

from kotatsu_operator.activator.cache.budget import SpentBudget, spent_budget
from kotatsu_operator.core.formats import choice, seconds_of
from kotatsu_operator.core.pool.memory import Phase, Route
from kotatsu_operator.core.pool.spec import RouteMode
from kotatsu_operator.kube.resources import Object


@dataclass(frozen=True)
class Pool:
    """One WarmPool, read."""

    name: str
    service: str
    target: str
    route: Route
    epoch: int
    phase: Phase
    accepted: bool
    was_accepted: bool
    """Whether it is accepted or once was: refused later, it keeps what it had."""
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
    """Read a WarmPool. A pool the operator has not judged yet is on the native route.

    It raises for nothing that the API server lets through: one pool that cannot be read would end
    the activator of all. What somebody has edited into nonsense, the operator writes again.
    """
    spec, status = obj["spec"], obj.get("status") or {}
    wake, drain = spec.get("wake") or {}, spec.get("drain") or {}
    route = status.get("route") or {}
    # Knative has an activator of its own.
    is_ours = spec["targetRef"].get("kind") != "Service"
    conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
    return Pool(
        name=obj["metadata"]["name"],
        # As accepted: a refused edit leads the activators to no other Service.
        service=route.get("service") or spec.get("service") or spec["targetRef"]["name"],
        target=spec["targetRef"]["name"],
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
    )


def deleted(pool: Pool) -> Pool:
    """The same with its WarmPool gone: on the native route, until nobody needs it any more."""
    return replace(pool, deleted=True, route=Route.NATIVE)
