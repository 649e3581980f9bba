"""Labels, annotations and field managers that operator, activator and kubectl plugin share."""

import hashlib
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

API_VERSION = "kotatsu.dev/v1beta1"
"""That of WarmPools and their histories."""

RECORD = "kotatsu-targets"
"""The prefix of the ConfigMaps of the restore record. The operator creates them by an apply, which
RBAC can restrict to their names."""

LEASE_NAME = "kotatsu-operator"
"""The Lease of the operators, in the namespace of their release."""

UNINSTALL = "uninstall"
"""The holder of that Lease while the Job of `helm uninstall` restores targets."""

POOL_LABEL = "kotatsu.dev/pool"
"""Label and annotation of an activator's EndpointSlice. A label value holds 63 characters and a
pool's name up to 253: the label is for selecting (see `pool_label`), the annotation has the full
name."""

EPOCH_ANNOTATION = "kotatsu.dev/epoch"
FAMILIES_ANNOTATION = "kotatsu.dev/families"
"""Annotation of an activator's EndpointSlice: the address families that this activator publishes
for the Service."""

REHEARSAL_ANNOTATION = "kotatsu.dev/rehearsal"
"""Annotation of a WarmPool with the verdict of its last rehearsal; `kubectl demo-mode rehearse`
writes it, and the operator reports it."""

BY_ANNOTATION, REASON_ANNOTATION = "kotatsu.dev/override-by", "kotatsu.dev/override-reason"
"""Annotations of a WarmPool: who set its override, and why. `kubectl demo-mode` writes them."""

IMPORTED_ANNOTATION = "kotatsu.dev/imported"
"""Annotation of a WarmPool: the calendar and the UID of the event of each imported window, as JSON
by the name of the window. `kubectl demo-mode window import` writes it."""

REHEARSAL_REASON = "rehearsal"
"""The reason of a rehearsal's overrides."""

ROUTE_LABEL, ROUTE_TAKEN = "kotatsu.dev/route", "Activator"
"""A term that route Activator adds to the selector of a Service. No pod has the label, so
Kubernetes removes the pods from the Service's endpoints itself, and adds them when the term is
gone."""

MANAGED_BY = "activator.kotatsu.dev"
SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
NATIVE = "endpointslice-controller.k8s.io"
"""Kubernetes' own manager of EndpointSlices."""
NAME_LABEL, PROGRAM = "app.kubernetes.io/name", "kotatsu"
"""The label on the pods of operator and activators, whatever the chart calls their Deployments."""

ACTIVATOR_LABELS = {NAME_LABEL: PROGRAM, "app.kubernetes.io/component": "activator"}

ACTIVATOR_SELECTOR = ",".join(f"{label}={value}" for label, value in ACTIVATOR_LABELS.items())
"""The same as the query of a list has it."""

INSTALL_LABEL = "kotatsu.dev/install"
"""Label of a Namespace: the install that serves it, by the namespace of its release."""

SHARD_LABEL = "kotatsu.dev/shard"
"""Label of activators that namespaces share: the number of their shard."""

HOME_LABEL = "kotatsu.dev/home"
"""Label of activators that serve their own namespace alone: the namespace of their release."""

ACTIVATOR_ANNOTATION = "kotatsu.dev/activator"
"""Annotation of an activator's EndpointSlice: NAMESPACE/POD/UID of the activator."""

SET_ANNOTATION = "kotatsu.dev/activators"
"""Annotation of such a slice: the set of its activator (see `shared_set` and `own_set`)."""

SHARED_ANNOTATION = "kotatsu.dev/allow-shared-activator"
"""Annotation of a Namespace. With `true` its owner accepts that requests to sleeping pools come
from shared activators, which its policies on ingress cannot tell from others."""

SETS_ANNOTATION = "kotatsu.dev/sets"
"""Annotation of a workload or a Namespace. With `off`, no WarmPoolSet makes a pool for it, unless
the set says otherwise."""

SET_KIND = "WarmPoolSet"

SET_LABEL = "kotatsu.dev/set"
"""Label of a WarmPool: the WarmPoolSet that made it."""

SET_HASH = "kotatsu.dev/set-hash"
"""Annotation of such a WarmPool: a hash of what the set asked for."""

CAPACITY_LABEL = "kotatsu.dev/capacity-for"
"""Label of the objects that ask for capacity ahead of a window: the pool (see `pool_label`). No
Service and no target selects it."""

COST, MARK = "controller.kubernetes.io/pod-deletion-cost", "-2147483648"
"""Annotation of a pod, and its lowest value: of equal pods, a ReplicaSet ends those with it first.
Activators give new connections to other pods."""

OPERATOR = "kotatsu-operator"
ACTIVATOR = "kotatsu-activator"
"""The field managers of the operator's and the activator's writes."""

HELD = "kotatsu_activator_held"
ACTIVE = "kotatsu_activator_active"
LAST_ACTIVITY = "kotatsu_activator_last_activity_timestamp_seconds"
TIMED_OUT = "kotatsu_activator_timed_out_total"
LAST_WAKE = "kotatsu_activator_last_wake_timestamp_seconds"
LAST_WAKE_TOOK = "kotatsu_activator_last_wake_duration_seconds"
MARKED = "kotatsu_activator_marked_pod_connections"
LOOKED_AT = (HELD, ACTIVE, LAST_ACTIVITY, TIMED_OUT, LAST_WAKE, LAST_WAKE_TOOK, MARKED)
"""The metrics of an activator that the operator reads: their page is as of the request."""
LOOKS = "/looks"
"""The page of an activator to which the operator posts when it looks at pools (step 4)."""

RECORD_PARTS = 16
"""ConfigMaps of the record."""


def record_part(namespace: str) -> str:
    """The ConfigMap with the record of a namespace."""
    return f"{RECORD}-{zlib.crc32(namespace.encode()) % RECORD_PARTS:x}"


def shared_set(home: str, shard: int) -> str:
    """The name of the set of activators of a shard, which namespaces share.

    `home` is the namespace of the release.
    """
    return f"{home}/{shard}"


def own_set(home: str, namespace: str) -> str:
    """The name of the set of activators that serve their own namespace alone."""
    return f"{home}/own/{namespace}"


def set_of_pod(namespace: str, labels: Mapping[str, str]) -> str:
    """The set of an activator's pod; empty without a label that says it.

    Whoever creates pods in a namespace may write any label. So a set has the pod's own namespace in
    its name.
    """
    if (shard := labels.get(SHARD_LABEL)) is not None:
        return f"{namespace}/{shard}"
    home = labels.get(HOME_LABEL)
    return "" if home is None else own_set(home, namespace)


def home_of(activators: str) -> str:
    """The namespace of the release that a set of activators is of."""
    return activators.partition("/")[0]


@lru_cache(maxsize=10_000)
def shard_of(namespace: str, shards: int) -> int:
    """The shard of a namespace's pools, from 0.

    Rendezvous hashing: another number of shards moves as few namespaces as possible.
    """
    return max(range(shards), key=lambda n: hashlib.sha256(f"{n}/{namespace}".encode()).digest())


_LABEL_MOST = 63
"""The API server's limit on the characters of a label value."""


def pool_label(pool: str) -> str:
    """A pool's name as a label value; a longer name is cut and gets a hash as its suffix."""
    if len(pool) <= _LABEL_MOST:
        return pool
    mark = hashlib.sha256(pool.encode()).hexdigest()[:10]
    return f"{pool[: _LABEL_MOST - 11].rstrip('-.')}-{mark}"


def pool_of_slice(obj: Mapping[str, Any]) -> str:
    """The pool that an activator published a slice for; empty if the slice names none."""
    meta = obj["metadata"]
    annotations, labels = meta.get("annotations") or {}, meta.get("labels") or {}
    return str(annotations.get(POOL_LABEL) or labels.get(POOL_LABEL, ""))


def publisher_of_slice(raw: Mapping[str, Any]) -> tuple[str, str, str]:
    """Namespace, name and uid of the pod that published a slice.

    If the slice names none, its own namespace, and empty.
    """
    meta = raw["metadata"]
    named = str((meta.get("annotations") or {}).get(ACTIVATOR_ANNOTATION, "")).split("/")
    if len(named) == len(("namespace", "name", "uid")):
        return named[0], named[1], named[2]
    return meta.get("namespace", ""), "", ""
