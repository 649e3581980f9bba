"""How many bytes an activator keeps for its connections, those of all its pools together.

Counted while they are kept: what a client has sent and no pod has, what a side has yet to take, and
what the kernel may take of a side that is not read. A bound that is asked only as a connection
arrives would say nothing of what it sends later.
"""

from typing import Protocol


class Keeper(Protocol):
    """A connection for which bytes are kept."""

    def evict(self) -> None:
        """Let go of them at once: there is no more memory."""


class KeptBytes:
    """The sum for all connections; where it passes `most`, the one that keeps most is evicted.

    Of those that keep about as much, within a factor of two, it is the one that has for longest.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.total = 0
        self._bytes: dict[Keeper, int] = {}
        self._by_size: list[dict[Keeper, None]] = [{} for _ in range(64)]
        """Those whose bytes have so many binary digits: neither counting nor evicting looks at
        all of them."""

    def keep(self, keeper: Keeper, number: int) -> None:
        """So many bytes are kept for it now."""
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

    def _class(self, number: int) -> dict[Keeper, None]:
        return self._by_size[number.bit_length()]

    def _evict(self) -> None:
        largest = next(filter(None, reversed(self._by_size)))
        victim = next(iter(largest))
        self.keep(victim, 0)  # first: it may say so itself while it goes
        victim.evict()
