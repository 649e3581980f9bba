"""Reads and judges one workload: all checks, in the order in which they are shown."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kotatsu_demo_mode.api import Api
from kotatsu_demo_mode.errors import DemoModeError, NotFoundError
from kotatsu_demo_mode.operators import platform_of
from kotatsu_demo_mode.pools import Object, pool_path, read_pool, template_of
from kotatsu_operator.core.decide.refusal import Refusal
from kotatsu_operator.core.pool.spec import RouteMode, Target

from . import capacity, installation, lifecycle, traffic, workload
from .finding import Finding, Level, refused
from .found import Case, Found, age_of, name_of, points_to, spec_of
from .gauges import read_pages
from .installation import responsible
from .reader import Reader
from .traffic import service_named, waking

_CHAIN: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    installation.crd,
    installation.operator,
    installation.activator,
    workload.workload,
    workload.replicas,
    traffic.service,
    traffic.ports,
    traffic.metrics,
    traffic.wakes,
    lifecycle.probes,
    lifecycle.shutdown,
    lifecycle.image,
    workload.pods,
    capacity.autoscaler,
    capacity.disruption,
    capacity.quota,
    capacity.limits,
    capacity.cost,
    capacity.parked,
)
_NEEDED = workload.workload
"""The checks after this one are about a workload that a pool can have."""

CHECKS = tuple(check.__name__ for check in _CHAIN)
"""The stable names of the checks."""


def judge(case: Case) -> list[Finding]:
    """All findings about a case; about a workload that no pool can have, the rest is left out."""
    found: list[Finding] = []
    for check in _CHAIN:
        new = [replace(f, check=check.__name__) for f in check(case)]
        found += new
        is_hopeless = case.found.workload is None or any(f.level is Level.REFUSED for f in new)
        if check is _NEEDED and is_hopeless:
            break
    return found


def existing(found: Found, name: str = "") -> Object | None:
    """The oldest WarmPool with this workload; the one of that name, if one is given."""
    mine = [
        pool
        for pool in found.pools.items
        if (name_of(pool) == name if name else points_to(pool["spec"]["targetRef"], found.target))
    ]
    return min(mine, key=age_of, default=None)


def case_of(
    found: Found, pool: Object | None, service: str = "", replicas: int | None = None
) -> Case:
    """What is judged: the pool that exists, or the one that the plugin would make.

    Raises DemoModeError if the API server would reject that one, or its spec is invalid.
    """
    if pool is not None and service:
        pool = pool | {"spec": pool["spec"] | {"service": service}}
    made = proposed(found, service) if pool is None else pool
    priced = read_pool(
        made,
        None if found.workload is None else template_of(found.workload),
        platform_of(responsible(found)),
    )
    most = priced.spec.most_replicas
    wanted = replicas or most
    one = service_named(found, priced.spec.service)
    others = [name for name in waking(found) if name != priced.spec.service]
    return Case(found, priced, pool is None, wanted, None if one is None else dict(one), others)


def proposed(found: Found, service: str = "") -> Object:
    """The WarmPool that fits the workload, without windows."""
    target = found.target
    ref: dict[str, Any] = {"name": target.name}
    if (target.api_version, target.kind) != ("apps/v1", "Deployment"):
        ref = {"apiVersion": target.api_version, "kind": target.kind} | ref
    spec: dict[str, Any] = {"targetRef": ref}
    if not target.scales_itself:
        chosen = service or choose(found)
        if chosen != target.name:
            spec["service"] = chosen
        of = service_named(found, chosen)
        if of is not None and not spec_of(of).get("selector"):
            spec["route"] = RouteMode.ALWAYS.value
    return {
        "apiVersion": "kotatsu.dev/v1beta1",
        "kind": "WarmPool",
        "metadata": {"name": target.name, "namespace": found.namespace},
        "spec": spec,
    }


def choose(found: Found) -> str:
    """The Service of a workload: one that selects its pods and can wake them, first by its name.

    Without one: a Service of the workload's name, whatever is to be said of it.
    """
    own, chosen = found.target.name, waking(found)
    if own in chosen or not chosen:
        return own
    named = service_named(found, own)
    if named is not None and not spec_of(named).get("selector"):
        return own  # for route Always
    return chosen[0]


@dataclass(frozen=True)
class Examined:
    """The findings about a workload."""

    found: Found
    case: Case | None
    """None if the API server would reject a pool for this workload."""
    findings: Sequence[Finding]


def examine(
    api: Api, namespace: str, given: str, service: str = "", replicas: int | None = None
) -> Examined:
    """Read and judge a workload, or a pool's, with what the command line says beside it.

    Raises DemoModeError if that is impossible.
    """
    reader, name = Reader(api, namespace), ""
    target = reader.named(given)
    if target.kind == "WarmPool":
        name = target.name
        target = _target_of(api, namespace, name)
    found = reader.all(target)
    try:
        case = case_of(found, existing(found, name), service, replicas)
    except DemoModeError as error:
        return Examined(found, None, [_invalid(found, error)])
    spec = case.pool.spec
    if spec.route is RouteMode.ALWAYS:
        found = replace(found, slices=reader.slices(spec.service))
    elif found.workload is not None and not spec.target.scales_itself:
        found = read_pages(api, case)
    case = replace(case, found=found)
    return Examined(found, case, judge(case))


def _target_of(api: Api, namespace: str, name: str) -> Target:
    try:
        pool: Object = api.get(pool_path(namespace, name))
    except NotFoundError:
        raise NotFoundError(
            f"namespace {namespace} has no WarmPool {name}; see `kubectl get warmpools -A`"
        ) from None
    return read_pool(pool).spec.target


def _invalid(found: Found, error: DemoModeError) -> Finding:
    """The finding for a pool that the API server or the operator would reject."""
    text = str(error).partition(": ")[2] or str(error)
    return replace(refused(Refusal("InvalidSpec", f"{found.label}: {text}")), check="workload")
