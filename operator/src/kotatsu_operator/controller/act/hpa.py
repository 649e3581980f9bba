"""Writes a HorizontalPodAutoscaler's minReplicas, in an order that is safe after a crash.

The original minReplicas is written to the status before minReplicas is changed. After a crash, the
next operator finds it there.
"""

import logging

from kotatsu_operator.controller.cache.store import Cache
from kotatsu_operator.core.pool.decision import Decision, Observation
from kotatsu_operator.core.pool.memory import Original
from kotatsu_operator.core.report.status import original_status, read_original
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.objects import HorizontalPodAutoscaler, Object, key_of
from kotatsu_operator.kube.workload import read_autoscaler

log = logging.getLogger(__name__)


async def set_minimum(
    kube: Kube, cache: Cache, pool: Object, seen: Observation, decision: Decision
) -> Object:
    """Set minReplicas as decided; return the pool at its newest version.

    The caller runs this before it raises the scale and after it was lowered to 0. Raises
    ConflictError, NotFoundError.
    """
    key, known = key_of(pool), read_original(pool.get("status") or {})
    autoscaler, original = seen.autoscaler, decision.memory.original
    if known is not None and (autoscaler is None or autoscaler.name != known.name):
        await let_go(kube, cache, pool)
    if autoscaler is None or decision.minimum in (None, autoscaler.min_replicas):
        return pool
    if known != original:
        pool = await kube.patch_status(
            *key, {"hpa": original_status(original)}, pool["metadata"]["resourceVersion"]
        )
        cache.keep_pool(pool)
    await kube.put_minimum(key[0], autoscaler.name, decision.minimum, autoscaler.version)
    log.info(
        "%s/%s: minReplicas of HorizontalPodAutoscaler %s %d → %d",
        *(*key, autoscaler.name, autoscaler.min_replicas, decision.minimum),
    )
    return pool


async def let_go(kube: Kube, cache: Cache, pool: Object) -> None:
    """Restore an autoscaler that the status names and that does not scale the target any more.

    Raises ConflictError, NotFoundError.
    """
    namespace, known = key_of(pool)[0], read_original(pool.get("status") or {})
    left = None if known is None else cache.autoscalers.get((namespace, known.name))
    if known is not None and left is not None:
        await _restore(kube, namespace, left, known)


async def give_back(kube: Kube, namespace: str, known: Original) -> str:
    """Restore the minReplicas of a deleted pool's autoscaler; return what was done, for people.

    Raises ConflictError, NotFoundError.
    """
    found = await kube.get(HorizontalPodAutoscaler, namespace, known.name)
    if not await _restore(kube, namespace, found, known):
        return ""
    return f"HorizontalPodAutoscaler {known.name} has minReplicas {known.min_replicas} again"


async def _restore(kube: Kube, namespace: str, autoscaler: Object, known: Original) -> bool:
    """Restore minReplicas if the operator has changed it; return whether it had."""
    now = read_autoscaler(autoscaler)
    if not now.ours or now.min_replicas == known.min_replicas:
        return False
    await kube.put_minimum(namespace, known.name, known.min_replicas, now.version)
    return True
