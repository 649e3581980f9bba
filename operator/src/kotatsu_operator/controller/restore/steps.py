"""Restores the target of a deleted pool."""

import asyncio
import logging
from functools import partial

from kotatsu_operator.controller.targets.kinds import restores
from kotatsu_operator.controller.targets.target import Restore
from kotatsu_operator.core.report.record import Entry
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import ConflictError, NotFoundError, Unreachable
from kotatsu_operator.kube.retry import retry_on_conflict

log = logging.getLogger(__name__)

_TRIES = 10
_PAUSE = 2.0


async def restore(kube: Kube, namespace: str, entry: Entry) -> bool:
    """Restore a deleted pool's target with retries; return False if it must be tried again later.

    This is idempotent: replicas are only raised from exactly 0, and each write names the version
    that was read.
    """
    given = restores(entry).items()
    return all([await _patiently(kube, namespace, entry, *one) for one in given])


async def _patiently(kube: Kube, namespace: str, entry: Entry, name: str, restore: Restore) -> bool:
    where = (namespace, entry.pool)
    for _ in range(_TRIES):
        try:
            came = await retry_on_conflict(partial(restore.step, kube, namespace, entry))
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
    by_hand = restore.by_hand.format(owed, **(owed if isinstance(owed, dict) else {}))
    log.error("%s/%s was deleted, but its target is not restored: %s", *where, by_hand)
    return False
