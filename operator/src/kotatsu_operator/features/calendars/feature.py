"""The feature: windows and closed days of pools, by the last readings of their calendars."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge

from kotatsu_operator.controller.feature import Feature, Turn
from kotatsu_operator.core.formats import table, tables, text
from kotatsu_operator.core.pool.calendars import with_calendars
from kotatsu_operator.features.calendars.reader import Calendars
from kotatsu_operator.features.calendars.windows import calendar_failures, follow
from kotatsu_operator.kube.objects import Key, Object


class Following(Feature):
    """The calendars of a folder that pools follow, by name."""

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        registry: CollectorRegistry,
        clock: Callable[[], datetime],
    ) -> None:
        self.calendars = Calendars(folder, names, clock, self._changed)
        self._uses: dict[Key, set[str]] = {}
        """The calendars in the spec of each pool."""
        self._touch: Callable[[Key], None] = lambda _: None
        calendar_metrics(registry, names, self.calendars.failing, self.calendars.checked)

    def observe(self, key: Key, pool: Object | None) -> None:
        self._uses.pop(key, None)
        if pool is None:
            return
        spec = table(pool.get("spec"))
        uses = {text(use.get("name")) for use in tables(spec.get("calendars"))}
        if uses := uses.union(spec.get("closedOn") or ()):
            self._uses[key] = uses

    def prepare(self, turn: Turn) -> Turn:
        readings = self.calendars.readings()
        memory = follow(turn.spec, turn.memory, readings, turn.now)
        failing = [] if turn.refused else calendar_failures(turn.spec, memory, readings)
        target = replace(turn.target, spec=with_calendars(turn.spec, memory))
        return replace(turn, target=target, memory=memory, further=[*turn.further, *failing])

    async def run(self, touch: Callable[[Key], None]) -> None:
        self._touch = touch
        await self.calendars.run()

    def reset(self) -> None:
        self.calendars.reset()

    def _changed(self, name: str) -> None:
        for key, uses in self._uses.items():
            if name in uses:
                self._touch(key)


def calendar_metrics(
    registry: CollectorRegistry,
    names: Sequence[str],
    failing: Callable[[str], bool],
    checked: Callable[[str], float],
) -> None:
    """Register the metrics of the calendars that the operator follows."""
    failed = Gauge(
        "kotatsu_calendar_failed",
        "1 while the calendar cannot be read; its windows stay as last read.",
        ("name",),
        registry=registry,
    )
    read = Gauge(
        "kotatsu_calendar_read_timestamp_seconds",
        "When the leader last read the calendar, in Unix time; 0 if it has not.",
        ("name",),
        registry=registry,
    )
    for name in names:
        failed.labels(name).set_function(partial(failing, name))
        read.labels(name).set_function(partial(checked, name))
