"""The parts of a WarmPool that the activator needs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kotatsu_operator.activator.cache.budget import SpentBudget, spent_budget
from kotatsu_operator.core.formats import choice, lasting, seconds, seconds_of, table, tables, text
from kotatsu_operator.core.pool.memory import Phase, Route
from kotatsu_operator.core.pool.spec import RouteMode
from kotatsu_operator.kube.resources import Object


@dataclass(frozen=True)
class Pool:
    """The activator's view of one WarmPool."""

    name: str
    service: str
    target: str
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
    page: str = ""
    """The look of the waiting page for browsers; empty: no page."""
    usual_wake: float | None = None
    """Seconds that the last wake took, or else the last warm-up; None before the first."""
    wake_with: tuple[str, ...] = ()
    """Pools that are woken together with this one."""
    always: bool = False
    """Route Always: every connection passes the activator, and the Service selects no pod."""
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
        page=text(wake.get("page")),
        usual_wake=_usual_wake(status) if wake.get("page") else None,
        wake_with=tuple(wake.get("wakeWith") or ()),
        spent=spent_budget(spec, status),
        always=spec.get("route") == RouteMode.ALWAYS,
    )


def _usual_wake(status: Mapping[str, Any]) -> float | None:
    wake = lasting(table(status.get("lastWake")).get("duration")).total_seconds()
    ups = [seconds(warm_up.get("seconds")) for warm_up in tables(status.get("warmUps"))]
    return wake or (ups[-1] if ups else None)


def deleted(pool: Pool) -> Pool:
    """The pool after its WarmPool is deleted: on the native route, until its pods answer."""
    return replace(pool, deleted=True, route=Route.NATIVE)
