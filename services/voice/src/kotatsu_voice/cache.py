"""Speech within a bound of bytes."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Something that takes memory."""

    size: int


V = TypeVar("V", bound=Sized)


class ByteCache(Generic[V]):
    """The least recently used goes first once all values together exceed `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._entries: OrderedDict[Hashable, V] = OrderedDict()

    def get(self, key: Hashable) -> V | None:
        """The value, which is now the most recently used."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key]

    def put(self, key: Hashable, value: V) -> list[V]:
        """Keep it as the most recently used, unless it alone is larger than everything may be.

        Returns what had to go for it.
        """
        self.pop(key)
        if value.size > self.limit:
            return []
        self.size += value.size
        self._entries[key] = value
        gone = []
        while self.size > self.limit:
            _, oldest = self._entries.popitem(last=False)
            self.size -= oldest.size
            gone.append(oldest)
        return gone

    def pop(self, key: Hashable) -> None:
        """Keep it no longer."""
        value = self._entries.pop(key, None)
        if value is not None:
            self.size -= value.size
