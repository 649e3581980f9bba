"""Labels, annotations and field managers that operator, activator and kubectl plugin share."""

import hashlib

RECORD = "kotatsu-targets"
"""The ConfigMap; the chart makes it, so that no right to create any is needed."""


POOL_LABEL = "kotatsu.dev/pool"
"""On an activator's slice: label and annotation. A label holds 63 characters and a pool's name may
have 253, so the label is for selecting (see `pool_label`) and the annotation names the pool."""

EPOCH_ANNOTATION = "kotatsu.dev/epoch"
FAMILIES_ANNOTATION = "kotatsu.dev/families"
"""On an activator's slice: the address families that this activator publishes the Service in."""

MANAGED_BY = "activator.kotatsu.dev"
SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"
ACTIVATOR_LABELS = {"app.kubernetes.io/name": "kotatsu", "app.kubernetes.io/component": "activator"}

OPERATOR = "kotatsu-operator"
ACTIVATOR = "kotatsu-activator"
"""The field managers under which operator and activator write."""


_LABEL_MOST = 63
"""Characters that the API server admits in the value of a label."""


def pool_label(pool: str) -> str:
    """A pool's name as the value of a label; one that is too long is cut and ends in a hash."""
    if len(pool) <= _LABEL_MOST:
        return pool
    mark = hashlib.sha256(pool.encode()).hexdigest()[:10]
    return f"{pool[: _LABEL_MOST - 11].rstrip('-.')}-{mark}"
