"""The feature: windows and closed days of pools, by the last readings of their calendars.

Mounted files and URLs are read again and again, apart from all decisions.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from prometheus_client import CollectorRegistry, Gauge

from kotatsu_operator.controller.feature import Feature, Setup, Turn
from kotatsu_operator.core.calendar.occasions import MOST_BYTES, CalendarError
from kotatsu_operator.core.formats import table, tables, text
from kotatsu_operator.core.pool.calendars import with_calendars
from kotatsu_operator.features.calendars import child
from kotatsu_operator.features.calendars.fetch import Fetched, FetchError, fetch
from kotatsu_operator.features.calendars.windows import AHEAD, BACK, Reading, calendars_read, follow
from kotatsu_operator.kube.objects import Key, Object

log = logging.getLogger(__name__)

FILE, URL = "calendar.ics", "url"
"""The names of the mounted files: a calendar, or the URL of one."""

EVERY = 10.0
"""Seconds between two looks at the mounted files. Kubernetes updates them within about a minute."""
FETCH_EVERY = timedelta(minutes=10)
_FIRST_RETRY, _LAST_RETRY = timedelta(minutes=1), timedelta(hours=1)
_REJECTED = timedelta(hours=1)
_LONGEST_URL = 4096


@dataclass
class _Followed:
    """One calendar between two looks."""

    reading: Reading = field(default_factory=Reading)
    data: bytes | None = None
    """The bytes that were parsed last."""
    problem: str = ""
    """Why they could not be read; empty if they could."""
    parsed_at: datetime | None = None
    skipped: str = ""
    """What the log says about events that are left out."""
    address: str = ""
    fetched: Fetched | None = None
    again: datetime | None = None
    """When to fetch again."""
    failures: int = 0

    def has_read(self, data: bytes, now: datetime) -> bool:
        """Whether these bytes need not be parsed again.

        They are parsed each day, because the range moves. If they were rejected, after an hour: the
        node may have been busy, or out of memory.
        """
        if self.parsed_at is None or data != self.data:
            return False
        if self.problem:
            return now < self.parsed_at + _REJECTED
        return now.date() == self.parsed_at.date()


class Calendars(Feature):
    """The calendars of a folder that pools follow: one folder for each, by name."""

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        registry: CollectorRegistry,
        clock: Callable[[], datetime],
    ) -> None:
        self._folder, self._clock = folder, clock
        self._followed = {name: _Followed() for name in names}
        self._uses: dict[Key, set[str]] = {}
        """The calendars in the spec of each pool."""
        self._touch: Callable[[Key], None] = lambda _: None
        self._parsing = asyncio.Lock()
        """One calendar is parsed at a time: together they could take much memory."""
        self._failed, self._read_at = calendar_metrics(registry)
        self.reset()

    # --- the hooks ---

    @classmethod
    def of(cls, setup: Setup) -> Self:
        settings = setup.settings
        return cls(settings.calendar_folder, settings.calendars, setup.registry, setup.clock)

    def observe(self, key: Key, pool: Object | None) -> None:
        self._uses.pop(key, None)
        if pool is None:
            return
        spec = table(pool.get("spec"))
        if uses := {text(use.get("name")) for use in tables(spec.get("calendars"))}:
            self._uses[key] = uses

    def prepare(self, turn: Turn) -> Turn:
        readings = self.readings()
        memory = follow(turn.spec, turn.memory, readings, turn.now)
        before = turn.conditions.get("CalendarsRead")
        said = [] if turn.refused else calendars_read(turn.spec, memory, readings, before)
        target = replace(turn.target, spec=with_calendars(turn.spec, memory))
        return replace(turn, target=target, memory=memory, further=[*turn.further, *said])

    async def run(self, touch: Callable[[Key], None]) -> None:
        """Read until cancelled. A calendar that is slow or cannot be read delays no other."""
        self._touch = touch
        async with asyncio.TaskGroup() as group:
            for name in self._followed:
                group.create_task(self._follow(name))

    def reset(self) -> None:
        """Forget all readings, which are outdated while another operator leads."""
        for name in self._followed:
            self._followed[name] = _Followed()
            self._failed.labels(name).set(0)
            self._read_at.labels(name).set(0)

    # --- reading ---

    def readings(self) -> dict[str, Reading]:
        """The last reading of each calendar."""
        return {name: followed.reading for name, followed in self._followed.items()}

    async def _follow(self, name: str) -> None:
        while True:
            await self.look(name)
            await asyncio.sleep(EVERY)

    async def look(self, name: str) -> None:
        """Read one calendar again if it is due."""
        followed, now = self._followed[name], self._clock()
        try:
            fresh = await self._data(name, followed, now)
        except FetchError as error:
            self._fail(name, str(error))
            return
        except Exception as error:
            # Without the error's text, which may have the URL.
            log.error("calendar %s: an unexpected %s", name, type(error).__name__)
            self._fail(name, "cannot be fetched; the operator's log has the error")
            return
        data = followed.data if fresh is None else fresh
        if data is None or (fresh is None and followed.reading.error):
            return
        if not followed.has_read(data, now):
            await self._parse(name, followed, data, now)
        elif followed.problem:
            self._fail(name, followed.problem)
        elif followed.reading.error:
            self._show(name, replace(followed.reading, error="", read_at=now))
        if fresh is not None and not followed.problem:
            self._read_at.labels(name).set(now.timestamp())

    async def _data(self, name: str, followed: _Followed, now: datetime) -> bytes | None:
        """The bytes of a calendar; None if it is not time to fetch it. Raises FetchError."""
        path, secret = self._folder / name / FILE, self._folder / name / URL
        read = await asyncio.to_thread(_read, path, MOST_BYTES + 1)
        if read is not None:
            return read
        address = await asyncio.to_thread(_read, secret, _LONGEST_URL)
        if address is None:
            raise FetchError(
                "is not mounted: its ConfigMap or Secret, or the key in it, does not exist in the "
                "operator's namespace"
            )
        url = address.decode(errors="replace").strip()
        if url != followed.address:
            followed.address, followed.fetched, followed.again = url, None, None
        if followed.again is not None and now < followed.again:
            return None
        try:
            followed.fetched = await fetch(url, followed.fetched)
        except Exception:
            pause = min(_FIRST_RETRY * 2 ** min(followed.failures, 10), _LAST_RETRY)
            followed.failures += 1
            followed.again = now + pause
            raise
        followed.failures, followed.again = 0, now + FETCH_EVERY
        return followed.fetched.data

    async def _parse(self, name: str, followed: _Followed, data: bytes, now: datetime) -> None:
        problem = ""
        try:
            async with self._parsing:
                occasions, skipped = await child.occasions(data, now - BACK, now + AHEAD)
        except CalendarError as error:
            problem = f"{error}; correct it"
        except Exception:
            # Other people write calendars: none of them may end the operator.
            log.exception("calendar %s cannot be read", name)
            problem = "cannot be read; the operator's log has the error"
        followed.data, followed.parsed_at, followed.problem = data, now, problem
        if problem:
            self._fail(name, problem)
            return
        if skipped != followed.skipped:
            log.warning("calendar %s: %s", name, skipped or "no event is left out any more")
        before, followed.skipped = followed.reading, skipped
        # Many servers change bytes that say nothing, like DTSTAMP, each time.
        if before.error or before.read_at is None or before.occasions != occasions:
            log.info("calendar %s is read: %d occurrences", name, len(occasions))
            self._show(name, Reading(now, occasions))

    def _fail(self, name: str, error: str) -> None:
        reading = self._followed[name].reading
        if error != reading.error:
            log.warning("calendar %s %s", name, error)
            self._show(name, replace(reading, error=error))

    def _show(self, name: str, reading: Reading) -> None:
        """Set a reading, and reconcile the pools that use it."""
        self._followed[name].reading = reading
        self._failed.labels(name).set(bool(reading.error))
        for key, uses in self._uses.items():
            if name in uses:
                self._touch(key)


def calendar_metrics(registry: CollectorRegistry) -> tuple[Gauge, Gauge]:
    """Register the metrics of the calendars: whether each has failed, and when it was read."""
    failed = Gauge(
        "kotatsu_calendar_failed",
        "1 while the calendar cannot be read; its windows stay as last read.",
        ("name",),
        registry=registry,
    )
    read_at = Gauge(
        "kotatsu_calendar_read_timestamp_seconds",
        "When the leader last read the calendar, in Unix time; 0 if it has not.",
        ("name",),
        registry=registry,
    )
    return failed, read_at


def _read(path: Path, most: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError:
        return None
