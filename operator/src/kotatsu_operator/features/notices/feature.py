"""Notices: what people are told about a pool, as events and outside of the cluster."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from kotatsu_operator.controller.feature import Feature, Report, Turn
from kotatsu_operator.controller.target import Tools
from kotatsu_operator.core.formats import internal
from kotatsu_operator.core.report.status import Status
from kotatsu_operator.core.schema import joined
from kotatsu_operator.features.notices.notices import (
    OVERRIDE_WARNING,
    news,
    notices_status,
    outbox,
    read_notices,
    ready_notes,
)
from kotatsu_operator.features.notices.notifier import Notifier
from kotatsu_operator.kube.objects import Key


class Notices(Feature):
    """Adds events that no decision makes, and sends notices that the status has.

    In the list of features it comes after those that add events.
    """

    def __init__(self, notifier: Notifier, override_warning: timedelta = OVERRIDE_WARNING) -> None:
        """`override_warning` is how long before its end an override is announced."""
        self.notifier, self._warning = notifier, override_warning

    def status(self, turn: Turn, report: Report) -> Report:
        """Add what is reported now, only once, and the notices that wait."""
        memory, now = report.decision.memory, turn.now
        found = news(turn.pool, turn.spec, report.seen, memory, now, self._warning)
        notes = (*report.notes, *found.notes)
        added: Status = {"reported": found.reported, "notices": None}
        if internal(report.status).get("override") is not None:
            added["override"] = {"reported": found.override}
        if self.notifier.is_on:
            done, uid = self.notifier.delivered(turn.key), turn.pool["metadata"]["uid"]
            new = (*notes, *ready_notes(report.decision))
            added["notices"] = notices_status(outbox(turn.status, new, done, uid, now))
        return replace(report, status=joined(report.status, {"internal": added}), notes=notes)

    async def after(self, _tools: Tools, turn: Turn, report: Report) -> None:
        """Queue the notices, now that the status has them."""
        self.notifier.tell(turn.key, read_notices(report.status))

    async def run(self, touch: Callable[[Key], None]) -> None:
        """Send notices while this operator leads."""
        await self.notifier.run(touch)

    def forget(self, key: Key) -> None:
        self.notifier.forget(key)
