"""Checks of the workload itself: that it can be a target, and who else sets its replicas."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kotatsu_demo_mode.objects import Object, name_of, spec_of
from kotatsu_operator.core import objects
from kotatsu_operator.core.decide import refusal
from kotatsu_operator.core.formats import count, table, tables, text
from kotatsu_operator.core.pool.spec import BUILT_IN, KNATIVE

from .found import Case, Finding, note, ok, points_to, refused, unknown, warning
from .installation import scaled
from .traffic import older


def workload(case: Case) -> Iterator[Finding]:
    """Whether the workload exists and a pool can have it."""
    found, spec = case.found, case.pool.spec
    if found.unread:
        yield unknown(f"{found.label}: {found.unread}")
        return
    kind = "Knative Service" if spec.target.scales_itself else spec.target.kind

    def shares(other: Object) -> bool:
        return points_to(other["spec"]["targetRef"], spec.target)

    known = {name_of(p): p["spec"].get("dependsOn") or () for p in found.pools.items}

    def depends_on(name: str) -> Sequence[str] | None:
        return spec.depends_on if name == case.pool.name else known.get(name)

    for why in (
        *_kind_and_claims(case),
        refusal.check_is_not_kotatsu(spec, found.labels),
        refusal.check_only_pool(spec, older(case, shares)),
        refusal.check_exists(spec, found.namespace, kind, exists=found.workload is not None),
        refusal.check_dependencies(case.pool.name, found.namespace, depends_on),
    ):
        if why is not None:
            yield refused(why)
            return
    if spec.target.kind not in (*BUILT_IN, KNATIVE) and scaled(found) is None:
        yield unknown(
            f"whether the operator may scale {spec.target.kind} of {spec.target.api_version} (the "
            "chart value `targets`): its Deployment could not be read"
        )
    pool = "" if case.is_new else f", WarmPool {case.pool.name}"
    yield ok(f"{kind} {spec.target.name} can sleep and be woken{pool}")
    policy = spec_of(found.workload or {}).get("podManagementPolicy", "OrderedReady")
    if found.target.kind == "StatefulSet" and policy == "OrderedReady" and case.replicas > 1:
        yield note(
            "OrderedStart",
            f"{found.label} starts its pods one after the other, so a window of {case.replicas} "
            "pods opens after that many starts: set podManagementPolicy: Parallel if the order "
            "does not matter",
        )


def _kind_and_claims(case: Case) -> Iterator[refusal.Refusal | None]:
    """What kinds with a scale of their own are checked for, besides Deployments."""
    spec, workload = case.pool.spec, case.found.workload
    if spec.target.scales_itself or spec.target.kind == "Deployment":
        return
    known = scaled(case.found)
    if known is not None:
        yield refusal.check_kind(spec, known)
    if workload is not None:
        yield refusal.check_selector(spec, objects.workload_selector(workload))
        yield refusal.check_volume_claims(spec, deletes=objects.deletes_claims(workload))


_BY_HAND = ("kubectl-scale", "kubectl-edit", "kubectl-patch", "kubectl-create", "kubectl-set")
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_REMEDIES = {
    "Argo CD": "add `ignoreDifferences` for /spec/replicas and the sync option "
    "RespectIgnoreDifferences=true to the Application",
    "": "remove `replicas` from the manifest that it applies",
}


def replicas(case: Case) -> Iterator[Finding]:
    """Whether another program sets the replicas again."""
    found = case.found
    if found.workload is None or case.pool.spec.target.scales_itself:
        return
    meta = table(found.workload.get("metadata"))
    if owner := objects.controller_of(meta):
        yield warning(
            "OwnedByController",
            f"{found.label} belongs to {owner}, whose controller may set the replicas again: let "
            "it leave them to the pool, if it can",
        )
        return
    write = objects.foreign_write(found.workload)
    tool = managed_by(meta)
    if write is not None and (write.applied or _says_replicas(found.workload, write.by)):
        yield warning(
            "ReplicasContested",
            f"{write.by} sets `replicas` of {found.label} and will do so again, which wakes it or "
            f"ends its pods: {_REMEDIES.get(tool, _REMEDIES[''])}",
        )
    elif tool:
        yield ok(f"{tool} manages {found.label} and does not set its replicas")
    else:
        yield ok("no manifest sets its replicas")


def managed_by(meta: Mapping[str, Any]) -> str:
    """The tool that applies an object, from the marks that it leaves; empty without one."""
    labels, annotations = table(meta.get("labels")), table(meta.get("annotations"))
    managers = {text(m.get("manager")) for m in tables(meta.get("managedFields"))}
    if "argocd.argoproj.io/tracking-id" in annotations or "argocd-controller" in managers:
        return "Argo CD"
    if any(
        key.startswith(("kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/"))
        for key in labels
    ):
        return "Flux"
    if "meta.helm.sh/release-name" in annotations:
        return "Helm"
    return ""


def _says_replicas(workload: Mapping[str, Any], manager: str) -> bool:
    """Whether the manifest behind an update has `replicas`.

    An API server fills in `replicas: 1` and counts it as the manager's, so ownership alone does not
    tell. `kubectl apply` and Argo CD leave the manifest in an annotation.
    """
    if manager.startswith(_BY_HAND):
        return False
    applied = table(table(workload.get("metadata")).get("annotations")).get(_APPLIED)
    if isinstance(applied, str):
        try:
            return "replicas" in table(table(json.loads(applied)).get("spec"))
        except (ValueError, RecursionError):
            return False
    return count(spec_of(workload).get("replicas"), 1) > 1


def pods(case: Case) -> Iterator[Finding]:
    """Whether pods of this template start."""
    found = case.found
    if case.pool.spec.target.scales_itself:
        return
    if found.workload is None or found.pods.unread:
        if found.pods.unread:
            yield unknown(f"pods: {found.pods.unread}")
        return
    for pod in found.pods.items:
        status = table(pod.get("status"))
        why = objects.why_not_started(status)
        if not why and (said := objects.why_unschedulable(status)):
            why = f"no node has room for it ({said[:200]})"
        if why:
            yield warning(
                "PodsFail",
                f"pod {name_of(pod)} does not start: {why}; see `kubectl describe pod "
                f"{name_of(pod)} -n {found.namespace}`",
            )
            return
    if not found.pods.items:
        yield note("NoPod", "no pod runs now, so whether its pods start is not known")
    elif found.ready_pods:
        first = "the first " if found.pods.has_more else ""
        yield ok(f"Ready pods: {len(found.ready_pods)} of {first}{len(found.pods.items)}")
