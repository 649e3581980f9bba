"""kubectl demo-mode check: will a WarmPool work for a workload? Reads, and changes nothing."""

import textwrap
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.budget.prices import hourly, pod_requests
from kotatsu_operator.core.decide.refusal import Refusal
from kotatsu_operator.core.parked import parked_spec
from kotatsu_operator.core.pool.proposal import choose, waking
from kotatsu_operator.core.pool.spec import Platform, RouteMode, Target
from kotatsu_operator.core.protocol import API_VERSION
from kotatsu_operator.core.report.status import cost_status

from .api import Api
from .checks import capacity, greeting, installation, lifecycle, traffic, workload
from .checks.found import Case, Finding, Found, Level, age_of, points_to, refused, verdict
from .checks.gauges import read_pages
from .checks.reader import Reader
from .errors import DemoModeError, NotFoundError
from .objects import Object, name_of, spec_of
from .operators import platform_of
from .pools import items_of, pool_path, read_pool
from .shell import Shell
from .terminal import Terminal, plain

CHAIN: tuple[Callable[[Case], Iterator[Finding]], ...] = (
    installation.crd,
    installation.operator,
    installation.activator,
    workload.workload,
    workload.replicas,
    traffic.service,
    installation.isolation,
    traffic.ports,
    greeting.greeting,
    greeting.worker,
    traffic.metrics,
    traffic.wakes,
    lifecycle.probes,
    lifecycle.shutdown,
    lifecycle.image,
    lifecycle.files,
    workload.pods,
    capacity.autoscaler,
    capacity.disk,
    capacity.disruption,
    capacity.quota,
    capacity.limits,
    capacity.cost,
    capacity.parked,
)
"""The checks, in their order; the names are stable."""
_NEEDED = workload.workload
"""The checks after this one are about a workload that a pool can have."""


@dataclass(frozen=True)
class Examined:
    """The findings about a workload."""

    found: Found
    case: Case | None
    """None if the API server would reject a pool for this workload."""
    findings: Sequence[Finding]


def run(options: Namespace, shell: Shell) -> int:
    """Print what was found; returns 1 if something is refused, or with --strict a warning."""
    if options.filename:
        from . import sets

        return sets.run(options, shell)
    terminal = shell.terminal
    many = bool(options.selector or options.everything or options.all_namespaces)
    if many == bool(options.workload):
        raise DemoModeError(
            "name one workload, as in `kubectl demo-mode check deployment/web`, or choose pools "
            "with -l, --all or -A"
        )
    with shell.api(options) as api:
        namespace = shell.namespace(api, options)
        chosen = [(namespace, options.workload)]
        if many:
            options.pools, options.everything = [], True
            pools = [raw["metadata"] for raw in items_of(api, namespace, options)]
            chosen = [(meta["namespace"], f"warmpool/{meta['name']}") for meta in pools]
        seen = []
        for place, name in chosen:
            terminal.progress(f"reading {name} in {place}")
            seen.append(examine(api, place, name, options.service, options.replicas))
    terminal.clear()
    if options.output:
        records = [record(one) for one in seen]
        terminal.dump(records if many else records[0], options.output)
    else:
        for one in seen:
            if one is not seen[0]:
                terminal.say("")
            if many:
                terminal.say(f"{one.found.label} in {one.found.namespace}")
            for finding in one.findings:
                for line in lines(finding, terminal):
                    terminal.say(line)
            terminal.say("")
            terminal.say(conclusion(one))
    bad = (Level.REFUSED, Level.WARNING) if options.strict else (Level.REFUSED,)
    return int(any(verdict(one.findings) in bad for one in seen))


# --- reading and judging ---


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
        said = str(error).partition(": ")[2] or str(error)
        why = refused(Refusal("InvalidSpec", f"{found.label}: {said}"))
        return Examined(found, None, [replace(why, check="workload")])
    spec = case.pool.spec
    has_pods = found.workload is not None and not spec.target.scales_itself
    if spec.route is RouteMode.ACTIVATOR:
        case = replace(case, found=replace(found, slices=reader.slices(spec.service)))
    elif has_pods:
        case = replace(case, found=read_pages(api, case))
    if has_pods:
        case = replace(case, found=greeting.listen(api, case))
    return Examined(case.found, case, judge(case))


def _target_of(api: Api, namespace: str, name: str) -> Target:
    try:
        return read_pool(api.get(pool_path(namespace, name))).spec.target
    except NotFoundError:
        raise NotFoundError(
            f"namespace {namespace} has no WarmPool {name}; see `kubectl get warmpools -A`"
        ) from None


def judge(case: Case) -> list[Finding]:
    """All findings about a case; about a workload that no pool can have, the rest is left out."""
    found: list[Finding] = []
    for check in CHAIN:
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
    platform = platform_of(found.operator)
    cost = _cost(found, platform)
    if pool is not None and service:
        pool = pool | {"spec": pool["spec"] | {"service": service}}
    made = proposed(found, service) | {"status": cost} if pool is None else pool
    read = read_pool(made, platform)
    one = traffic.service_named(found, read.spec.service)
    others = [
        name for name in waking(found.labels, found.services.items) if name != read.spec.service
    ]
    return Case(
        found,
        read,
        pool is None,
        replicas or read.spec.most_replicas,
        None if one is None else dict(one),
        others,
    )


def _cost(found: Found, platform: Platform) -> Mapping[str, Any]:
    """The prices that the operator will write of a new pool. Raises DemoModeError."""
    spec, prices = found.pod_spec, platform.prices
    try:
        full = hourly(pod_requests(spec), prices)
        parked = hourly(pod_requests(parked_spec(spec, platform.parked_cpu)), prices)
    except (ArithmeticError, AttributeError, TypeError, ValueError):
        raise DemoModeError(
            f"{found.label}: its resources are invalid; write them like {{requests: {{cpu: 250m, "
            "memory: 320Mi}}"
        ) from None
    return cost_status(Ledger(prices.currency, pod_hour=full, parked_hour=parked))


def proposed(found: Found, service: str = "") -> Object:
    """The WarmPool that fits the workload, without windows."""
    target = found.target
    ref: dict[str, Any] = {"name": target.name}
    if (target.api_version, target.kind) != ("apps/v1", "Deployment"):
        ref = {"apiVersion": target.api_version, "kind": target.kind} | ref
    spec: dict[str, Any] = {"targetRef": ref}
    if not target.scales_itself:
        chosen = service or choose(target.name, found.labels, found.services.items)
        if chosen != target.name:
            spec["service"] = chosen
        of = traffic.service_named(found, chosen)
        if of is not None and not spec_of(of).get("selector"):
            spec["route"] = RouteMode.ACTIVATOR.value
    return {
        "apiVersion": API_VERSION,
        "kind": "WarmPool",
        "metadata": {"name": target.name, "namespace": found.namespace},
        "spec": spec,
    }


# --- output ---


def record(seen: Examined) -> dict[str, Any]:
    target = seen.found.target
    return {
        "workload": {
            "apiVersion": target.api_version,
            "kind": target.kind,
            "namespace": seen.found.namespace,
            "name": target.name,
        },
        "warmPool": None if seen.case is None or seen.case.is_new else seen.case.pool.name,
        "service": None if seen.case is None else seen.case.pool.spec.service,
        "verdict": verdict(seen.findings).value,
        "findings": [
            {"check": f.check, "level": f.level.value, "reason": f.reason, "message": f.message}
            for f in seen.findings
        ],
    }


_WIDTHS = len("refused"), len("autoscaler")


def lines(finding: Finding, terminal: Terminal) -> list[str]:
    """A finding as a line; on a terminal, its message is wrapped."""
    head = f"{finding.level.value:<{_WIDTHS[0]}}  {finding.check:<{_WIDTHS[1]}}  "
    reason = "" if finding.level in (Level.OK, Level.UNKNOWN) else f"{finding.reason}: "
    said = plain(f"{reason}{finding.message}")
    if not terminal.is_live:
        return [head + said]
    width = max(40, terminal.width - len(head))
    first, *rest = textwrap.wrap(said, width, break_on_hyphens=False) or [""]
    return [head + first, *(" " * len(head) + line for line in rest)]


def conclusion(seen: Examined) -> str:
    """The verdict in a sentence, with what to do next."""
    worst, parts = verdict(seen.findings), []
    for level, one, many in (
        (Level.REFUSED, "refused", "refused"),
        (Level.WARNING, "warning", "warnings"),
        (Level.UNKNOWN, "not checked", "not checked"),
    ):
        if count := sum(finding.level is level for finding in seen.findings):
            parts.append(f"{count} {one if count == 1 else many}")
    of = f"{seen.found.label}: {', '.join(parts) or 'nothing to mend'}"
    if worst is Level.REFUSED:
        return f"{of}; a WarmPool does not work until what is refused is corrected"
    if seen.case is None or not seen.case.is_new:
        return of
    more = "" if worst is Level.OK else "; correct the warnings first"
    return (
        f"{of}; a WarmPool works{more}: `kubectl demo-mode create "
        f"{seen.found.target.kind.lower()}/{seen.found.target.name} -n {seen.found.namespace}` "
        "writes it"
    )
