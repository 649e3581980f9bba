"""How many connections one activator takes, and bytes for them, those of all its pools together.

Each costs an open file and some memory, and once more when it is joined to a pod. At the limit of
its files a process can accept nobody, connect to no pod and not even ask the API server; at the
limit of its memory it is killed. So it stops before.
"""

import asyncio
import logging
import resource
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Protocol

from kotatsu_operator.activator.proxy.kept_bytes import Keeper, KeptBytes
from kotatsu_operator.activator.proxy.silent_connections import SilentConnection, SilentConnections

log = logging.getLogger(__name__)

RESERVED = 128
"""Open files kept for everything else: listeners, watches, probes, scrapes."""

MOST_FILES = 2**16
"""More connections than that would be more than one process of Python can serve."""

MOST_MEMORY = 2**30
"""Bytes. An activator without a memory limit is told its node's memory, and needs no more."""

OWN = 80 * 2**20
"""Bytes of memory for everything but connections: the program, and what it knows of its pools."""

EACH = 12 * 1024
"""Bytes of memory that an open connection takes, ours and the kernel's, while it keeps nothing."""

SETTLE_EVERY, SETTLED_AT_ONCE = 0.1, 256
"""Seconds between two looks at what the kernel still has of connections that were written to, and
how many of them are looked at: that takes about a millisecond."""

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


def _for_one(places: int) -> int:
    """Of so many places, those that one pool may have: the rest is for others."""
    return places - places // 16


class Written(Keeper, Protocol):
    """A connection that was written to."""

    def settle(self) -> bool:
        """Count what it keeps; whether the other sides have taken everything."""


class ConnectionLimit:
    """Counts the connections of an activator against the open files and the memory it may have.

    Of the memory (in bytes) beyond its own, one half is for connections as such, and a quarter for
    what is kept for them. The last quarter is for what is not counted yet: what has come and was
    not read, and what was written since the kernel was asked.
    """

    def __init__(
        self,
        files: int = MOST_FILES,
        clock: Callable[[], float] = time.monotonic,
        memory: int = MOST_MEMORY,
    ) -> None:
        memory = min(memory, MOST_MEMORY)
        half = max(memory - OWN, memory // 4) // 2
        self._files, self._memory = files, memory
        self._most = min(max(files - RESERVED, files // 2), half // EACH)
        self.kept = KeptBytes(half // 2)
        self._written: deque[Written] = deque()
        self._settling: asyncio.TimerHandle | None = None
        self._silent = SilentConnections()
        self._clients: dict[SilentConnection, str] = {}
        """Those that are in, and the pool they came for."""
        self._clients_of: Counter[str] = Counter()
        self._joined_of: Counter[str] = Counter()
        self._joined = 0
        self._clock = clock
        self._told_at = float("-inf")
        self._when_free: dict[Callable[[], None], None] = {}

    def enter(self, guest: SilentConnection, pool: str) -> bool:
        """Let a client of a pool in; whether there was room.

        Where there is none, the one that has been silent for longest makes it; and if everybody has
        said what they want, the newest has to go. A pool that has all it may have gets no room from
        another.
        """
        clients = int(self._most * CLIENTS_SHARE)
        has_enough = self._clients_of[pool] >= _for_one(clients)
        if has_enough or len(self._clients) >= clients or not self.has_place(pool):
            self._tell()
            oldest = self._silent.oldest
            if oldest is None or (has_enough and self._clients[oldest] != pool):
                return False
            self._silent.enter(guest, len(self._silent))
        else:
            self._silent.enter(guest, self._most)
        self._clients[guest] = pool
        self._clients_of[pool] += 1
        return True

    def spoke(self, guest: SilentConnection) -> None:
        """It has said what it wants."""
        self._silent.leave(guest)

    def leave(self, guest: SilentConnection) -> None:
        """It has gone."""
        self._silent.leave(guest)
        pool = self._clients.pop(guest, None)
        if pool is not None:
            self._clients_of[pool] -= 1
        self._freed()

    def has_place(self, pool: str) -> bool:
        """Whether one more connection of a pool can be opened: of a client, or to its pod."""
        taken = self._clients_of[pool] + self._joined_of[pool]
        return taken < _for_one(self._most) and len(self._clients) + self._joined < self._most

    def join(self, pool: str) -> None:
        """A connection to a pool's pod is opened."""
        self._joined += 1
        self._joined_of[pool] += 1

    def part(self, pool: str) -> None:
        """A connection to a pool's pod has gone."""
        self._joined -= 1
        self._joined_of[pool] -= 1
        self._freed()

    def when_free(self, act: Callable[[], None]) -> None:
        """Call this once, as soon as something has gone."""
        self._when_free[act] = None

    def wrote(self, guest: Written) -> None:
        """Something was written to one of its sides, and may stay in the kernel for long.

        To be called again only after it has settled.
        """
        self._written.append(guest)
        if self._settling is None:
            self._settling = asyncio.get_running_loop().call_later(SETTLE_EVERY, self._settle)

    def _settle(self) -> None:
        self._settling = None
        for _ in range(min(len(self._written), SETTLED_AT_ONCE)):
            guest = self._written.popleft()
            if not guest.settle():
                self._written.append(guest)
        if self._written:
            self._settling = asyncio.get_running_loop().call_later(SETTLE_EVERY, self._settle)

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
            "%d files (RLIMIT_NOFILE) and %d MiB of memory: new clients are closed",
            len(self._clients),
            self._joined,
            self._files,
            self._memory >> 20,
        )
