"""Checks of the platform: the CRD, the operator, and an activator in the namespace."""

from collections.abc import Iterator

from kotatsu_demo_mode.schema import paths, spec_schema
from kotatsu_operator.core.decide.refusal import Refusal
from kotatsu_operator.core.formats import count, table, tables, text
from kotatsu_operator.core.pool.spec import BUILT_IN, Scaled, ScaledKind

from .finding import Finding, Maker
from .found import Case, Found, is_ready, name_of, spec_of

NAMESPACES, PRICES, TARGETS = "KOTATSU_NAMESPACES", "KOTATSU_PRICES", "KOTATSU_TARGETS"


def crd(case: Case) -> Iterator[Finding]:
    """Whether the cluster knows WarmPools."""
    make = Maker("crd")
    found = case.found
    if not found.has_api:
        yield make.refused(
            Refusal(
                "CRDMissing",
                "the cluster has no CRD warmpools.kotatsu.dev: install the chart kotatsu, or "
                "choose another --context",
            )
        )
    elif found.pools.unread:
        yield make.unknown(f"other WarmPools: {found.pools.unread}")
    else:
        served = _served(found)
        lacks = [path for path in paths(spec_schema(), "spec") if path not in served]
        if found.crd.items and lacks:
            yield make.note(
                "CRDIsOlder",
                f"the CRD of the cluster lacks {lacks[0]}, which this plugin may write: upgrade "
                "the chart kotatsu, or use the plugin of its version",
            )
        else:
            yield make.ok("the cluster serves WarmPools, version v1alpha1")


def _served(found: Found) -> set[str]:
    """The fields of a WarmPool's spec that the cluster knows."""
    known: set[str] = set()
    for crd in found.crd.items:
        for version in tables(spec_of(crd).get("versions")):
            schema = table(table(version.get("schema")).get("openAPIV3Schema")).get("properties")
            known.update(paths(dict(table(table(schema).get("spec"))), "spec"))
    return known


def settings(operator: object) -> dict[str, str]:
    """The environment of an operator's Deployment."""
    pod = table(table(spec_of(table(operator)).get("template")).get("spec"))
    return {
        text(entry.get("name")): text(entry.get("value"))
        for container in tables(pod.get("containers"))
        for entry in tables(container.get("env"))
    }


def responsible(found: Found) -> object | None:
    """The operator that watches the namespace; None if none of those read does."""
    for operator in found.operators.items:
        if found.namespace in settings(operator).get(NAMESPACES, "").split(","):
            return operator
    return None


def scaled(found: Found) -> Scaled | None:
    """The kinds with a scale that the operator may scale; None if its settings were not read."""
    mine = responsible(found)
    if mine is None:
        return None
    given = [text.strip().split("/") for text in settings(mine).get(TARGETS, "").split(",")]
    more = [ScaledKind(f"{p[0]}/{p[1]}", p[2], p[3]) for p in given if len(p) == 4]
    return {**BUILT_IN, **{kind.kind: kind for kind in more}}


def operator(case: Case) -> Iterator[Finding]:
    """Whether an operator watches the namespace and runs."""
    make, found = Maker("operator"), case.found
    mine = table(responsible(found))
    if mine:
        where = f"{text(table(mine['metadata']).get('namespace'))}/{name_of(mine)}"
        version = text(
            table(table(mine["metadata"]).get("labels")).get("app.kubernetes.io/version")
        )
        if count(table(mine.get("status")).get("readyReplicas")) == 0:
            yield make.warning(
                "OperatorNotReady",
                f"the operator {where} has no Ready pod, so no window opens: see `kubectl describe "
                f"deployment {name_of(mine)} -n {where.partition('/')[0]}`",
            )
        else:
            yield make.ok(f"the operator {where}{f' {version}' * bool(version)} watches it")
    elif found.operators.unread:
        yield make.unknown(f"which operator watches {found.namespace}: {found.operators.unread}")
    elif found.operators.items:
        yield make.refused(_not_served(found, "no operator of this cluster watches it"))
    else:
        yield make.refused(_not_served(found, "no operator runs in this cluster"))


def activator(case: Case) -> Iterator[Finding]:
    """Whether an activator can answer for a sleeping pool of the namespace."""
    make, found = Maker("activator"), case.found
    if case.pool.spec.target.scales_itself:
        yield make.ok("Knative wakes its Services itself")
    elif found.activators.unread:
        yield make.unknown(f"activators: {found.activators.unread}")
    elif not found.activators.items:
        yield make.refused(_not_served(found, "it has no activator"))
    elif not any(map(is_ready, found.activators.items)):
        yield make.warning(
            "ActivatorNotReady",
            f"no activator of {found.namespace} is Ready, so no request wakes a pool: see `kubectl "
            f"get pods -n {found.namespace} -l app.kubernetes.io/component=activator`",
        )
    else:
        ready = sum(map(is_ready, found.activators.items))
        if ready == 1:
            yield make.note(
                "OneActivator",
                "one activator is Ready: with a second one (the chart value activator.replicas) a "
                "restart does not make sleeping pools unreachable for seconds",
            )
        else:
            yield make.ok(f"{ready} activators are Ready")


def _not_served(found: Found, why: str) -> Refusal:
    return Refusal(
        "NamespaceNotServed",
        f"namespace {found.namespace} is not served by Kotatsu ({why}): add it to the chart value "
        "`namespaces`",
    )
