"""Giving a sleeping target back what it had before its pool came; one function a kind of target."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from .core.records import Entry
from .kube import ConflictError, Kube, NotFoundError, Unreachable

log = logging.getLogger(__name__)

_TRIES = 10
_PAUSE = 2.0

Restorer = Callable[[Kube, str, Entry], Awaitable[str]]
"""Gives one target back; returns what came of it, for people to read.

Called again after ConflictError. Raises NotFoundError when the target is gone too.
"""


async def restore_deployment(kube: Kube, namespace: str, entry: Entry) -> str:
    """Give a Deployment at 0 its replicas; one that runs is left to whoever runs it."""
    scale = await kube.get_scale(namespace, entry.target)
    if scale.replicas > 0:
        return f"Deployment {entry.target} runs ({scale.replicas} replicas) and stays as it is"
    await kube.put_scale(namespace, entry.target, entry.replicas, scale.version)
    return f"Deployment {entry.target} has {entry.replicas} replicas again"


RESTORERS: Mapping[str, Restorer] = {"Deployment": restore_deployment}


async def restore(kube: Kube, namespace: str, entry: Entry) -> bool:
    """Give a gone pool's target back, with patience; False when that has to be tried again later.

    Only ever raises from exactly 0, at the version read: doing it twice is doing it once.
    """
    where = (namespace, entry.pool)
    restorer = RESTORERS.get(entry.kind)
    if restorer is None:
        log.warning("%s/%s: nothing is known about targets of kind %s", *where, entry.kind)
        return True
    for _ in range(_TRIES):
        try:
            log.info("%s/%s is gone: %s", *where, await restorer(kube, namespace, entry))
        except ConflictError:
            continue  # whoever else writes to the target need not have scaled it
        except NotFoundError as error:
            log.info("%s/%s is gone, and so is its target: %s", *where, error)
        except Unreachable as error:
            log.warning("%s/%s is gone; its target has to wait: %s", *where, error)
            await asyncio.sleep(_PAUSE)
            continue
        return True
    log.error("%s/%s is gone, but its target could not be given back its replicas", *where)
    return False
