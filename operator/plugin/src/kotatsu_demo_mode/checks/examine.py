"""Reads and judges one workload: what `check` shows, and what `create` fills in."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kotatsu_demo_mode.api import Api
from kotatsu_demo_mode.errors import DemoModeError, NotFoundError
from kotatsu_demo_mode.pools import Object, pool_path, read_pool
from kotatsu_operator.core.decide.refusal import Refusal
from kotatsu_operator.core.pool.spec import RouteMode, Target

from .finding import Finding, Maker
from .found import Case, Found
from .gauges import read_pages
from .judge import case_of, existing, judge
from .names import named
from .reader import Reader


@dataclass(frozen=True)
class Wish:
    """What the command line says beside the workload."""

    service: str = ""
    replicas: int | None = None


@dataclass(frozen=True)
class Examined:
    """The findings about a workload."""

    found: Found
    case: Case | None
    """None if the API server would reject a pool for this workload."""
    findings: Sequence[Finding]


def examine(api: Api, namespace: str, text: str, wish: Wish) -> Examined:
    """Read and judge a workload, or a pool's. Raises DemoModeError if that is impossible."""
    reader, given = Reader(api, namespace), named(text)
    name = ""
    if given.kind == "WarmPool":
        name = given.name
        target = _target_of(api, namespace, name)
    else:
        given = reader.resolve(given)
        target = Target(given.api_version, given.kind, given.name)
    found = reader.all(target)
    try:
        case = case_of(found, existing(found, name), wish.service, wish.replicas)
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
    return Maker("workload").refused(Refusal("InvalidSpec", f"{found.label}: {text}"))
