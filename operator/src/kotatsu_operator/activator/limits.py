"""The limit on an activator's connections and their memory, for all its pools together.

At its file limit, a process can accept no client, connect to no pod and not even call the API
server; at its memory limit it is killed. So the activator rejects connections before that.
"""

import asyncio
import logging
import resource
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kotatsu_operator.activator.splice import Client


class KeptBytes:
    """The bytes buffered for all connections; above `most`, the one with the most is evicted.

    They are counted as they change: a limit that is only checked when a connection arrives would
    not cover what it sends later. Among those of about the same size, the oldest is evicted.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.total = 0
        self._bytes: dict[Client, int] = {}
        self._by_size: list[dict[Client, None]] = [{} for _ in range(64)]
        """Connections by the number of binary digits of their bytes: neither counting nor evicting
        needs a pass over all of them."""

    def keep(self, keeper: "Client", number: int) -> None:
        before = self._bytes.get(keeper, 0)
        if number == before:
            return
        self.total += number - before
        old, new = self._class(before), self._class(number)
        if number:
            self._bytes[keeper] = number
        else:
            del self._bytes[keeper]
        if old is not new or not number:
            old.pop(keeper, None)
        if number:
            new[keeper] = None
        while self.total > self.most:
            self._evict()

    def _class(self, number: int) -> dict["Client", None]:
        return self._by_size[number.bit_length()]

    def _evict(self) -> None:
        largest = next(filter(None, reversed(self._by_size)))
        victim = next(iter(largest))
        self.keep(victim, 0)  # first: evicted() may call keep() for it too
        victim.owner.evicted(victim)


log = logging.getLogger(__name__)

RESERVED = 128
"""Open files reserved for everything else: listeners, watches, probes, scrapes."""

MOST_FILES = 2**16
"""One Python process cannot serve more connections than this."""

MOST_MEMORY = 2**30
"""Bytes. Without a memory limit, an activator is given its node's memory, and needs no more than
this."""

OWN = 80 * 2**20
"""Bytes of memory for everything but connections: the program and its cache of pools."""

EACH = 12 * 1024
"""Bytes of memory of an open connection without buffered bytes, in process and kernel."""

SETTLE_EVERY, SETTLED_AT_ONCE = 0.1, 256
"""Seconds between two checks of the kernel's buffers for connections that were written to, and how
many are checked at once: that takes about a millisecond."""

CLIENTS_SHARE = 0.75
"""The share of connections for clients; the rest is for pods, without which no client is served."""

WARN_EVERY = 10.0
"""Seconds between two log lines about the limit."""


def raise_file_limit() -> int:
    """Raise the process's limit of open files as far as allowed and useful; returns the limit."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if most == resource.RLIM_INFINITY else min(most, MOST_FILES)
    if allowed == resource.RLIM_INFINITY or allowed >= wanted:
        return MOST_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    return wanted


def _for_one(places: int) -> int:
    """The share of these connections that one pool may use; the rest is for other pools."""
    return places - places // 16


class ConnectionLimit:
    """Counts an activator's connections against its limits of open files and memory.

    Of the memory (in bytes) beyond its own use, one half is for the connections themselves, a
    quarter for their buffered bytes, and a quarter for bytes that are not counted yet.
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
        self._written: deque[Client] = deque()
        self._settling: asyncio.TimerHandle | None = None
        self._clients: dict[Client, str] = {}
        """The admitted clients, with their pool."""
        self._silent: dict[Client, None] = {}
        """Those that have not sent their first bytes, the oldest first."""
        self._clients_of: Counter[str] = Counter()
        self._joined_of: Counter[str] = Counter()
        self._joined = 0
        self._clock = clock
        self._warned_at = float("-inf")
        self._when_free: dict[Callable[[], None], None] = {}

    def enter(self, client: "Client", pool: str) -> bool:
        """Admit a client of a pool; returns whether it was admitted.

        At the limit, the oldest silent connection is evicted (real clients send within
        milliseconds), but never another pool's for a pool at its own limit. Otherwise the new one
        is rejected.
        """
        most = int(self._most * CLIENTS_SHARE)
        has_enough = self._clients_of[pool] >= _for_one(most)
        if has_enough or len(self._clients) >= most or not self.has_place(pool):
            self._warn()
            oldest = next(iter(self._silent), None)
            if oldest is None or (has_enough and self._clients[oldest] != pool):
                return False
            del self._silent[oldest]
            oldest.close()
        self._silent[client] = None
        self._clients[client] = pool
        self._clients_of[pool] += 1
        return True

    def spoke(self, client: "Client") -> None:
        """The client has sent its first bytes: it is not silent any more."""
        self._silent.pop(client, None)

    def leave(self, client: "Client") -> None:
        self._silent.pop(client, None)
        pool = self._clients.pop(client, None)
        if pool is not None:
            self._clients_of[pool] -= 1
        self._freed()

    def has_place(self, pool: str) -> bool:
        """Whether one more connection of a pool may be opened, from a client or to its pod."""
        taken = self._clients_of[pool] + self._joined_of[pool]
        return taken < _for_one(self._most) and len(self._clients) + self._joined < self._most

    def join(self, pool: str) -> None:
        """A connection to a pool's pod is being opened."""
        self._joined += 1
        self._joined_of[pool] += 1

    def part(self, pool: str) -> None:
        """A connection to a pool's pod has ended."""
        self._joined -= 1
        self._joined_of[pool] -= 1
        self._freed()

    def when_free(self, act: Callable[[], None]) -> None:
        """Call `act` once, when the next connection ends."""
        self._when_free[act] = None

    def wrote(self, client: "Client") -> None:
        """Bytes were written to one of its sides; not to be called again before it has settled."""
        self._written.append(client)
        if self._settling is None:
            self._settling = asyncio.get_running_loop().call_later(SETTLE_EVERY, self._settle)

    def _settle(self) -> None:
        self._settling = None
        for _ in range(min(len(self._written), SETTLED_AT_ONCE)):
            client = self._written.popleft()
            if not client.settle():
                self._written.append(client)
        if self._written:
            self._settling = asyncio.get_running_loop().call_later(SETTLE_EVERY, self._settle)

    def _freed(self) -> None:
        if self._when_free:
            waiting, self._when_free = self._when_free, {}
            for act in waiting:
                act()

    def _warn(self) -> None:
        if self._clock() - self._warned_at < WARN_EVERY:
            return
        self._warned_at = self._clock()
        log.warning(
            "at the limit: %d clients and %d connections to pods are open, with limits of %d files "
            "(RLIMIT_NOFILE) and %d MiB of memory: closing new clients",
            len(self._clients),
            self._joined,
            self._files,
            self._memory >> 20,
        )
