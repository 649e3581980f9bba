"""The limit on an activator's connections and their memory, for all its pools together.

At its file limit, a process can accept no client, connect to no pod and not even call the API
server; at its memory limit it is killed. So the activator rejects connections before that.
"""

import asyncio
import logging
import resource
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable

from kotatsu_operator.activator.splice import Client
from kotatsu_operator.kube.retained import Retained


class _Kept:
    """The connections of a namespace with buffered bytes."""

    def __init__(self) -> None:
        self.total = 0
        self._by_size: defaultdict[int, dict[Client, None]] = defaultdict(dict)
        """By the number of binary digits of their bytes: neither counting nor evicting needs a pass
        over all of them."""

    def change(self, client: Client, before: int, now: int) -> None:
        self.total += now - before
        old, new = before.bit_length(), now.bit_length()
        if before and old != new:
            del self._by_size[old][client]
            if not self._by_size[old]:
                del self._by_size[old]
        if now:
            self._by_size[new][client] = None

    @property
    def largest(self) -> Client:
        """The connection with the most; of those of about the same size the oldest."""
        return next(iter(self._by_size[max(self._by_size)]))


class KeptBytes:
    """The bytes buffered for all connections.

    Above `most`, the connection with the most is evicted, in the namespace with the most. They are
    counted as they change: a limit that is only checked when a connection arrives would not cover
    what it sends later.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.total = 0
        self._bytes: dict[Client, int] = {}
        self._of: dict[str, _Kept] = {}
        """By namespace."""

    def keep(self, client: Client, number: int) -> None:
        before = self._bytes.get(client, 0)
        if number == before:
            return
        self.total += number - before
        if number:
            self._bytes[client] = number
        else:
            del self._bytes[client]
        namespace = client.owner.namespace
        of = self._of.setdefault(namespace, _Kept())
        of.change(client, before, number)
        if not of.total:
            del self._of[namespace]
        while self.total > self.most:
            victim = max(self._of.values(), key=lambda of: of.total).largest
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

ALONE = 0.75
"""The share of its memory that an activator of one namespace may use for the objects there."""

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
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    return wanted


EVICTED_AT_ONCE = 16
"""Connections of a namespace that has too many, to evict at a time: choosing takes a pass over all
of them."""

PoolKey = tuple[str, str]
"""The namespace and name of a pool."""


def _for_one(places: int) -> int:
    """The share of these connections that one pool or namespace may use, beside others."""
    return places - places // 16


class ConnectionLimit:
    """Counts an activator's connections against its limits of open files and memory.

    Of the memory (in bytes) beyond its own use, one half is for the connections themselves, a
    quarter for their buffered bytes, and a quarter for bytes that are not counted yet. An activator
    that namespaces share may use half of its memory for the objects that it knows (`retained`), and
    `each` percent of it for those of one namespace. One namespace alone may use more: it has the
    connections too.
    """

    def __init__(
        self,
        files: int = MOST_FILES,
        clock: Callable[[], float] = time.monotonic,
        memory: int = MOST_MEMORY,
        *,
        is_shared: bool = False,
        each: int = 50,
        home: str = "",
    ) -> None:
        """`home` is the namespace of the release."""
        memory = min(memory, MOST_MEMORY)
        own = max(OWN, memory // 2) if is_shared else OWN
        half = max(memory - own, memory // 4) // 2
        self._files, self._memory = files, memory
        self._most = min(max(files - RESERVED, files // 2), half // EACH)
        self.kept = KeptBytes(half // 2)
        self.retained = Retained(own, each, {home}) if is_shared else Retained(ALONE * memory)
        self._written: deque[Client] = deque()
        self._settling: asyncio.TimerHandle | None = None
        self._clients: dict[Client, PoolKey] = {}
        """The admitted clients, with their pool."""
        self._silent: defaultdict[str, dict[Client, None]] = defaultdict(dict)
        """Those that have not sent their first bytes, by namespace, the oldest first."""
        self._clients_of: Counter[PoolKey] = Counter()
        self._joined_of: Counter[PoolKey] = Counter()
        self._taken_of: Counter[str] = Counter()
        """The connections of each namespace, from clients and to pods."""
        self._joined = 0
        self._clock = clock
        self._warned_at = float("-inf")
        self._when_free: dict[Callable[[], None], None] = {}

    def enter(self, client: Client, pool: PoolKey) -> bool:
        """Admit a client of a pool; returns whether it was admitted.

        At the limit, a connection of the namespace with the most is evicted (see `_evict`), but
        never another pool's for a pool at its own limit. Otherwise the new one is rejected.
        """
        most = int(self._most * CLIENTS_SHARE)
        has_enough = self._clients_of[pool] >= _for_one(most)
        if has_enough or len(self._clients) >= most or not self.has_place(pool):
            self._warn()
            if not self._evict(pool, has_enough=has_enough):
                return False
        self._silent[pool[0]][client] = None
        self._clients[client] = pool
        self._count(self._clients_of, pool, 1)
        return True

    def _evict(self, pool: PoolKey, *, has_enough: bool) -> bool:
        """Make a place for a pool; returns whether there is one.

        The oldest silent connection goes first: real clients send within milliseconds. If there is
        none in the namespace with the most, and the pool's namespace has less than its share, held
        connections go, the newest first, and then those that have been quiet for longest.
        """
        namespace = pool[0]
        greatest = max(self._taken_of, key=self._taken_of.__getitem__)
        silent = next(iter(self._silent.get(greatest, ())), None)
        if silent is not None and (not has_enough or self._clients[silent] == pool):
            self._drop(silent)
            silent.close()
            return True
        share = self._most // len(self._taken_of)
        if has_enough or greatest == namespace or self._taken_of[namespace] >= share:
            return False
        there = [client for client, of in self._clients.items() if of[0] == greatest]
        for client in sorted(there, key=_worth)[:EVICTED_AT_ONCE]:
            self._drop(client)
            client.owner.evicted(client)
        return bool(there)

    def spoke(self, client: Client) -> None:
        """The client has sent its first bytes: it is not silent any more."""
        if client in self._clients:
            self._quieten(client, self._clients[client][0])

    def _quieten(self, client: Client, namespace: str) -> None:
        silent = self._silent[namespace]
        silent.pop(client, None)
        if not silent:
            del self._silent[namespace]

    def left(self, client: Client) -> None:
        self._drop(client)
        self._freed()

    def _drop(self, client: Client) -> None:
        pool = self._clients.pop(client, None)
        if pool is not None:
            self._quieten(client, pool[0])
            self._count(self._clients_of, pool, -1)

    def has_place(self, pool: PoolKey) -> bool:
        """Whether one more connection of a pool may be opened, from a client or to its pod.

        A namespace with more than its share leaves a sixteenth of them to others.
        """
        taken, all_taken = self._clients_of[pool] + self._joined_of[pool], self._taken
        others = len(self._taken_of.keys() | {pool[0]})
        if others > 1 and self._taken_of[pool[0]] >= self._most // others:
            return all_taken < _for_one(self._most)
        return taken < _for_one(self._most) and all_taken < self._most

    @property
    def _taken(self) -> int:
        return len(self._clients) + self._joined

    def join(self, pool: PoolKey) -> None:
        """A connection to a pool's pod is being opened."""
        self._joined += 1
        self._count(self._joined_of, pool, 1)

    def part(self, pool: PoolKey) -> None:
        """A connection to a pool's pod has ended."""
        self._joined -= 1
        self._count(self._joined_of, pool, -1)
        self._freed()

    def _count(self, counted: Counter[PoolKey], pool: PoolKey, number: int) -> None:
        # Without a count of 0: pools and namespaces come and go.
        counted[pool] += number
        self._taken_of[pool[0]] += number
        if not counted[pool]:
            del counted[pool]
        if not self._taken_of[pool[0]]:
            del self._taken_of[pool[0]]

    def when_free(self, act: Callable[[], None]) -> None:
        """Call `act` once, when the next connection ends."""
        self._when_free[act] = None

    def wrote(self, client: Client) -> None:
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
            *(len(self._clients), self._joined, self._files, self._memory >> 20),
        )


def _worth(client: Client) -> tuple[bool, float]:
    """The order in which connections are evicted."""
    is_joined = client.upstream is not None
    return is_joined, client.traffic.used_at if is_joined else -client.since
