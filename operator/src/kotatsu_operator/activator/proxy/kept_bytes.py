"""The bytes that an activator buffers for its connections, for all its pools together.

They are counted as they change: bytes of a client without a pod, bytes that a side has not read
yet, and the kernel's buffer of a side that the activator does not read. A limit that is only
checked when a connection arrives would not cover what it sends later.
"""

from typing import Protocol


class Keeper(Protocol):
    """A connection with buffered bytes."""

    def evict(self) -> None:
        """Release the bytes at once: the memory is exhausted."""


class KeptBytes:
    """The sum for all connections; above `most`, the connection with the most bytes is evicted.

    Among those of about the same size, within a factor of two, the oldest is evicted.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.total = 0
        self._bytes: dict[Keeper, int] = {}
        self._by_size: list[dict[Keeper, None]] = [{} for _ in range(64)]
        """Connections by the number of binary digits of their bytes: neither counting nor evicting
        needs a pass over all of them."""

    def keep(self, keeper: Keeper, number: int) -> None:
        """Set the number of bytes buffered for a connection."""
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
        self.keep(victim, 0)  # first: evict() may call keep() for it too
        victim.evict()
