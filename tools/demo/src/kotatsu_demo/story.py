"""The story the demo tells: what each moment means, and which request it asks for next.

Pure: it is shown snapshots and told the answers, with the time of each, and gives back the events
to print. It never looks at a clock or a cluster.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from kotatsu_demo.answers import Answer
from kotatsu_demo.errors import DemoError
from kotatsu_demo.snapshot import Snapshot
from kotatsu_demo.windows import IDLE_AFTER, Window

PATIENCE = timedelta(seconds=60)
"""How long each act may take beyond its own time before the demo gives up."""


class Act(StrEnum):
    """Where the story is."""

    BEGIN = "begin"
    ASLEEP = "asleep"
    WARMING = "warming"
    READY = "ready"
    OPEN = "open"
    CLOSED = "closed"
    ASLEEP_AGAIN = "asleep again"
    DONE = "done"


class Wish(StrEnum):
    """A request that the story asks for."""

    SPEAK = "speak"
    WAKE = "wake"


@dataclass(frozen=True)
class Event:
    """Something worth a line; `facts` are its figures, for programs."""

    name: str
    text: str
    facts: dict[str, Any] = field(default_factory=dict)


class Story:
    """One telling, around one window."""

    def __init__(self, window: Window, saved_as: str) -> None:
        self.window = window
        self._saved_as = saved_as
        self.act = Act.BEGIN
        self.wish: Wish | None = None
        """The request to send now; whoever sends it sets it to None."""
        self.full_rate = Decimal(0)
        """What the window's pods cost in an hour, as far as seen."""
        self._asked_at: datetime | None = None
        self._is_late = False
        self._leaving = ""

    def see(self, seen: Snapshot, now: datetime) -> list[Event]:
        """Take note of a snapshot; the events it makes. DemoError when the story can't go on."""
        self.full_rate = max(self.full_rate, seen.cost.per_hour)
        if seen.refusal:
            raise DemoError(f"the operator does not accept the pool: {seen.refusal}")
        self._lose_patience(seen, now)
        events: list[Event] = []
        while (event := self._next(seen, now)) is not None:
            events.append(event)
        return events

    def hear(self, wish: Wish, answer: Answer, seen: Snapshot) -> Event:
        """Take note of the answer to a wish; `seen` is from after it."""
        facts = {
            "answer_seconds": round(answer.seconds, 3),
            "speech_seconds": round(answer.speech, 2),
            "bytes": answer.size,
        }
        if wish is Wish.SPEAK:
            said = f"{answer.speech:.1f} s of Japanese in {answer.seconds:.2f} s"
            text = f"{said}: {self._saved_as}, {answer.size / 1000:.0f} kB"
            return Event("speech", text, facts | {"file": self._saved_as})
        self.act = Act.DONE
        pod = ""
        if seen.wake_seconds is not None and _after(seen.wake_at, self._asked_at):
            facts["pod_seconds"] = seen.wake_seconds
            pod = f" (its pod was up after {seen.wake_seconds:.2f} s)"
        text = f"the request woke a pod and is answered, in {answer.seconds:.2f} s{pod}"
        return Event("woken", text, facts)

    def _next(self, seen: Snapshot, now: datetime) -> Event | None:
        step = {
            Act.BEGIN: self._begin,
            Act.ASLEEP: self._asleep,
            Act.WARMING: self._warming,
            Act.READY: self._ready,
            Act.OPEN: self._open,
            Act.CLOSED: self._closed,
        }.get(self.act)
        return step(seen, now) if step is not None else None

    def _begin(self, _: Snapshot, now: datetime) -> Event:
        self.act = Act.ASLEEP
        left = self._to_start(now)
        text = f"0 pods; a window for {self.window.replicas} opens in {left:.0f} s"
        facts = {"opens_at": self.window.start.isoformat(), "lead": self.window.lead}
        return Event("asleep", f"{text}, at {self.window.opens_at} in Tokyo", facts)

    def _asleep(self, seen: Snapshot, now: datetime) -> Event | None:
        if seen.desired == 0 or seen.phase == "Asleep":
            return None
        self.act = Act.WARMING
        left = self._to_start(now)
        is_learned = not self.window.lead
        lead = "learned from its warm-ups" if is_learned else "set: nothing is learned yet"
        text = f"{_pods(seen.desired)} start, {left:.0f} s ahead of the window (lead {lead})"
        return Event("warming", text, {"ahead_seconds": round(left, 1)})

    def _warming(self, seen: Snapshot, now: datetime) -> Event | None:
        if not self._is_late and now >= self.window.start and seen.ready_at is None:
            self._is_late = True
            return Event("late", "LATE: the window opens and not every pod is Ready")
        if seen.ready_at is None or seen.opens_at != self.window.start:
            return None
        self.act = Act.READY
        early = (self.window.start - seen.ready_at).total_seconds()
        when = "before the window opens" if early >= 0 else "LATE"
        count = self.window.replicas
        text = f"{count} of {count} pods Ready, {abs(early):.1f} s {when}"
        return Event("ready", text, {"early_seconds": round(early, 1)})

    def _ready(self, _: Snapshot, now: datetime) -> Event | None:
        if now < self.window.start:
            return None
        self.act, self.wish, self._asked_at = Act.OPEN, Wish.SPEAK, now
        seconds = (self.window.end - now).total_seconds()
        return Event("open", f"the window is open for {seconds:.0f} s; asking for speech")

    def _open(self, _: Snapshot, now: datetime) -> Event | None:
        if now < self.window.end:
            return None
        self.act = Act.CLOSED
        return Event("closed", "the window closes; nothing else needs the pods")

    def _closed(self, seen: Snapshot, now: datetime) -> Event | None:
        if seen.is_asleep:
            self.act, self.wish, self._asked_at = Act.ASLEEP_AGAIN, Wish.WAKE, now
            after = (now - self.window.end).total_seconds()
            text = f"0 pods again, {after:.0f} s after the window; now one request comes"
            return Event("asleep_again", text, {"after_seconds": round(after, 1)})
        if seen.phase != self._leaving and seen.phase in _LEAVING:
            self._leaving = seen.phase
            return Event(seen.phase.lower(), _LEAVING[seen.phase])
        return None

    def doing(self, seen: Snapshot, now: datetime) -> str:
        """What happens right now, for a line that is always up to date."""
        left = self._to_start(now)
        match self.act:
            case Act.ASLEEP if seen.prewarm_at is not None:
                start = max(0.0, (seen.prewarm_at - now).total_seconds())
                return f"pods start in {start:.0f} s, the window opens in {left:.0f} s"
            case Act.ASLEEP | Act.READY:
                return f"the window opens in {left:.0f} s"
            case Act.WARMING:
                return f"{seen.ready} of {self.window.replicas} pods Ready, window in {left:.0f} s"
            case Act.OPEN:
                rest = (self.window.end - now).total_seconds()
                return f"the window is open for another {max(0.0, rest):.0f} s"
            case Act.CLOSED:
                return f"{_pods(seen.pods)} left"
            case Act.ASLEEP_AGAIN if self._asked_at is not None:
                return (
                    f"the request waits for a pod: {(now - self._asked_at).total_seconds():.1f} s"
                )
        return ""

    def _to_start(self, now: datetime) -> float:
        return (self.window.start - now).total_seconds()

    def _lose_patience(self, seen: Snapshot, now: datetime) -> None:
        limit, what = {
            Act.ASLEEP: (self.window.start, "no pod was started before the window opened"),
            Act.WARMING: (self.window.end, "the pods were not Ready before the window closed"),
            Act.CLOSED: (
                self.window.end + IDLE_AFTER + PATIENCE,
                f"the pool does not go back to sleep (phase {seen.phase}, {_pods(seen.pods)})",
            ),
        }.get(self.act, (None, ""))
        if limit is not None and now > limit:
            raise DemoError(what)


_LEAVING = {
    "Draining": "new requests go to the activator, the pods finish theirs",
    "Sleeping": "scaled to 0; the pods are ending",
}


def _pods(count: int) -> str:
    return "1 pod" if count == 1 else f"{count} pods"


def _after(moment: datetime | None, other: datetime | None) -> bool:
    slack = timedelta(seconds=1)  # the activator's clock is another machine's
    return moment is not None and other is not None and moment >= other - slack
