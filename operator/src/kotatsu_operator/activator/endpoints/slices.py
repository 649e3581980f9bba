"""The EndpointSlices of an activator: when it publishes them, and their content. Pure.

One slice per pool, activator pod and address family. It is emptied, and not deleted, when the
pool's own pods answer: it records which port belongs to which pool while a kube-proxy may still use
it.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from kotatsu_operator.activator.cache.pool import Pool
from kotatsu_operator.activator.cache.ports import PodIdentity, family_of
from kotatsu_operator.core.pool.memory import Route
from kotatsu_operator.core.protocol import (
    EPOCH_ANNOTATION,
    FAMILIES_ANNOTATION,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    POOL_LABEL,
    SERVICE_LABEL,
    pool_label,
)
from kotatsu_operator.kube.objects import Object
from kotatsu_operator.kube.views import PodView

PORT_REST = 150.0
"""Seconds that an emptied slice and its listener stay: no other pool gets the port, and a
kube-proxy that lags behind an API-server outage (up to two minutes) still reaches the activator."""


def wants_slice(pool: Pool, native_ready: int, native_ready_for: float, published: bool) -> bool:
    """Whether the pool's slice should have this activator as an endpoint.

    Yes if the route requires it, and whenever no pod is ready for any reason. The activator is
    removed once the route is native and a pod has been ready for the settle time. A pool that was
    never accepted is not published: its Service may be another pool's.
    """
    if not pool.was_accepted and not published:
        return False
    if pool.route is Route.ACTIVATOR or native_ready == 0:
        return True
    return published and native_ready_for < pool.settle


def families(service: Object | None, me: PodIdentity) -> list[str]:
    """The address families to publish a Service in: those that both it and this pod have."""
    wanted = (service or {}).get("spec", {}).get("ipFamilies") or [family_of(me.ips[0])]
    return [family for family in wanted if me.address(family) is not None]


def slice_name(pool: str, me: PodIdentity, family: str) -> str:
    """A name for each pool, activator pod and family, within the limit of 253 characters."""
    mark = hashlib.sha256(f"{pool}/{me.uid}/{family}".encode()).hexdigest()[:10]
    return f"kotatsu-{pool[:200].rstrip('-.')}-{mark}"


CONDITIONS: Mapping[str, Mapping[str, bool]] = {
    "serving": {"ready": True, "serving": True, "terminating": False},
    "leaving": {"ready": False, "serving": True, "terminating": True},
    "lost": {"ready": False, "serving": False, "terminating": False},
}
"""The conditions of an endpoint by state. kube-proxy uses a serving and terminating endpoint only
if none is ready, and never one that is not serving."""


def state_of_lost(pod: PodView) -> str:
    return "leaving" if pod.terminating and pod.ready else "lost"


def is_ready(obj: Object | None) -> bool:
    endpoints = (obj or {}).get("endpoints") or ()
    return any((e.get("conditions") or {}).get("ready", True) is not False for e in endpoints)


def may_take_back(
    of: PodView | None, me: PodView | None, *, mine_is_ready: bool, native_ready: int
) -> bool:
    """Whether an activator withdraws another one's endpoint for a pool and family.

    Only a lost one's, and only if another endpoint answers: a pod of the pool, or this activator.
    If two activators see each other as lost, neither is Ready, so both endpoints stay.
    """
    if of is None or not of.lost:
        return False
    return native_ready > 0 or (mine_is_ready and me is not None and me.ready and not me.lost)


def may_serve(me: PodView | None, *, mine_is_ready: bool, others_answer: bool) -> bool:
    """Whether an activator publishes its endpoint as ready.

    Not if its pod is lost and others have withdrawn the endpoint: then it waits until the pod is
    Ready, or until nothing else answers. So no two activators undo each other's writes.
    """
    return mine_is_ready or me is None or not me.lost or not others_answer


def make_slice(
    pool: Pool,
    service: Object,
    me: PodIdentity,
    family: str,
    ports: Mapping[str, int],
    *,
    state: str,
) -> Object:
    """One family's slice: `state` is serving, leaving, lost (see CONDITIONS), or empty.

    Port names are those of the Service, with the numbers that this activator listens on. Cloud load
    balancers in IP mode need nodeName and the Pod targetRef.
    """
    names: dict[str, Any] = {p.get("name", ""): p for p in service["spec"].get("ports") or ()}
    endpoint = {
        "addresses": [me.address(family)],
        "conditions": dict(CONDITIONS.get(state, {})),
        "nodeName": me.node,
        "targetRef": {"kind": "Pod", "namespace": me.namespace, "name": me.pod, "uid": me.uid},
    }
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": slice_name(pool.name, me, family),
            "namespace": me.namespace,
            "labels": {
                SERVICE_LABEL: pool.service,
                MANAGED_BY_LABEL: MANAGED_BY,
                POOL_LABEL: pool_label(pool.name),
            },
            "annotations": {
                POOL_LABEL: pool.name,
                EPOCH_ANNOTATION: str(pool.epoch),
                FAMILIES_ANNOTATION: ",".join(families(service, me)),
            },
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": me.pod, "uid": me.uid}],
        },
        "addressType": family,
        "endpoints": [] if state == "empty" else [endpoint],
        "ports": [
            {
                "name": name,
                "port": number,
                "protocol": "TCP",
                **(
                    {"appProtocol": names[name]["appProtocol"]}
                    if names.get(name, {}).get("appProtocol")
                    else {}
                ),
            }
            for name, number in sorted(ports.items())
        ],
    }


def taken_back(obj: Object, pod: PodView) -> Object:
    """The slice of a lost pod without a ready endpoint; its ports stay recorded."""
    conditions = dict(CONDITIONS[state_of_lost(pod)])
    endpoints = [e | {"conditions": conditions} for e in obj.get("endpoints") or ()]
    return obj | {"endpoints": endpoints}


def same_slice(ours: Object, there: Object) -> bool:
    return _said(ours) == _said(there)


def _said(obj: Object) -> tuple[Any, ...]:
    meta = obj["metadata"]
    return (
        (meta.get("labels") or {}).get(SERVICE_LABEL),
        [(meta.get("annotations") or {}).get(a) for a in (EPOCH_ANNOTATION, FAMILIES_ANNOTATION)],
        [(p.get("name", ""), p.get("port"), p.get("appProtocol")) for p in obj.get("ports") or ()],
        [(e.get("addresses"), e.get("conditions")) for e in obj.get("endpoints") or ()],
    )
