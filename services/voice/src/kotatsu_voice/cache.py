"""Speech that was made before, within a bound."""

from collections import OrderedDict
from collections.abc import Hashable


class ByteCache:
    """The least recently used goes first once all values together exceed `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._entries: OrderedDict[Hashable, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> bytes | None:
        """The value, which is now the most recently used."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key]

    def put(self, key: Hashable, value: bytes) -> None:
        """Keep it, unless it alone is larger than everything may be."""
        if len(value) > self.limit:
            return
        self.size += len(value) - len(self._entries.pop(key, b""))
        self._entries[key] = value
        while self.size > self.limit:
            _, oldest = self._entries.popitem(last=False)
            self.size -= len(oldest)
