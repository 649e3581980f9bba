"""How many connections one activator takes, those of all its pools together.

Each costs an open file, and once more when it is joined to a pod. At the limit of its files a
process can accept nobody, connect to no pod and not even ask the API server; so it stops before.
"""

import logging
import resource
import time
from collections.abc import Callable

from .doorway import Doorway, Guest

log = logging.getLogger(__name__)

RESERVED = 128
"""Open files kept for everything else: listeners, watches, probes, scrapes."""

MOST_FILES = 2**16
"""More connections than that would not fit into the memory the chart gives an activator."""

CLIENTS_SHARE = 0.75
"""Of the files, those that clients may take: the rest is for pods, without whom nobody gets on."""

TELL_EVERY = 10.0
"""Seconds between two lines in the log about the same want of room."""


def raise_file_limit() -> int:
    """Let this process open as many files as it may and can use; returns how many that is.

    Container runtimes often start with 1024, and let a process have more if it asks.
    """
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if most == resource.RLIM_INFINITY else min(most, MOST_FILES)
    if allowed == resource.RLIM_INFINITY or allowed >= wanted:
        return MOST_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    return wanted


class Room:
    """Counts the connections of an activator against the open files it may have."""

    def __init__(
        self, files: int = MOST_FILES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._files = files
        self._most = max(files - RESERVED, files // 2)
        self._silent = Doorway()
        self._clients: set[Guest] = set()
        self._joined = 0
        self._clock = clock
        self._told_at = float("-inf")
        self._when_free: dict[Callable[[], None], None] = {}

    def enter(self, guest: Guest) -> bool:
        """Let one in; whether there was room.

        Where there is none, the one that has been silent for longest makes it; and if everybody has
        said what they want, the newest has to go.
        """
        full = len(self._clients) >= self._most * CLIENTS_SHARE or not self.has_place
        if full:
            self._tell()
            if not len(self._silent):
                return False
            self._silent.enter(guest, len(self._silent))
        else:
            self._silent.enter(guest, self._most)
        self._clients.add(guest)
        return True

    def spoke(self, guest: Guest) -> None:
        """It has said what it wants."""
        self._silent.leave(guest)

    def leave(self, guest: Guest) -> None:
        """It has gone."""
        self._silent.leave(guest)
        self._clients.discard(guest)
        self._freed()

    @property
    def has_place(self) -> bool:
        """Whether one more file can be opened: for a client, or for its pod."""
        return len(self._clients) + self._joined < self._most

    def join(self) -> None:
        """A connection to a pod is opened."""
        self._joined += 1

    def part(self) -> None:
        """A connection to a pod has gone."""
        self._joined -= 1
        self._freed()

    def when_free(self, act: Callable[[], None]) -> None:
        """Call this once, as soon as something has gone."""
        self._when_free[act] = None

    def _freed(self) -> None:
        if self._when_free:
            waiting, self._when_free = self._when_free, {}
            for act in waiting:
                act()

    def _tell(self) -> None:
        if self._clock() - self._told_at < TELL_EVERY:
            return
        self._told_at = self._clock()
        log.warning(
            "no room: %d clients and %d connections to pods are open, and this process may have "
            "%d files (RLIMIT_NOFILE): new clients are closed",
            len(self._clients),
            self._joined,
            self._files,
        )
