"""What `route` means for a pool now: with Auto, what its pods have shown decides.

Pods with a gauge of requests in flight get their connections straight from the Service, and are
asked. Of all others nothing is known but what passes the activators, so all connections do, as with
route Activator.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from kotatsu_operator.core.formats import internal, table
from kotatsu_operator.core.objects import Object, target_of
from kotatsu_operator.core.pool.spec import KNATIVE, PoolSpec, RouteMode


def counts_connections(pool: Object) -> bool:
    """Whether the connections of a pool that pass the activators are its demand."""
    if pool["spec"].get("route") == RouteMode.ACTIVATOR:
        return True
    return target_of(pool)[0] != KNATIVE and _template(pool).get("metered") is False


def all_pass(pool: Object) -> bool:
    """Whether all connections to a pool's Service are to pass the activators.

    The Service then selects no pod.
    """
    return counts_connections(pool) and not is_beside(pool)


def is_beside(pool: Object) -> bool:
    """Whether the activators count what passes them, and others reach the pods directly.

    So did each pool without a gauge until version 0.1. One whose selector another manager writes
    stays so until it is edited: to be removed in version 0.2.
    """
    status = table(pool.get("status"))
    is_edited = status.get("observedGeneration") != pool["metadata"].get("generation")
    was_so = table(status.get("route")).get("counted") is True
    return was_so and not is_edited and pool["spec"].get("route") != RouteMode.ACTIVATOR


def with_route(spec: PoolSpec, pool: Object) -> PoolSpec:
    """The spec with the route that Auto has decided, if it has."""
    if spec.route is RouteMode.ACTIVATOR or not counts_connections(pool):
        return spec
    return replace(spec, route=RouteMode.ACTIVATOR, decided=True, beside=is_beside(pool))


def _template(pool: Object) -> Mapping[str, Any]:
    return table(internal(pool.get("status")).get("template"))
