"""The timeline on paper: rows for people, or one JSON object an event for programs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum, auto
from typing import TextIO

from kotatsu_demo.snapshot import Snapshot
from kotatsu_demo.story import Event

_HEAD = f"{'elapsed':>8}  {'ready':<6}{'phase':<9} what happens"
_LEGEND = "Now the show, about a minute. ready: pods Ready / pods wanted."
_SILENCE_SECONDS = 10.0
"""In a pipe, the longest time without a line."""


class Style(Enum):
    """How the timeline is shown."""

    LIVE = auto()
    """A terminal: the last line is kept up to date."""
    PLAIN = auto()
    """A pipe: lines only."""
    JSON = auto()
    """One object an event, nothing else."""


def row(elapsed: float, seen: Snapshot, text: str, mark: str = "") -> str:
    """One line of the timeline."""
    replicas = f"{seen.ready}/{seen.desired}"
    return f"{elapsed:6.1f} s  {replicas:<6}{seen.phase or '-':<9} {mark}{text}"


def record(elapsed: float, at: datetime, seen: Snapshot, event: Event) -> str:
    """One event as a line of JSON."""
    return json.dumps(
        {
            "elapsed": round(elapsed, 2),
            "at": at.astimezone(UTC).isoformat(timespec="milliseconds"),
            "event": event.name,
            "phase": seen.phase,
            "ready": seen.ready,
            "desired": seen.desired,
            "pods": seen.pods,
            "text": event.text,
            **event.facts,
        },
        ensure_ascii=False,
    )


class Screen:
    """Shows the timeline on `out`; `clock` gives the present instant."""

    def __init__(self, out: TextIO, style: Style, clock: Callable[[], datetime]) -> None:
        self._out, self.style, self._clock = out, style, clock
        self._began = self._last = clock()

    def begin(self) -> None:
        """Start counting, and print the head of the table."""
        self._began = self._last = self._clock()
        if self.style is not Style.JSON:
            self._write(f"\n{_LEGEND}\n\n{_HEAD}\n")

    def event(self, seen: Snapshot, event: Event) -> None:
        """Print an event."""
        now = self._clock()
        elapsed = (now - self._began).total_seconds()
        if self.style is Style.JSON:
            self._write(record(elapsed, now, seen, event) + "\n")
        else:
            self._line(row(elapsed, seen, event.text))
        self._last = now

    def doing(self, seen: Snapshot, text: str) -> None:
        """Show what happens right now: in place on a terminal, now and then in a pipe."""
        now = self._clock()
        elapsed = (now - self._began).total_seconds()
        if self.style is Style.LIVE:
            width = shutil.get_terminal_size().columns
            self._write(f"\r\x1b[K{row(elapsed, seen, text, '· ')[: width - 1]}")
            return
        is_silent = (now - self._last).total_seconds() >= _SILENCE_SECONDS
        if self.style is Style.PLAIN and is_silent:
            self._line(row(elapsed, seen, text, "· "))
            self._last = now

    def aside(self, text: str) -> None:
        """Print a line about something else, in the column of what happens."""
        self.say(f"{'':26}{text}")

    def say(self, text: str = "") -> None:
        """Print a line for people; nothing in JSON."""
        if self.style is not Style.JSON:
            self._line(text)

    def _line(self, text: str) -> None:
        start = "\r\x1b[K" if self.style is Style.LIVE else ""
        self._write(f"{start}{text}\n")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
