"""Reports on pools: their statuses and Kubernetes Events."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from kotatsu_operator.controller.cache.store import Cache
from kotatsu_operator.core.formats import conditions_of, stamp
from kotatsu_operator.core.pool.decision import Note
from kotatsu_operator.core.report.conditions import date_conditions
from kotatsu_operator.core.report.status import Status, dropped, merged, worth_writing
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
    _dropped: dict[Key, tuple[str, Status]] = field(default_factory=dict)
    """What the API server drops of each status, with the pool's uid."""
    _is_told: bool = False
    """Whether the log says that it does."""

    def forget(self, key: Key) -> None:
        self._written.pop(key, None)
        self._dropped.pop(key, None)

    def reset(self) -> None:
        """Remove all state, which gets outdated while another operator leads."""
        self._written.clear()
        self._dropped.clear()

    def completed(self, pool: Object) -> Object:
        """A pool as this operator has written it, with what the API server has dropped."""
        uid, fields = self._dropped.get(key_of(pool), ("", {}))
        if uid != pool["metadata"]["uid"]:
            return pool
        return {**pool, "status": merged(pool.get("status") or {}, fields)}

    def _compare(self, written: Status, pool: Object) -> None:
        """Remember what the API server has dropped of a status; say so once."""
        key, uid = key_of(pool), pool["metadata"]["uid"]
        known, fields = self._dropped.pop(key, ("", {}))
        before = fields if known == uid else {}
        lost = dropped(merged(before, written), pool.get("status") or {})
        if not lost:
            return
        self._dropped[key] = uid, lost
        if not self._is_told:
            self._is_told = True
            log.warning(
                "the CRD of WarmPools is older than this operator: the API server drops fields of "
                "each status (such as %s). After a restart of the operator, events and "
                "notifications are repeated, and reports lack data: upgrade the CRD "
                "(docs/operations.md)",
                ", ".join(sorted(lost)),
            )

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
        stored = self.completed(pool).get("status") or {}
        if worth_writing(status, stored, quiet_too=quiet_too):
            version = pool["metadata"]["resourceVersion"]
            pool = await self.kube.patch_status(*key, status, version)
            self._written[key] = now
            self.cache.keep_pool(pool)
            self._compare(status, pool)
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
