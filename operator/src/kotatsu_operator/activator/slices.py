"""The EndpointSlices of activators: when they are published, their content, and lost ones.

One slice per pool, activator pod and address family. It is emptied, and not deleted, when the
pool's own pods answer: it records which port belongs to which pool while a kube-proxy may still use
it.

A lost pod (see `kube.views.PodView.lost`) stays a ready endpoint while its object exists, because
normally only its own activator changes a slice. So the others withdraw it.
"""

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from math import inf
from typing import Any

from kotatsu_operator.activator.namespace import View
from kotatsu_operator.activator.pool import PodIdentity, Pool, family_of
from kotatsu_operator.core.pool.memory import Route
from kotatsu_operator.core.protocol import (
    ACTIVATOR_ANNOTATION,
    EPOCH_ANNOTATION,
    FAMILIES_ANNOTATION,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    POOL_LABEL,
    SERVICE_LABEL,
    SET_ANNOTATION,
    pool_label,
)
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import ConflictError, NotFoundError, Unreachable
from kotatsu_operator.kube.objects import EndpointSlice, Object
from kotatsu_operator.kube.views import PodView, SliceView, owner_of, slice_view

log = logging.getLogger(__name__)

PORT_REST = 150.0
"""Seconds that an emptied slice and its listener stay: no other pool gets the port, and a
kube-proxy that lags behind an API-server outage (up to two minutes) still reaches the activator."""


def wants_slice(
    pool: Pool, native_for: float | None, published: bool, taken_for: float | None = None
) -> bool:
    """Whether the pool's slice should have this activator as an endpoint.

    Yes if the route requires it, and whenever no pod is ready for any reason. The activator is
    removed once the route is native and a pod has been ready for the settle time (`native_for`, in
    seconds; None if no pod is ready). A pool that was never accepted is not published: its Service
    may be another pool's.

    A pool that other activators have got is not published anew. Until their endpoints have been
    ready for the settle time too (`taken_for`), this one stays.
    """
    if not published and not (pool.was_accepted and pool.mine):
        return False
    if not pool.mine and taken_for is not None and taken_for >= pool.settle:
        return False
    if pool.route is Route.ACTIVATOR or native_for is None:
        return True
    return published and native_for < pool.settle


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
    of_service = {p.get("name", ""): p for p in service["spec"].get("ports") or ()}
    published: list[Object] = []
    for name, number in sorted(ports.items()):
        published.append({"name": name, "port": number, "protocol": "TCP"})
        if app_protocol := of_service.get(name, {}).get("appProtocol"):
            published[-1]["appProtocol"] = app_protocol
    endpoint = {
        "addresses": [me.address(family)],
        "conditions": dict(CONDITIONS.get(state, {})),
        "nodeName": me.node,
        "targetRef": {"kind": "Pod", "namespace": me.namespace, "name": me.pod, "uid": me.uid},
    }
    of = service["metadata"]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": slice_name(pool.name, me, family),
            "namespace": of["namespace"],
            "labels": {
                SERVICE_LABEL: pool.service,
                MANAGED_BY_LABEL: MANAGED_BY,
                POOL_LABEL: pool_label(pool.name),
            },
            "annotations": {
                POOL_LABEL: pool.name,
                EPOCH_ANNOTATION: str(pool.epoch),
                FAMILIES_ANNOTATION: ",".join(families(service, me)),
                ACTIVATOR_ANNOTATION: f"{me.namespace}/{me.pod}/{me.uid}",
                SET_ANNOTATION: me.activators,
            },
            # With its Service it is deleted. The pod may be in another namespace, as no owner is.
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Service", "name": of["name"], "uid": of["uid"]}
            ],
        },
        "addressType": family,
        "endpoints": [] if state == "empty" else [endpoint],
        "ports": published,
    }


def taken_back(obj: Object, pod: PodView) -> Object:
    """The slice of a lost pod without a ready endpoint; its ports stay recorded."""
    conditions = dict(CONDITIONS[state_of_lost(pod)])
    endpoints = [e | {"conditions": conditions} for e in obj.get("endpoints") or ()]
    return obj | {"endpoints": endpoints}


_ANNOTATIONS = (EPOCH_ANNOTATION, FAMILIES_ANNOTATION, ACTIVATOR_ANNOTATION, SET_ANNOTATION)


def same_slice(ours: Object, there: Object) -> bool:
    return _said(ours) == _said(there)


def _said(obj: Object) -> tuple[Any, ...]:
    meta = obj["metadata"]
    return (
        (meta.get("labels") or {}).get(SERVICE_LABEL),
        [(meta.get("annotations") or {}).get(a) for a in _ANNOTATIONS],
        [owner.get("uid") for owner in meta.get("ownerReferences") or ()],
        [(p.get("name", ""), p.get("port"), p.get("appProtocol")) for p in obj.get("ports") or ()],
        [(e.get("addresses"), e.get("conditions")) for e in obj.get("endpoints") or ()],
    )


# --- their writes ---

Gone = dict[str, bool]
"""Whether an activator's pod is gone, by uid: one read serves all its slices."""


WRITTEN_AT_ONCE = 20
"""Slices of a namespace that are written at once: a new activator has thousands to write, and wakes
take the rest of the connections."""


class Slices:
    """The slices of one namespace at the API server."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube, self._namespace = kube, namespace
        self._slots = asyncio.Semaphore(WRITTEN_AT_ONCE)

    async def get(self, name: str) -> Object:
        return await self._kube.get(EndpointSlice, self._namespace, name)

    async def create(self, obj: Object) -> Object:
        async with self._slots:
            return await self._kube.create(EndpointSlice, self._namespace, obj)

    async def replace(self, obj: Object) -> Object:
        async with self._slots:
            return await self._kube.replace(EndpointSlice, self._namespace, obj)

    async def delete(self, name: str) -> None:
        async with self._slots:
            await self._kube.delete(EndpointSlice, self._namespace, name)

    async def owner(self, of: SliceView) -> PodView | None:
        """Read the activator's pod of a slice; None if it is gone."""
        return await owner_of(self._kube, of)


# --- the endpoints of lost activators ---

TAKE_AGAIN = 10.0
"""Seconds between two withdrawals of one slice: if its activator sees its pod differently, the two
must not overwrite each other in a loop."""

BELIEVED_FOR = 5.0
"""Seconds for which a pod that the API server reported as lost is not read again."""

ENDS_WITHIN = 2.0
"""Seconds for which a terminating activator may still update its slices itself."""

RETRY = 1.0


class Lost:
    """The endpoints of lost activators, including its own."""

    def __init__(self, slices: Slices, view: View, me: PodIdentity) -> None:
        self._slices, self._view, self._me = slices, view, me
        self._at: dict[tuple[str, str], float] = {}
        """In loop time: when a slice was last withdrawn (taken), by its name; by the uid of a pod,
        when the API server last reported it as lost (lost), and when it was first seen terminating
        while it serves (ending)."""

    def state(self, pool: Pool, family: str, there: Object | None) -> str:
        """The state to publish this endpoint in: serving, or that of a lost pod."""
        me = self._my_pod
        if me is None or not me.lost:
            return "serving"
        others_answer = self.others_answer(pool, family)
        serves = may_serve(me, mine_is_ready=is_ready(there), others_answer=others_answer)
        return "serving" if serves else state_of_lost(me)

    async def take_back(self, pool: Pool, family: str, mine: Object | None) -> list[float]:
        """Make the endpoints of lost activators not ready; returns delays in seconds until retries.

        `mine` is this activator's slice of the pool and family.
        """
        due: list[float] = []
        for obj in self._view.published(pool.name, family):
            pod = self._view.owner(obj)
            if pod is None or not pod.lost or pod.uid == self._me.uid or not is_ready(obj):
                continue
            native = self._native_ready(pool, family)
            if may_take_back(pod, self._my_pod, mine_is_ready=is_ready(mine), native_ready=native):
                due += await self._take_one_back(pool, obj, pod)
        return due

    def forget_old(self) -> None:
        now = asyncio.get_running_loop().time()
        self._at = {what: at for what, at in self._at.items() if at + TAKE_AGAIN >= now}

    @property
    def _my_pod(self) -> PodView | None:
        pod = self._view.activators.get(self._me.pod)
        return pod if pod is not None and pod.uid == self._me.uid else None

    def others_answer(self, pool: Pool, family: str) -> bool:
        """Whether clients would get an answer if this activator were no endpoint."""
        if self._native_ready(pool, family) > 0:
            return True
        published = self._view.published(pool.name, family)
        return any(self._answers(obj) for obj in published if is_ready(obj))

    def _answers(self, obj: Object) -> bool:
        """Whether a ready endpoint is another activator's. Another set withdraws its own."""
        if slice_view(obj).set != self._me.activators:
            return True
        pod = self._view.owner(obj)
        return pod is not None and not pod.lost and pod.uid != self._me.uid

    def _native_ready(self, pool: Pool, family: str) -> int:
        """Ready endpoints of the pool's own pods; 0 with route Activator, which selects none."""
        return 0 if pool.only_way else self._view.native_ready(pool.service, family)

    async def _take_one_back(self, pool: Pool, obj: Object, pod: PodView) -> list[float]:
        name, now = obj["metadata"]["name"], asyncio.get_running_loop().time()
        wait = self._at.get(("taken", name), -inf) + TAKE_AGAIN - now
        if state_of_lost(pod) == "leaving":
            wait = max(wait, self._at.setdefault(("ending", pod.uid), now) + ENDS_WITHIN - now)
        if wait > 0:
            return [wait]
        try:
            if not await self._is_lost(obj, pod.uid, now):
                return [RETRY]  # the watch of pods has not shown it yet
            await self._slices.replace(taken_back(obj, pod))
        except (ConflictError, NotFoundError):
            return [RETRY]  # its activator or another one was faster
        except (*Unreachable, OSError) as error:
            log.warning("%s: cannot withdraw a lost activator's endpoint: %s", pool.name, error)
            return [RETRY]
        log.warning("%s: activator %s is lost; its endpoint is withdrawn", pool.name, pod.key[1])
        self._at["taken", name] = now
        return []

    async def _is_lost(self, obj: Object, uid: str, now: float) -> bool:
        """Whether the API server reports a pod as lost; one read serves all pools."""
        if self._at.get(("lost", uid), -inf) + BELIEVED_FOR < now:
            pod = await self._slices.owner(slice_view(obj))
            if pod is None or not pod.lost:
                return False
            self._at["lost", uid] = now
        return True
