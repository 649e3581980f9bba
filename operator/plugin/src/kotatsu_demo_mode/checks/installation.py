"""Checks of the platform: the CRD, the operator, and an activator in the namespace."""

from collections.abc import Iterator

from kotatsu_demo_mode.installs import Standing, is_own, pods_of, settings, watch_by_deployment
from kotatsu_demo_mode.objects import labels_of, spec_of
from kotatsu_demo_mode.schema import paths, spec_schema
from kotatsu_operator.core.decide.isolation import Shared, check_isolation, ingress_policy
from kotatsu_operator.core.decide.refusal import Refusal
from kotatsu_operator.core.formats import table, tables
from kotatsu_operator.core.objects import container_ports, selects
from kotatsu_operator.core.pool.spec import BUILT_IN, Scaled, ScaledKind
from kotatsu_operator.core.protocol import home_of
from kotatsu_operator.core.scope import namespace_of

from .found import Case, Finding, Found, is_ready, note, ok, refused, unknown, warning

TARGETS = "KOTATSU_TARGETS"


def crd(case: Case) -> Iterator[Finding]:
    """Whether the cluster knows WarmPools."""
    found = case.found
    if not found.has_api:
        yield refused(
            Refusal(
                "CRDMissing",
                "the cluster has no CRD warmpools.kotatsu.dev: install the chart kotatsu, or "
                "choose another --context",
            )
        )
    elif found.pools.unread:
        yield unknown(f"other WarmPools: {found.pools.unread}")
    else:
        served = _served(found)
        lacks = [path for path in paths(spec_schema(), "spec") if path not in served]
        if found.crd.items and lacks:
            yield note(
                "CRDIsOlder",
                f"the CRD of the cluster lacks {lacks[0]}, which this plugin may write: upgrade "
                "the chart kotatsu, or use the plugin of its version",
            )
        else:
            yield ok("the cluster serves WarmPools, version v1beta1")


def _served(found: Found) -> set[str]:
    """The fields of a WarmPool's spec that the cluster knows."""
    known: set[str] = set()
    for crd in found.crd.items:
        for version in tables(spec_of(crd).get("versions")):
            schema = table(table(version.get("schema")).get("openAPIV3Schema")).get("properties")
            known.update(paths(dict(table(table(schema).get("spec"))), "spec"))
    return known


def scaled(found: Found) -> Scaled | None:
    """The kinds with a scale that the operator may scale; None if its settings were not read."""
    if not found.operator:
        return None
    kinds = settings(found.operator).get(TARGETS, "").split(",")
    given = [text.strip().split("/") for text in kinds]
    more = [ScaledKind(f"{p[0]}/{p[1]}", p[2], p[3]) for p in given if len(p) == 4]
    return {**BUILT_IN, **{kind.kind: kind for kind in more}}


def operator(case: Case) -> Iterator[Finding]:
    """Whether an operator watches the namespace and runs."""
    read = case.found
    labels = labels_of(read.own)
    found = watch_by_deployment(read.operators, read.namespace, labels, read.served_by)
    match found.standing:
        case Standing.ABSENT:
            yield refused(Refusal("NamespaceNotServed", found.message))
        case Standing.UNKNOWN:
            yield unknown(found.message)
        case Standing.DOWN:
            yield warning("OperatorNotReady", found.message)
        case _:
            yield ok(found.message)


def activator(case: Case) -> Iterator[Finding]:
    """Whether an activator can answer for a sleeping pool of the namespace."""
    found = case.found
    if case.pool.spec.target.scales_itself:
        yield ok("Knative wakes its Services itself")
    elif found.activators.unread:
        yield unknown(f"activators: {found.activators.unread}")
    elif (ready := sum(map(is_ready, found.activators.items))) == 0:
        place, query = pods_of(found.served_by)
        yield warning(
            "ActivatorNotReady",
            f"no activator of {found.namespace} is Ready, so no request wakes a pool: see `kubectl "
            f"get pods -n {place} -l {query.partition(',')[2]}`",
        )
    elif ready == 1:
        yield note(
            "OneActivator",
            "one activator is Ready: with a second one (the chart value activator.replicas) a "
            "restart does not make sleeping pools unreachable for seconds",
        )
    else:
        yield ok(f"{ready} activators are Ready")


def isolation(case: Case) -> Iterator[Finding]:
    """Whether NetworkPolicies allow the pool activators that many namespaces share."""
    found, spec, home = case.found, case.pool.spec, home_of(case.found.served_by)
    if not home or is_own(found.served_by) or spec.target.scales_itself or case.service is None:
        return
    if found.policies.unread:
        yield unknown(f"NetworkPolicies: {found.policies.unread}")
        return
    policies = [p for p in map(ingress_policy, found.policies.items) if p is not None]
    limits = [policy for policy in policies if selects(policy.pods, found.labels)]
    shared = Shared(
        home,
        labels_of(found.home) or {"kubernetes.io/metadata.name": home},
        is_accepted=any(namespace_of(obj).shares for obj in found.own.items),
    )
    ports = container_ports(found.pod_spec)
    why = check_isolation(spec, limits, case.service, ports, shared)
    if why is None:
        yield ok("NetworkPolicies allow it activators that many namespaces share")
    elif found.own.unread:
        yield unknown(f"whether the owner of {found.namespace} accepts that: {found.own.unread}")
    else:
        yield refused(why)
