"""The Services that select no pod without Kotatsu, because their manifests say so."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kotatsu_operator.core.formats import table
from kotatsu_operator.core.objects import owners, service_of, target_of
from kotatsu_operator.core.pool.route import all_pass
from kotatsu_operator.core.pool.spec import KNATIVE
from kotatsu_operator.core.protocol import (
    ACTIVATOR_LABELS,
    OPERATOR,
    ROUTE_LABEL,
    ROUTE_TAKEN,
    home_of,
    set_of_pod,
)
from kotatsu_operator.core.report.record import taken_service
from kotatsu_operator.jobs.patience import AT_ONCE
from kotatsu_operator.kube import objects
from kotatsu_operator.kube.client import EVERYWHERE, Kube
from kotatsu_operator.kube.errors import NotFoundError
from kotatsu_operator.kube.objects import Key, Object, key_of


@dataclass
class Manifests:
    """What the manifests of the Services of an install's pools say."""

    bare: list[str] = field(default_factory=list)
    """The Services that select no pod, why, and what to change."""
    unselective: set[Key] = field(default_factory=set)
    """The pools whose Service has no selector."""
    has_activators: bool = False
    """Whether an activator runs, if some are bare. Without one they have no endpoint already."""


async def read_manifests(kube: Kube, home: str, pools: Iterable[Object]) -> Manifests:
    """Read the Services of the pools of an install. Raises one of `Unreachable`."""
    made, gate = Manifests(), asyncio.Semaphore(AT_ONCE)

    async def look(pool: Object, name: str) -> None:
        async with gate:
            with contextlib.suppress(NotFoundError):
                service = await kube.get(objects.Service, key_of(pool)[0], name)
                if why := why_bare(pool, service):
                    made.bare.append(why)
                    made.unselective |= set() if _selector(service) else {key_of(pool)}

    await asyncio.gather(*(look(pool, name) for pool in pools for name in _services_of(pool)))
    made.bare.sort()
    if made.bare:
        found = await kube.find(objects.Pod, EVERYWHERE, ACTIVATOR_LABELS)
        metas = [p["metadata"] for p in found if "deletionTimestamp" not in p["metadata"]]
        homes = {home_of(set_of_pod(meta["namespace"], meta["labels"])) for meta in metas}
        made.has_activators = home in homes
    return made


def accepted_service(pool: Object) -> str:
    """The Service whose requests wake a pool: a rejected edit does not change it."""
    route = table(table(pool.get("status")).get("route"))
    return str(route.get("service") or service_of(pool))


def _services_of(pool: Object) -> set[str]:
    """The Service of a pool, and one that it has taken over."""
    if target_of(pool)[0] == KNATIVE:
        return set()
    accepted = accepted_service(pool)
    return {accepted, taken_service(table(pool.get("status"))) or accepted}


def _selector(service: Object) -> Mapping[str, Any]:
    return table(table(service.get("spec")).get("selector"))


def why_bare(pool: Object, service: Object) -> str:
    """Why a pool's Service selects no pod without Kotatsu, and what to change; empty if it does.

    A term that the operator has added is no reason: the operator removes it. After the operator,
    only a manager that applies the term can have it in its manifest (a selector is one field).
    """
    name, selector = service["metadata"]["name"], _selector(service)
    of = f"Service {pool['metadata']['namespace']}/{name}"
    if not selector:
        if not all_pass(pool):
            return ""
        return f"{of} has no selector: add the labels of the pods of {' '.join(target_of(pool))}"
    if ROUTE_LABEL not in selector:
        return ""
    found = owners(service, "selector")
    is_ours = taken_service(table(pool.get("status"))) == name
    is_ours = is_ours or any(owner.manager == OPERATOR for owner in found)
    theirs = [o.manager for o in found if o.manager != OPERATOR and (o.applies or not is_ours)]
    if is_ours and not theirs:
        return ""
    by = next(iter(theirs), "another client")
    term = f"`{ROUTE_LABEL}: {ROUTE_TAKEN}`"
    return f"{by} writes {term} into the selector of {of}: remove the line from its manifest"
