"""Writes a HorizontalPodAutoscaler's minReplicas, in an order that is safe after a crash.

The original minReplicas is written to the status before minReplicas is changed. After a crash, the
next operator finds it there.
"""

import logging

from kotatsu_operator.controller.cache.store import Cache
from kotatsu_operator.core.pool.decision import Decision
from kotatsu_operator.core.pool.memory import Original
from kotatsu_operator.core.pool.observation import Observation
from kotatsu_operator.core.report.status_reader import read_original
from kotatsu_operator.core.report.status_writer import original_status
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.hpa import read_autoscaler
from kotatsu_operator.kube.objects import Key, key_of
from kotatsu_operator.kube.resources import HorizontalPodAutoscaler, Object

log = logging.getLogger(__name__)


async def set_minimum(
    kube: Kube, cache: Cache, pool: Object, seen: Observation, decision: Decision
) -> Object:
    """Set minReplicas as decided; return the pool at its newest version.

    The caller runs this before it raises the scale and after it was lowered to 0. Raises
    ConflictError, NotFoundError.
    """
    key, known = key_of(pool), read_original(pool.get("status") or {})
    if known is not None and (seen.autoscaler is None or seen.autoscaler.name != known.name):
        await _let_go(kube, cache, key, known)
    autoscaler, original = seen.autoscaler, decision.memory.original
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


async def _let_go(kube: Kube, cache: Cache, key: Key, known: Original) -> None:
    """Restore an autoscaler that does not scale the target any more."""
    left = cache.autoscalers.get((key[0], known.name))
    if left is not None and _is_raised(left, known):
        await kube.put_minimum(
            key[0], known.name, known.min_replicas, read_autoscaler(left).version
        )


def _is_raised(autoscaler: Object, known: Original) -> bool:
    now = read_autoscaler(autoscaler)
    return now.ours and now.min_replicas != known.min_replicas


async def give_back(kube: Kube, namespace: str, known: Original) -> str:
    """Restore the minReplicas of a deleted pool's autoscaler; return what was done, for people.

    Raises ConflictError, NotFoundError.
    """
    found = await kube.get(HorizontalPodAutoscaler, namespace, known.name)
    if not _is_raised(found, known):
        return ""
    version = read_autoscaler(found).version
    await kube.put_minimum(namespace, known.name, known.min_replicas, version)
    return f"HorizontalPodAutoscaler {known.name} has minReplicas {known.min_replicas} again"
