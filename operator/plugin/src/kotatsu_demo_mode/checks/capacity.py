"""Checks of how many pods there may be: autoscalers, quotas, limits, budgets, and parked ones."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from kotatsu_demo_mode.installs import settings
from kotatsu_demo_mode.objects import name_of, spec_of
from kotatsu_demo_mode.words import pods
from kotatsu_operator.core.budget.prices import pod_requests
from kotatsu_operator.core.decide.refusal import (
    Refusal,
    check_autoscalers,
    is_left_alone,
    keda_refusal,
)
from kotatsu_operator.core.formats import count, parse_quantity, table, tables
from kotatsu_operator.core.objects import is_resizable, owners, selects
from kotatsu_operator.core.parked import NOT_ENABLED, NOT_SERVED, Obstacle, pod_size, unparkable
from kotatsu_operator.core.pool.spec import Parked
from kotatsu_operator.core.report.record import found_replicas

from .found import Case, Finding, Found, note, ok, points_to, refused, unknown, warning


def scales(case: Case, obj: Mapping[str, Any]) -> bool:
    """Whether an autoscaler scales the workload."""
    return points_to(table(spec_of(obj).get("scaleTargetRef")), case.found.target)


def autoscaler(case: Case) -> Iterator[Finding]:
    """Whether an autoscaler works beside the pool."""
    found = case.found
    for kind, objects in (
        ("HorizontalPodAutoscalers", found.autoscalers),
        ("ScaledObjects", found.scaled_objects),
    ):
        if objects.unread:
            yield unknown(f"{kind}: {objects.unread}")
    mine = sorted((a for a in found.autoscalers.items if scales(case, a)), key=name_of)
    keda = [s for s in found.scaled_objects.items if scales(case, s) and not is_left_alone(s)]
    why = check_autoscalers(case.pool.spec, found.namespace, mine)
    if why is None and keda and not mine:
        why = keda_refusal(found.label, found.namespace, name_of(keda[0]))
    if why is not None:
        yield refused(why)
        return
    for hpa in mine:
        yield from _autoscaler(case, hpa)
    if not mine and not found.autoscalers.unread:
        yield ok("no autoscaler scales it")


def _autoscaler(case: Case, hpa: Mapping[str, Any]) -> Iterator[Finding]:
    name, most = name_of(hpa), count(spec_of(hpa).get("maxReplicas"))
    if most < case.replicas:
        yield warning(
            "FloorLimited",
            f"HorizontalPodAutoscaler {name} allows {most} pods and {case.replicas} are wanted: "
            "raise its maxReplicas, or use fewer",
        )
    elif any(owner.applies for owner in owners(hpa, "minReplicas")):
        yield warning(
            "MinReplicasContested",
            f"a manifest with minReplicas of HorizontalPodAutoscaler {name} is applied again and "
            "undoes what the pool sets: ignore /spec/minReplicas there",
        )
    else:
        yield ok(f"HorizontalPodAutoscaler {name} scales it above the windows, up to {most}")


def pods_with_disk(case: Case) -> int:
    """The most pods that may have a disk: as many as run, or ran when the pool found them."""
    running = count(spec_of(case.found.workload or {}).get("replicas"), 1)
    return max(1, running, found_replicas(case.pool.status))


def disk(case: Case) -> Iterator[Finding]:
    """Whether a further pod has the data."""
    found, spec = case.found, case.pool.spec
    of, most = found.disk, pods_with_disk(case)
    if of is None or spec.target.scales_itself:
        return
    if found.claims.unread:
        yield unknown(f"whether its pods can share their volume claims: {found.claims.unread}")
    if any(scales(case, a) for a in found.autoscalers.items):
        yield ok("an autoscaler says how many pods its volume claims have")
    elif not spec.leaves_open(of):
        yield ok(f"spec.maxReplicas permits {pods(spec.max_replicas)} with its volume claims")
    elif case.is_new and of.for_one is not False:
        yield note("OneDisk", f"{found.label} {of.why}: `create` writes maxReplicas: {most}")
    elif case.is_new:
        yield ok("its pods can share their volume claims")
    elif of.for_one is False:
        yield warning(
            "NoMaximum",
            f"{found.label} {of.why} as far as the operator can see, so requests start no further "
            "pod: set spec.maxReplicas",
        )
    else:
        yield refused(Refusal("OneDisk", f"{found.label} {of.why}: set spec.maxReplicas to {most}"))


def disruption(case: Case) -> Iterator[Finding]:
    """Whether a node can be drained while the pool is warm."""
    found = case.found
    if found.disruption_budgets.unread:
        yield unknown(f"PodDisruptionBudgets: {found.disruption_budgets.unread}")
        return
    mine = [
        budget
        for budget in found.disruption_budgets.items
        if found.labels and selects(table(spec_of(budget).get("selector")), found.labels)
    ]
    names = " and ".join(sorted(map(name_of, mine)))
    if len(mine) > 1:
        yield warning(
            "TwoDisruptionBudgets",
            f"PodDisruptionBudgets {names} select the same pods, and Kubernetes evicts none of "
            "them then: delete all but one",
        )
    elif mine and _blocks(spec_of(mine[0]), case.replicas):
        yield note(
            "DrainBlocked",
            f"PodDisruptionBudget {names} allows no eviction with {pods(case.replicas)}, so a "
            "drain of their node waits until the pool sleeps: allow one (maxUnavailable: 1)",
        )
    elif mine:
        yield ok(f"PodDisruptionBudget {names} allows an eviction")


def _blocks(spec: Mapping[str, Any], replicas: int) -> bool:
    """Whether a budget allows no eviction of one of these pods; percentages are rounded up."""
    if "maxUnavailable" in spec:
        return _share(spec["maxUnavailable"], replicas) < 1
    return replicas - _share(spec.get("minAvailable", 0), replicas) < 1


def _share(value: Any, replicas: int) -> int:
    if isinstance(value, str) and value.endswith("%") and value[:-1].isdigit():
        return -(-int(value[:-1]) * replicas // 100)
    return count(value)


# --- quotas and limits ---


def _amounts(found: Found) -> dict[str, Decimal]:
    """What one pod counts in a ResourceQuota, by the quota's names."""
    requests = pod_requests(_with_defaults(found))
    used = {f"requests.{name}": amount for name, amount in requests.items()}
    used |= {n: requests[n] for n in ("cpu", "memory") if n in requests}
    limits = [table(table(c.get("resources")).get("limits")) for c in found.containers]
    for name in ("cpu", "memory"):
        given = [parse_quantity(str(of[name])) for of in limits if name in of]
        if len(given) == len(limits):
            used[f"limits.{name}"] = sum(given, Decimal(0))
    return used | {"pods": Decimal(1), "count/pods": Decimal(1)}


def _with_defaults(found: Found) -> dict[str, Any]:
    """The PodSpec with what a LimitRange fills in."""
    defaults: dict[str, Any] = {}
    for limit in _limits(found, "Container"):
        defaults |= {**table(limit.get("default")), **table(limit.get("defaultRequest"))}

    def filled(container: Mapping[str, Any]) -> dict[str, Any]:
        resources = table(container.get("resources"))
        own = {**table(resources.get("limits")), **table(resources.get("requests"))}
        return {**container, "resources": {"requests": defaults | own}}

    spec = dict(found.pod_spec)
    return spec | {"containers": [filled(c) for c in tables(spec.get("containers"))]}


def _limits(found: Found, kind: str) -> Iterator[Mapping[str, Any]]:
    for limit_range in found.limit_ranges.items:
        for limit in tables(spec_of(limit_range).get("limits")):
            if limit.get("type") == kind:
                yield limit


_NEEDED = ("requests.cpu", "requests.memory", "limits.cpu", "limits.memory", "cpu", "memory")
"""Of these, a quota rejects pods that do not say them."""


def quota(case: Case) -> Iterator[Finding]:
    """Whether the namespace's quotas have room for the wanted pods."""
    found = case.found
    if found.quotas.unread:
        yield unknown(f"ResourceQuotas: {found.quotas.unread}")
        return
    if found.workload is None or not found.quotas.items:
        return
    one = _amounts(found)
    defaults = {n for limit in _limits(found, "Container") for n in table(limit.get("default"))}
    one |= {f"limits.{n}": Decimal(0) for n in defaults if f"limits.{n}" not in one}
    there = count(table(found.workload.get("status")).get("replicas"), len(found.pods.items))
    more = max(0, case.replicas - there)
    for of in found.quotas.items:
        spec, status = spec_of(of), table(of.get("status"))
        if spec.get("scopes") or spec.get("scopeSelector"):
            continue  # for some pods only
        hard, used = table(spec.get("hard")), table(status.get("used"))
        missing = [name for name in _NEEDED if name in hard and name not in one]
        if missing:
            yield warning(
                "QuotaNeedsResources",
                f"ResourceQuota {name_of(of)} sets {' and '.join(missing)}, so pods without them "
                "are rejected: add them to the resources of each container",
            )
            return
        for name, amount in one.items():
            if name not in hard:
                continue
            left = parse_quantity(str(hard[name])) - parse_quantity(str(used.get(name, "0")))
            if amount * more > left:
                yield warning(
                    "QuotaTooSmall",
                    f"{pods(case.replicas)} do not fit into ResourceQuota {name_of(of)}: {more} "
                    f"more need {_shown(amount * more)} of {name}, and "
                    f"{_shown(max(left, Decimal(0)))} is left: raise the quota, or use fewer or "
                    "smaller pods",
                )
                return
    yield ok(f"the ResourceQuotas have room for {pods(case.replicas)}")


def _shown(amount: Decimal) -> str:
    """An amount as a quantity of Kubernetes."""
    if amount >= 2**20:
        return f"{amount / 2**20:.0f}Mi"
    return f"{amount * 1000:.0f}m" if amount % 1 else f"{amount:.0f}"


def limits(case: Case) -> Iterator[Finding]:
    """Whether a LimitRange rejects the pods."""
    found = case.found
    if found.limit_ranges.unread:
        yield unknown(f"LimitRanges: {found.limit_ranges.unread}")
        return
    if not found.containers or not found.limit_ranges.items:
        return
    for limit in _limits(found, "Container"):
        for container in found.containers:
            resources = table(container.get("resources"))
            own = [table(resources.get(k)) for k in ("requests", "limits")]
            for bound, word in (("max", "more"), ("min", "less")):
                for name, text_of in table(limit.get(bound)).items():
                    edge = parse_quantity(str(text_of))
                    asked = [parse_quantity(str(of[name])) for of in own if name in of]
                    if any((a > edge) if bound == "max" else (a < edge) for a in asked):
                        yield warning(
                            "LimitRangeRejects",
                            f"container {name_of(container)} has {word} {name} than the {bound} "
                            f"{text_of} of the namespace's LimitRange, so its "
                            "pods are rejected: change its resources, or the LimitRange",
                        )
                        return
    yield ok("the LimitRanges accept its pods")


def cost(case: Case) -> Iterator[Finding]:
    """Whether the cost of the pods can be calculated."""
    found = case.found
    if found.containers and not pod_requests(found.pod_spec):
        yield note(
            "NoRequests",
            "its pods request no resources, so their cost is 0 in every budget: set "
            "resources.requests",
        )


_PARKED = "KOTATSU_PARKED"


def parked(case: Case) -> Iterator[Finding]:
    """Whether the operator could park its pods; the reasons are those of ParkingWorks."""
    asked = case.pool.spec.parked
    why = why_unparked(case, asked or Parked(timedelta()), is_asked=asked is not None)
    if why is None:
        yield ok("its idle pods can be parked (spec.parkedFor)")
    elif asked is None:
        yield ok(f"its idle pods cannot be parked: {why.message.partition(':')[0]}")
    else:
        then = "until then the pool sleeps when it is idle, and its windows with Parked are warm"
        yield warning(why.reason, f"{why.message}; {then}")


def why_unparked(case: Case, asked: Parked, *, is_asked: bool) -> Obstacle | None:
    """Why its pods could not be parked; `is_asked`: also that the operator parks none."""
    found, target = case.found, case.pool.spec.target
    mine = [a for a in found.autoscalers.items if scales(case, a)]
    template = pod_size(found.pod_spec) if found.pod_spec else None
    why = unparkable(target, template, asked.cpu, mine)
    if why is not None:
        return why
    if is_asked and found.operator and _PARKED not in settings(found.operator):
        return NOT_ENABLED
    served = all(is_resizable(table(pod.get("status"))) for pod in found.pods.items)
    return None if served else NOT_SERVED
