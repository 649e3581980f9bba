"""Kubernetes Events about pools; `kubectl describe` shows them."""

import logging
from datetime import datetime

from kotatsu_operator.core.formats import stamp
from kotatsu_operator.core.pool.decision import Note
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.errors import ConflictError, NotFoundError, Unreachable
from kotatsu_operator.kube.objects import Event, Object

log = logging.getLogger(__name__)


class Events:
    """Posts events; a failure is logged and never stops a decision."""

    def __init__(self, kube: Kube, reporter: str) -> None:
        self._kube = kube
        self._reporter = reporter

    async def post(self, pool: Object, note: Note, now: datetime) -> None:
        meta = pool["metadata"]
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{meta['name']}-", "namespace": meta["namespace"]},
            "involvedObject": {
                "apiVersion": "kotatsu.dev/v1alpha1",
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
            "reportingInstance": self._reporter,
        }
        try:
            await self._kube.create(Event, meta["namespace"], event)
        except (ConflictError, NotFoundError, *Unreachable) as error:
            log.warning("cannot post the event %s: %s", note.reason, error)
