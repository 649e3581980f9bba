"""Restores the target of a deleted pool; one step for each field that is owed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from kotatsu_operator.controller.act.hpa import give_back as give_back_minimum
from kotatsu_operator.controller.act.min_scale import MinScales
from kotatsu_operator.core.pool.spec import OnDelete
from kotatsu_operator.core.report.record import Entry
from kotatsu_operator.core.report.status_reader import read_original
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import ConflictError, NotFoundError, Unreachable
from kotatsu_operator.kube.knative import KnativeCache, read_kept
from kotatsu_operator.kube.retry import retry_on_conflict

log = logging.getLogger(__name__)

_TRIES = 10
_PAUSE = 2.0

Step = Callable[[Kube, str, Entry], Awaitable[str]]
"""Restores one field; returns what was done, for people to read.

The caller repeats it after ConflictError. Raises NotFoundError if the object is deleted too.
"""


async def restore_replicas(kube: Kube, namespace: str, entry: Entry) -> str:
    """Restore a Deployment's replicas if it is at 0; a running Deployment stays as it is."""
    if entry.kind != "Deployment":
        return ""
    scale = await kube.get_scale(namespace, entry.target)
    if scale.replicas > 0:
        return f"Deployment {entry.target} runs ({scale.replicas} replicas) and stays as it is"
    replicas = int(entry.owed["restoreReplicas"])
    if replicas == 0:
        return f"Deployment {entry.target} stays at 0 replicas, as the pool found it"
    await kube.put_scale(namespace, entry.target, replicas, scale.version)
    return f"Deployment {entry.target} has {replicas} replicas again"


async def restore_minimum(kube: Kube, namespace: str, entry: Entry) -> str:
    """Restore a HorizontalPodAutoscaler's minReplicas."""
    known = read_original(entry.owed)
    return "" if known is None else await give_back_minimum(kube, namespace, known)


async def restore_revisions(kube: Kube, namespace: str, entry: Entry) -> str:
    """Restore min-scale of a Knative Service's Revisions."""
    kept = read_kept(entry.owed)
    left = await MinScales(kube, KnativeCache(), namespace).give_back(kept)
    came = f"min-scale of {', '.join(k.name for k in kept)} is as it was"
    return came + (f"; that of {', '.join(left)} was changed by others and stays" if left else "")


STEPS: Mapping[str, Step] = {
    # minReplicas first: the autoscaler then lowers the replicas itself as far as it may.
    "hpa": restore_minimum,
    "restoreReplicas": restore_replicas,
    "knative": restore_revisions,
}
"""By the field of the status that has what is owed."""

BY_HAND = {
    "hpa": "set its autoscaler's minReplicas to {minReplicas}",
    "restoreReplicas": "scale its target to {}",
    "knative": "correct the annotation autoscaling.knative.dev/min-scale: {revisions}",
}


def steps(entry: Entry) -> dict[str, Step]:
    """The steps for an entry. With onDelete Keep the pods stay; only minReplicas is restored."""
    kept = ("hpa",) if entry.on_delete is OnDelete.KEEP else tuple(STEPS)
    return {name: step for name, step in STEPS.items() if name in entry.owed and name in kept}


async def restore(kube: Kube, namespace: str, entry: Entry) -> bool:
    """Restore a deleted pool's target with retries; return False if it must be tried again later.

    This is idempotent: replicas are only raised from exactly 0, and each write names the version
    that was read.
    """
    done = [await _patiently(kube, namespace, entry, name) for name in steps(entry)]
    return all(done)


async def _patiently(kube: Kube, namespace: str, entry: Entry, name: str) -> bool:
    where = (namespace, entry.pool)
    for _ in range(_TRIES):
        try:
            came = await retry_on_conflict(partial(STEPS[name], kube, namespace, entry))
        except ConflictError as error:
            log.warning("%s/%s was deleted; its target changes all the time: %s", *where, error)
            break
        except NotFoundError as error:
            came = f"its target is deleted too: {error}"
        except Unreachable as error:
            log.warning("%s/%s was deleted; its target is restored later: %s", *where, error)
            await asyncio.sleep(_PAUSE)
            continue
        if came:
            log.info("%s/%s was deleted: %s", *where, came)
        return True
    owed = entry.owed[name]
    by_hand = BY_HAND[name].format(owed, **(owed if isinstance(owed, dict) else {}))
    log.error("%s/%s was deleted, but its target is not restored: %s", *where, by_hand)
    return False
