"""Notices: what people are told about a pool, as events and outside of the cluster.

Each receiver has its own queue and task, so one that hangs delays no other, and no decision waits.
A notice that fails goes behind the others of its queue, because it may be the only one that the
receiver does not accept. A notice is complete when each receiver that wants it has it, or has
rejected it, or did not accept it for an hour. Then `touch` reconciles its pool, which removes it
from the status.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Self

from prometheus_client import CollectorRegistry, Counter, Gauge

from kotatsu_operator.controller.feature import Feature, Report, Setup, Turn
from kotatsu_operator.controller.target import Tools
from kotatsu_operator.core.formats import internal
from kotatsu_operator.core.report.status import Status
from kotatsu_operator.core.schema import joined
from kotatsu_operator.features.notices.notices import (
    Notice,
    news,
    notices_status,
    outbox,
    read_notices,
    ready_notes,
)
from kotatsu_operator.features.notices.receivers import (
    LARGEST,
    Posted,
    Receiver,
    ReceiversError,
    message,
    parse_receivers,
    post,
)
from kotatsu_operator.kube.objects import Key

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


class Delivery(StrEnum):
    """What became of an attempt or of a notification."""

    SENT = "sent"
    RETRIED = "retried"
    """An attempt failed, and another one follows."""
    FAILED = "failed"
    """The receiver rejected it, or did not accept it for an hour."""
    DROPPED = "dropped"
    """Too many waited for the receiver."""


def notify_metrics(registry: CollectorRegistry) -> tuple[Counter, Gauge]:
    """Register the metrics of notifications: their number, and whether the file is valid."""
    sent = Counter(
        "kotatsu_notifications",
        "Notifications by receiver and outcome: sent; failed (rejected, or not accepted for "
        "an hour); dropped (too many waited). And retried: failed attempts that are repeated.",
        ("receiver", "outcome"),
        registry=registry,
    )
    valid = Gauge(
        "kotatsu_notification_receivers_valid",
        "0 while the file of notification receivers cannot be read or is invalid.",
        registry=registry,
    )
    valid.set(1)
    return sent, valid


@dataclass(frozen=True)
class _Waiting:
    """A notice in a queue."""

    key: Key
    notice: Notice
    until: float
    """The loop's time from which a failed attempt is the last."""


@dataclass
class _Line:
    """One receiver, and what waits for it."""

    receiver: Receiver
    waiting: asyncio.Queue[_Waiting] = field(default_factory=asyncio.Queue)
    task: asyncio.Task[None] | None = None


class Notifier:
    """Sends notices while this operator leads. Without a file, it does nothing."""

    _tasks: asyncio.TaskGroup
    _touch: Callable[[Key], None]

    def __init__(
        self,
        file: str,
        registry: CollectorRegistry,
        clock: Callable[[], datetime],
        *,
        pause: Callable[[float], float] = lambda most: random.uniform(most / 2, most),  # noqa: S311
    ) -> None:
        self._file = Path(file) if file else None
        self._count, self._valid = notify_metrics(registry)
        self._clock, self._pause = clock, pause
        self._raw: bytes | None = None
        self._lines: dict[str, _Line] | None = None
        """By the receiver's name. None until a valid file was read."""
        self._open: dict[str, tuple[Key, set[str]]] = {}
        """The notices that are not complete: their pools, and the receivers that they wait for."""
        self._complete: dict[Key, set[str]] = {}
        self._deferred: set[Key] = set()
        """Pools with notices that came before a valid file."""

    # --- what the hooks ask ---

    @property
    def is_on(self) -> bool:
        """Whether notices are sent at all; if not, none is stored in a status."""
        return self._file is not None

    def delivered(self, key: Key) -> Collection[str]:
        """The ids of a pool's notices that are complete."""
        return self._complete.get(key, ())

    def tell(self, key: Key, notices: Sequence[Notice]) -> None:
        """Queue the waiting notices of a pool; those that are queued already are skipped."""
        complete = self._complete.pop(key, set()) & {notice.id for notice in notices}
        if complete:
            self._complete[key] = complete
        if self._lines is None:
            if notices:
                self._deferred.add(key)
            return
        for notice in notices:
            if notice.id not in self._open and notice.id not in complete:
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
            async with asyncio.TaskGroup() as self._tasks:
                while True:
                    await self._read(self._file)
                    await asyncio.sleep(READ_AGAIN)
        finally:
            self._raw = self._lines = None
            self._open.clear()
            self._complete.clear()
            self._deferred.clear()

    async def _read(self, file: Path) -> None:
        try:
            raw = await asyncio.to_thread(_bytes_of, file)
            if raw == self._raw:
                return
            self._raw = raw
            receivers = await asyncio.to_thread(parse_receivers, raw)
        except OSError as error:
            self._raw = None  # the same file is valid again once it can be read
            self._reject(f"cannot be read ({type(error).__name__})")
        except ReceiversError as error:
            self._reject(f"is invalid: {error}")
        except Exception as error:  # the term of the leader must not end with it
            self._reject(f"cannot be used ({type(error).__name__})")
        else:
            self._valid.set(1)
            log.info("notifications go to %s", ", ".join(r.name for r in receivers) or "nobody")
            self._use(receivers)

    def _reject(self, why: str) -> None:
        stays = "notices wait" if self._lines is None else "the previous receivers stay"
        log.warning("the file of notification receivers %s; %s", why, stays)
        self._valid.set(0)

    def _use(self, receivers: Sequence[Receiver]) -> None:
        before, self._lines = self._lines or {}, {}
        for receiver in receivers:
            line = before.pop(receiver.name, None) or _Line(receiver)
            line.receiver = receiver  # also for what waits already
            self._lines[receiver.name] = line
            if line.task is None:
                for outcome in Delivery:  # so that rate() works from the start
                    self._count.labels(receiver.name, outcome.value)
                name = f"notify {receiver.name}"
                line.task = self._tasks.create_task(self._serve(line), name=name)
        for name, line in before.items():
            if line.task is not None:
                line.task.cancel()
            for id_ in [*self._open]:
                self._finish(name, id_)
            for outcome in Delivery:
                self._count.remove(name, outcome.value)
        deferred, self._deferred = self._deferred, set()
        for key in deferred:
            self._touch(key)

    def _queue(self, key: Key, notice: Notice, lines: dict[str, _Line]) -> None:
        wanting = {n: ln for n, ln in lines.items() if ln.receiver.wants(key[0], notice.reason)}
        self._open[notice.id] = (key, set(wanting))
        until = asyncio.get_running_loop().time() + GIVE_UP
        for name, line in wanting.items():
            if line.waiting.qsize() < WAITING:
                line.waiting.put_nowait(_Waiting(key, notice, until))
            else:
                self._count.labels(name, Delivery.DROPPED.value).inc()
                self._finish(name, notice.id)
        if not wanting:
            self._finish("", notice.id)

    def _finish(self, name: str, id_: str) -> None:
        """One receiver needs no further attempt for this notice."""
        if id_ not in self._open:
            return
        key, waits_for = self._open[id_]
        waits_for.discard(name)
        if not waits_for:
            del self._open[id_]
            self._complete.setdefault(key, set()).add(id_)
            self._touch(key)

    async def _serve(self, line: _Line) -> None:
        clock, longest = asyncio.get_running_loop().time, _FIRST
        while True:
            one, pause = await line.waiting.get(), 0.0
            attempt = await self._attempt(line.receiver, one)
            outcome = Delivery.SENT
            if attempt.problem:
                pause = 0.0 if attempt.is_final else max(self._pause(longest), attempt.pause)
                is_last = attempt.is_final or clock() + pause > one.until
                outcome = Delivery.FAILED if is_last else Delivery.RETRIED
            self._report(line.receiver.name, one.notice, attempt, outcome, longest > _FIRST)
            if outcome is Delivery.RETRIED:
                line.waiting.put_nowait(one)
            else:
                self._finish(line.receiver.name, one.notice.id)
            longest = min(longest * 2, _LONGEST) if pause else _FIRST
            await asyncio.sleep(pause)

    async def _attempt(self, receiver: Receiver, one: _Waiting) -> Posted:
        try:
            headers, body = message(receiver.format, one.key, one.notice, self._clock())
            return await post(receiver, headers, body)
        except Exception as error:  # one bad notice must not end the receiver's task
            return Posted(f"the notification cannot be made ({type(error).__name__})")

    def _report(
        self, name: str, notice: Notice, attempt: Posted, outcome: Delivery, has_failed: bool
    ) -> None:
        self._count.labels(name, outcome.value).inc()
        problem = attempt.problem
        if outcome is Delivery.FAILED:
            log.warning("notification receiver %s: %s; giving up %s", name, problem, notice.id)
        elif outcome is Delivery.RETRIED and not has_failed:
            log.warning("notification receiver %s: %s; trying again", name, problem)
        elif outcome is Delivery.SENT and has_failed:
            log.info("notification receiver %s accepts again", name)


class Notices(Feature):
    """Adds events that no decision makes, and sends notices that the status has.

    In the list of features it comes after those that add events.
    """

    def __init__(self, notifier: Notifier) -> None:
        self.notifier = notifier

    @classmethod
    def of(cls, setup: Setup) -> Self:
        return cls(Notifier(setup.settings.notifications, setup.registry, setup.clock))

    def status(self, turn: Turn, report: Report) -> Report:
        """Add what is reported now, only once, and the notices that wait."""
        memory, now = report.decision.memory, turn.now
        found = news(turn.pool, turn.spec, report.seen, memory, now)
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


def _bytes_of(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(LARGEST + 1)
