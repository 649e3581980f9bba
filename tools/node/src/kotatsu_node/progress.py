"""Tell what is going on: a line when a step begins, and its duration when it ends."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from kotatsu_node.errors import NodeError

BUILD_OF_AN_IMAGE = "half a minute to 2 minutes"
"""How long the first build of an image usually takes."""

_TICK_SECONDS = 0.5
# A step shorter than this is no news in a pipe; it is announced only once it lasts.
_QUIET_SECONDS = 1.0
# How often a step that goes on says so in a pipe.
_REPEAT_SECONDS = 60.0


def duration(seconds: float) -> str:
    """Seconds as people write them: 0.4 s, 12 s, 4 min 10 s."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class Times:
    """How long each step took the last time, in a JSON file; without a file nothing is kept."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._known = self._read()

    def last(self, name: str) -> float | None:
        """Seconds that a step took when it last ended well; None when that is not known."""
        return self._known.get(name)

    def note(self, name: str, seconds: float) -> None:
        """Remember how long a step has taken; where nothing can be written, that is all."""
        self._known[name] = round(seconds, 1)
        if self._file is None or seconds < _QUIET_SECONDS:
            return
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            draft = self._file.with_name(f".{self._file.name}.{os.getpid()}")
            # Read again: another program may have finished steps of its own meanwhile.
            draft.write_text(json.dumps({**self._read(), name: self._known[name]}, indent=2))
            draft.rename(self._file)

    def _read(self) -> dict[str, float]:
        try:
            known = json.loads(self._file.read_text()) if self._file else {}
            return {str(name): float(seconds) for name, seconds in known.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}


class Progress:
    """Prints steps to `stream` (standard error); several may run at once, from any thread.

    On a terminal the running steps share one live line with elapsed times. In a pipe a step that
    lasts over a second is one line at its beginning, one a minute, and one at its end. Both say how
    long the step took the last time, where `times` knows it, or else how long it usually takes.
    """

    def __init__(
        self, stream: TextIO | None = None, live: bool | None = None, times: Times | None = None
    ) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._live = self._stream.isatty() if live is None else live
        self._times = times or Times()
        self._lock = threading.Lock()
        self._running: dict[str, float] = {}
        self._usually: dict[str, str] = {}
        self._announced: dict[str, float] = {}
        self._wake = threading.Event()

    @contextmanager
    def step(self, name: str, usually: str = "") -> Iterator[None]:
        """Run the body as the step `name`; a NodeError leaving it learns the step's name.

        `usually` says what to expect of the first time, such as "7 to 16 minutes on two cores".
        """
        started = time.monotonic()
        with self._lock:
            self._running[name] = started
            self._usually[name] = usually
            first = len(self._running) == 1
        if first:
            self._wake = threading.Event()
            threading.Thread(target=self._tick, args=(self._wake,), daemon=True).start()
        try:
            yield
        except NodeError as error:
            error.step = error.step or name
            self._finish(name, "FAILED after")
            raise
        except BaseException:
            self._finish(name, "stopped after")
            raise
        self._finish(name, "")

    def say(self, text: str) -> None:
        """Print one line of its own."""
        with self._lock:
            self._line(text)

    def _finish(self, name: str, verb: str) -> None:
        with self._lock:
            elapsed = time.monotonic() - self._running.pop(name)
            if not self._running:
                self._wake.set()
            was_announced = name in self._announced
            self._announced.pop(name, None)
            if not verb:
                self._times.note(name, elapsed)
            if self._live or was_announced or verb:
                mark = "✗" if verb else "✓"
                spent = f"{verb} {duration(elapsed)}".strip()
                self._line(f"{mark} {name} ({spent})")

    def _tick(self, wake: threading.Event) -> None:
        while not wake.wait(_TICK_SECONDS):
            with self._lock:
                now = time.monotonic()
                if self._live:
                    self._draw(now)
                    continue
                for name, since in self._running.items():
                    self._announce(name, now - since, now)

    def _announce(self, name: str, spent: float, now: float) -> None:
        """Say in a pipe that a step has begun, or that it goes on, when it is time for that."""
        last = self._announced.get(name)
        if spent < _QUIET_SECONDS - 0.1 or (last is not None and now - last < _REPEAT_SECONDS):
            return
        self._announced[name] = now
        so_far = "" if last is None else f"{duration(spent)} so far"
        about = ", ".join(filter(None, (so_far, self._expected(name))))
        self._line(f"· {name} ({about})" if about else f"· {name}")

    def _draw(self, now: float) -> None:
        """The live line: as long as the terminal is wide, or it could not be drawn over."""
        steps = []
        for name, since in self._running.items():
            spent = ", ".join(filter(None, (duration(now - since), self._expected(name))))
            steps.append(f"{name} ({spent})")
        line = f"· {', '.join(steps)}"
        self._stream.write(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}")
        self._stream.flush()

    def _expected(self, name: str) -> str:
        last, usually = self._times.last(name), self._usually[name]
        if last:
            return f"took {duration(last)} last time"
        return f"usually {usually}" if usually else ""

    def _line(self, text: str) -> None:
        start = "\r\x1b[K" if self._live else ""
        self._stream.write(f"{start}{text}\n")
        self._stream.flush()
