"""Follows calendars: reads mounted files and URLs again and again, apart from all decisions."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path

from kotatsu_operator.core.calendar.occasions import MOST_BYTES, CalendarError
from kotatsu_operator.features.calendars import child
from kotatsu_operator.features.calendars.fetch import Fetched, FetchError, fetch
from kotatsu_operator.features.calendars.windows import AHEAD, Reading
from kotatsu_operator.runtime.paced import Turns

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
    """One calendar between two readings."""

    reading: Reading = field(default_factory=Reading)
    data: bytes | None = None
    """The bytes that `reading` was made from."""
    rejected: bytes | None = None
    """Bytes that could not be read."""
    rejected_until: datetime | None = None
    """When they are tried again: the node may have been busy, or out of memory."""
    checked_at: datetime | None = None
    """When the calendar was last seen, changed or not."""
    skipped: str = ""
    """What the log says about events that are left out."""
    day: date | None = None
    """The day for which `reading` was made: it moves on with time."""
    address: str = ""
    fetched: Fetched | None = None
    again: datetime | None = None
    """When to fetch again."""
    failures: int = 0


class Calendars:
    """The calendars of a folder with one folder for each; `changed` is called with a name."""

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        clock: Callable[[], datetime],
        changed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._folder, self._clock, self._changed = folder, clock, changed
        self._followed = {name: _Followed() for name in names}
        self._turns = Turns()
        self._parsing = asyncio.Lock()
        """One calendar is parsed at a time: together they could take much memory."""

    def readings(self) -> dict[str, Reading]:
        """The last reading of each calendar."""
        return {name: followed.reading for name, followed in self._followed.items()}

    def failing(self, name: str) -> bool:
        """Whether a calendar cannot be read now."""
        return bool(self._followed[name].reading.error)

    def checked(self, name: str) -> float:
        """When a calendar was last read successfully, in Unix time; 0 if it has not been."""
        at = self._followed[name].checked_at
        return 0.0 if at is None else at.timestamp()

    def reset(self) -> None:
        """Forget all readings, which are outdated while another operator leads."""
        self._followed = {name: _Followed() for name in self._followed}

    async def run(self) -> None:
        """Read until cancelled. A calendar that is slow or cannot be read delays no other."""
        async with asyncio.TaskGroup() as group:
            for name in self._followed:
                group.create_task(self._follow(name))

    async def _follow(self, name: str) -> None:
        while True:
            await self.look(name)
            await asyncio.sleep(EVERY)

    async def look(self, name: str) -> None:
        """Read one calendar again if it is due."""
        followed, now = self._followed[name], self._clock()
        try:
            data = await self._data(name, followed, now)
        except FetchError as error:
            self._fail(name, followed, str(error))
            return
        except Exception as error:
            # Without the error's text, which may have the URL.
            log.error("calendar %s: an unexpected %s", name, type(error).__name__)
            self._fail(name, followed, "cannot be fetched; the operator's log has the error")
            return
        until = followed.rejected_until
        if data is None or (data == followed.rejected and until is not None and now < until):
            return
        followed.checked_at = now
        if data == followed.data and now.date() == followed.day:
            self._recover(name, followed, now)
            return
        await self._parse(name, followed, data, now)

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
        text = address.decode(errors="replace").strip()
        if text != followed.address:
            followed.address, followed.fetched, followed.again = text, None, None
        if followed.again is not None and now < followed.again:
            is_read = followed.day == now.date()
            if is_read or followed.reading.error or followed.fetched is None:
                return None
            return followed.fetched.data
        try:
            followed.fetched = await fetch(text, followed.fetched, turns=self._turns)
        except Exception:
            pause = min(_FIRST_RETRY * 2 ** min(followed.failures, 10), _LAST_RETRY)
            followed.failures += 1
            followed.again = now + pause
            raise
        followed.failures, followed.again = 0, now + FETCH_EVERY
        return followed.fetched.data

    async def _parse(self, name: str, followed: _Followed, data: bytes, now: datetime) -> None:
        try:
            async with self._parsing:
                occasions, skipped = await child.occasions(
                    data, now - timedelta(days=1), now + AHEAD
                )
        except CalendarError as error:
            self._reject(name, followed, data, now, f"{error}; correct it")
            return
        except Exception:
            # Other people write calendars: none of them may end the operator.
            log.exception("calendar %s cannot be read", name)
            why = "cannot be read; the operator's log has the error"
            self._reject(name, followed, data, now, why)
            return
        followed.rejected = None
        followed.data, followed.day = data, now.date()
        if skipped != followed.skipped:
            log.warning("calendar %s: %s", name, skipped or "no event is left out any more")
        before, followed.skipped = followed.reading, skipped
        if before.read_at is not None and before.occasions == occasions:
            # Many servers change bytes that say nothing, like DTSTAMP, each time.
            self._recover(name, followed, now)
            return
        followed.reading = Reading(now, occasions)
        log.info("calendar %s is read: %d occurrences", name, len(occasions))
        self._changed(name)

    def _reject(
        self, name: str, followed: _Followed, data: bytes, now: datetime, error: str
    ) -> None:
        followed.rejected, followed.rejected_until = data, now + _REJECTED
        self._fail(name, followed, error)

    def _fail(self, name: str, followed: _Followed, error: str) -> None:
        if error != followed.reading.error:
            log.warning("calendar %s %s", name, error)
            followed.reading = replace(followed.reading, error=error)
            self._changed(name)

    def _recover(self, name: str, followed: _Followed, now: datetime) -> None:
        if followed.reading.error:
            followed.reading = replace(followed.reading, error="", read_at=now)
            self._changed(name)


def _read(path: Path, most: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError:
        return None
