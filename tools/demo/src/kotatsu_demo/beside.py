"""Work that goes on beside the show, and takes nothing from it."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

from kotatsu_demo.screen import Screen
from kotatsu_node.progress import Progress, Times

Made = TypeVar("Made")

_NICENESS = 10


class Beside(Generic[Made]):
    """Does some things one after the other while the context is open, as one step on the screen.

    What fails is raised by `results`. When the context is left by an error, nothing new is begun.
    """

    def __init__(
        self, name: str, todo: Iterable[Callable[[], Made]], screen: Screen, times: Times
    ) -> None:
        self._name, self._todo = name, list(todo)
        self._progress = Progress(_Lines(screen), live=False, times=times)
        self._stop = threading.Event()
        self._thread = ThreadPoolExecutor(max_workers=1)

    def __enter__(self) -> Beside[Made]:
        self._made = self._thread.submit(self._work)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if error is not None:
            self._stop.set()
        self._thread.shutdown(wait=False)

    def results(self) -> list[Made]:
        """What came of each; waits for it."""
        return self._made.result()

    def _work(self) -> list[Made]:
        if not self._todo:
            return []
        if sys.platform == "linux":
            # There it is this thread's alone, and that of all it starts.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        made: list[Made] = []
        with self._progress.step(self._name):
            for do in self._todo:
                if self._stop.is_set():
                    break
                made.append(do())
        return made


class _Lines(io.StringIO):
    """Whole lines, said on a screen below what happens."""

    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self._screen = screen

    def write(self, text: str) -> int:
        self._screen.aside(text.rstrip("\n"))
        return len(text)
