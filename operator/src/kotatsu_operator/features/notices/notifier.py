"""Delivers notices to each receiver: queued, retried, and never awaited by a decision.

Each receiver has its own queue and task, so one that hangs delays no other. A notice that fails
goes behind the others of its queue, because it may be the only one that the receiver does not
accept. A notice is complete
when each receiver that wants it has it, or has rejected it, or did not accept it for an hour. Then
`touch` reconciles its pool, which removes it from the status.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import aiohttp
from prometheus_client import CollectorRegistry, Counter, Gauge

from kotatsu_operator.features.notices.notices import Notice
from kotatsu_operator.features.notices.post import Attempt, message, post
from kotatsu_operator.features.notices.receivers import (
    LARGEST,
    Receiver,
    ReceiversError,
    parse_receivers,
)
from kotatsu_operator.kube.objects import Key
from kotatsu_operator.runtime.paced import Turns, client

log = logging.getLogger(__name__)

READ_AGAIN = 10.0
"""Seconds between two looks at the file."""

WAITING = 256
"""Notices that wait for one receiver at most."""

GIVE_UP = 3600.0
"""Seconds in a queue after which a failed attempt is the last one."""

_FIRST, _LONGEST = 1.0, 60.0
"""Seconds: the first and the longest pause between attempts. The actual one is between a half and
the whole of it, so that many operators do not try at the same moment."""

_LARGEST_ANSWER = 2**20
"""Bytes of a response at most. Its body is not read, but its beginning comes with the head."""


class Outcome(StrEnum):
    """What became of an attempt or of a notification."""

    SENT = "sent"
    RETRIED = "retried"
    """An attempt failed, and another one follows."""
    FAILED = "failed"
    """The receiver rejected it, or did not accept it for an hour."""
    DROPPED = "dropped"
    """Too many waited for the receiver."""


class NotifyMetrics:
    """Counts notifications. The label is the receiver's name, which is no secret."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._count = Counter(
            "kotatsu_notifications",
            "Notifications by receiver and outcome: sent; failed (rejected, or not accepted for "
            "an hour); dropped (too many waited). And retried: failed attempts that are repeated.",
            ("receiver", "outcome"),
            registry=registry,
        )
        self._valid = Gauge(
            "kotatsu_notification_receivers_valid",
            "0 while the file of notification receivers cannot be read or is invalid.",
            registry=registry,
        )
        self._valid.set(1)

    def begin(self, receiver: str) -> None:
        """Make the series of a receiver, so that rate() works from the start."""
        for outcome in Outcome:
            self._count.labels(receiver, outcome.value)

    def end(self, receiver: str) -> None:
        """Remove the series of a receiver that is configured no more."""
        for outcome in Outcome:
            self._count.remove(receiver, outcome.value)

    def count(self, receiver: str, outcome: Outcome) -> None:
        self._count.labels(receiver, outcome.value).inc()

    def valid(self, *, is_valid: bool) -> None:
        self._valid.set(is_valid)


@dataclass(frozen=True)
class _Waiting:
    """A notice in a queue."""

    key: Key
    notice: Notice
    until: float
    """The loop's time from which a failed attempt is the last."""


@dataclass
class _Line:
    """The queue of one receiver."""

    receiver: Receiver
    waiting: deque[_Waiting] = field(default_factory=deque)
    filled: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


@dataclass
class _Open:
    """A notice that is not complete: its pool, and the receivers that it waits for."""

    key: Key
    receivers: set[str]


class Notifier:
    """Sends notices while this operator leads. Without a file, it does nothing."""

    def __init__(
        self,
        file: str,
        metrics: NotifyMetrics,
        clock: Callable[[], datetime],
        *,
        pause: Callable[[float], float] = lambda most: random.uniform(most / 2, most),  # noqa: S311
        read_again: float = READ_AGAIN,
    ) -> None:
        self._file = Path(file) if file else None
        self._metrics, self._clock = metrics, clock
        self._pause, self._read_again = pause, read_again
        self._raw: bytes | None = None
        self._lines: dict[str, _Line] | None = None
        """None until a valid file was read."""
        self._open: dict[str, _Open] = {}
        self._complete: dict[Key, set[str]] = {}
        self._deferred: set[Key] = set()
        """Pools with notices that came before a valid file."""
        self._touch: Callable[[Key], None] = lambda _: None
        self._http: aiohttp.ClientSession | None = None

    # --- what the reconciler asks ---

    @property
    def is_on(self) -> bool:
        """Whether notices are sent at all; if not, none is stored in a status."""
        return self._file is not None

    def delivered(self, key: Key) -> Collection[str]:
        """The ids of a pool's notices that are complete."""
        return self._complete.get(key, ())

    def tell(self, key: Key, notices: Sequence[Notice]) -> None:
        """Queue the waiting notices of a pool; those that are queued already are skipped."""
        complete = self._complete.get(key)
        if complete is not None:
            complete &= {notice.id for notice in notices}
            if not complete:
                del self._complete[key]
        if self._lines is None:
            if notices:
                self._deferred.add(key)
            return
        for notice in notices:
            if notice.id not in self._open and notice.id not in self._complete.get(key, ()):
                self._queue(key, notice, self._lines)

    def forget(self, key: Key) -> None:
        """Drop what is known of a deleted pool; queued notices are still sent."""
        self._complete.pop(key, None)
        self._deferred.discard(key)

    # --- the leader's task ---

    async def run(self, touch: Callable[[Key], None]) -> None:
        """Follow the file and send, until cancelled; `touch` reconciles a pool."""
        if self._file is None:
            return
        self._touch = touch
        try:
            while True:
                await self._read(self._file)
                await asyncio.sleep(self._read_again)
        finally:
            lines, self._lines = self._lines or {}, None
            await _end([line.task for line in lines.values() if line.task is not None])
            self._raw = None
            self._open.clear()
            self._complete.clear()
            self._deferred.clear()
            if self._http is not None:
                await self._http.close()
                self._http = None

    async def _read(self, file: Path) -> None:
        try:
            raw = await asyncio.to_thread(_bytes_of, file)
            if raw == self._raw:
                return
            self._raw = raw
            receivers = await asyncio.to_thread(parse_receivers, raw)
        except OSError as error:
            self._reject(f"cannot be read ({type(error).__name__})")
        except ReceiversError as error:
            self._reject(f"is invalid: {error}")
        except Exception as error:  # the term of the leader must not end with it
            self._reject(f"cannot be used ({type(error).__name__})")
        else:
            self._metrics.valid(is_valid=True)
            log.info("notifications go to %s", ", ".join(r.name for r in receivers) or "nobody")
            await self._use(receivers)

    def _reject(self, why: str) -> None:
        stays = "notices wait" if self._lines is None else "the previous receivers stay"
        log.warning("the file of notification receivers %s; %s", why, stays)
        self._metrics.valid(is_valid=False)

    async def _use(self, receivers: Sequence[Receiver]) -> None:
        before, self._lines = self._lines or {}, {}
        for receiver in receivers:
            line = before.pop(receiver.name, None) or _Line(receiver)
            line.receiver = receiver  # also for what waits already
            self._lines[receiver.name] = line
            if line.task is None:
                self._metrics.begin(receiver.name)
                line.task = asyncio.create_task(self._serve(line), name=f"notify {receiver.name}")
        await _end([line.task for line in before.values() if line.task is not None])
        for name, line in before.items():
            for one in line.waiting:
                self._finish(name, one.notice)
            self._metrics.end(name)
        deferred, self._deferred = self._deferred, set()
        for key in deferred:
            self._touch(key)

    # --- delivery ---

    def _queue(self, key: Key, notice: Notice, lines: dict[str, _Line]) -> None:
        wanting = [ln for ln in lines.values() if ln.receiver.wants(key[0], notice.reason)]
        self._open[notice.id] = _Open(key, {line.receiver.name for line in wanting})
        for line in wanting:
            if len(line.waiting) >= WAITING:
                self._metrics.count(line.receiver.name, Outcome.DROPPED)
                self._finish(line.receiver.name, notice)
                continue
            until = asyncio.get_running_loop().time() + GIVE_UP
            line.waiting.append(_Waiting(key, notice, until))
            line.filled.set()
        if not wanting:
            self._finish("", notice)

    def _finish(self, name: str, notice: Notice) -> None:
        """One receiver needs no further attempt for this notice."""
        still = self._open.get(notice.id)
        if still is None:
            return
        still.receivers.discard(name)
        if not still.receivers:
            del self._open[notice.id]
            self._complete.setdefault(still.key, set()).add(notice.id)
            self._touch(still.key)

    async def _serve(self, line: _Line) -> None:
        clock, longest = asyncio.get_running_loop().time, _FIRST
        while True:
            await line.filled.wait()
            while line.waiting:
                one, pause = line.waiting[0], 0.0
                attempt = await self._attempt(line.receiver, one)
                if attempt.problem and not attempt.is_final:
                    pause = max(self._pause(longest), attempt.pause)
                outcome = _outcome(attempt, is_late=clock() + pause > one.until)
                self._report(line.receiver.name, one.notice, attempt, outcome, longest > _FIRST)
                if outcome is Outcome.RETRIED:
                    line.waiting.rotate(-1)
                else:
                    line.waiting.popleft()
                    self._finish(line.receiver.name, one.notice)
                longest = min(longest * 2, _LONGEST) if pause else _FIRST
                await asyncio.sleep(pause)
            line.filled.clear()

    async def _attempt(self, receiver: Receiver, one: _Waiting) -> Attempt:
        try:
            headers, body = message(receiver.format, one.key, one.notice, self._clock())
            return await post(self._session(), receiver, headers, body)
        except Exception as error:  # one bad notice must not end the receiver's task
            return Attempt(f"the notification cannot be made ({type(error).__name__})")

    def _report(
        self, name: str, notice: Notice, attempt: Attempt, outcome: Outcome, has_failed: bool
    ) -> None:
        self._metrics.count(name, outcome)
        problem = attempt.problem
        if outcome is Outcome.FAILED:
            log.warning("notification receiver %s: %s; giving up %s", name, problem, notice.id)
        elif outcome is Outcome.RETRIED and not has_failed:
            log.warning("notification receiver %s: %s; trying again", name, problem)
        elif outcome is Outcome.SENT and has_failed:
            log.info("notification receiver %s accepts again", name)

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            self._http = client(Turns(), "notifications", _LARGEST_ANSWER)
        return self._http


def _outcome(attempt: Attempt, *, is_late: bool) -> Outcome:
    if not attempt.problem:
        return Outcome.SENT
    return Outcome.FAILED if attempt.is_final or is_late else Outcome.RETRIED


def _bytes_of(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(LARGEST + 1)


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
