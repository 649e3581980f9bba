"""Reports on pools: their statuses and Kubernetes Events."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from kotatsu_operator.controller.cache.store import Cache
from kotatsu_operator.core.formats import conditions_of, stamp
from kotatsu_operator.core.pool.decision import Note
from kotatsu_operator.core.report.conditions import date_conditions
from kotatsu_operator.core.report.status import Status, worth_writing
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import ConflictError, NotFoundError, Unreachable
from kotatsu_operator.kube.objects import Event, Key, Object, key_of

log = logging.getLogger(__name__)

WRITE_QUIET = timedelta(seconds=60)
"""How often values that change all the time (cost, last activity) are written to the status."""


@dataclass
class Reporter:
    """Writes the status of each pool when it has changed, and posts events."""

    kube: Kube
    cache: Cache
    clock: Callable[[], datetime]
    name: str
    """The operator's name: the pod."""
    _written: dict[Key, datetime] = field(default_factory=dict)

    def forget(self, key: Key) -> None:
        self._written.pop(key, None)

    def reset(self) -> None:
        """Remove all state, which gets outdated while another operator leads."""
        self._written.clear()

    async def write(
        self,
        pool: Object,
        before: Object,
        status: Status,
        conditions: list[Status],
        now: datetime,
    ) -> Object:
        """Write the status if it has changed, at the version that the decision used.

        `before` is the pool that the decision used, and `pool` its newest version: it may have been
        written since.
        """
        key, generation = key_of(pool), pool["metadata"]["generation"]
        known = before.get("status") or {}
        status["observedGeneration"] = generation
        status["conditions"] = date_conditions(conditions, conditions_of(known), generation, now)
        written = self._written.get(key)
        # abs(): after the clock is set back, these writes would stop until it catches up.
        quiet_too = written is None or abs(now - written) >= WRITE_QUIET
        if worth_writing(status, pool.get("status") or {}, quiet_too=quiet_too):
            version = pool["metadata"]["resourceVersion"]
            pool = await self.kube.patch_status(*key, status, version)
            self._written[key] = now
            self.cache.keep_pool(pool)
        return pool

    async def post(self, pool: Object, notes: Sequence[Note]) -> None:
        """Post events, which `kubectl describe` shows; a failure never stops a decision."""
        for note in notes:
            log.info("%s/%s: %s: %s", *key_of(pool), note.reason, note.message)
            event = _event(pool, note, self.clock(), self.name)
            try:
                await self.kube.create(Event, event["metadata"]["namespace"], event)
            except (ConflictError, NotFoundError, *Unreachable) as error:
                log.warning("cannot post the event %s: %s", note.reason, error)


def _event(pool: Object, note: Note, now: datetime, reporter: str) -> Object:
    meta = pool["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{meta['name']}-", "namespace": meta["namespace"]},
        "involvedObject": {
            "apiVersion": "kotatsu.dev/v1beta1",
            "kind": "WarmPool",
            "name": meta["name"],
            "namespace": meta["namespace"],
            "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"],
        },
        "type": "Warning" if note.warning else "Normal",
        "reason": note.reason,
        "message": note.message,
        "eventTime": stamp(now.replace(microsecond=now.microsecond or 1)),
        "firstTimestamp": stamp(now.replace(microsecond=0)),
        "lastTimestamp": stamp(now.replace(microsecond=0)),
        "count": 1,
        "action": note.reason,
        "reportingComponent": "kotatsu.dev/operator",
        "reportingInstance": reporter,
    }
