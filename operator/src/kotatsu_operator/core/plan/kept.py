"""A cache that is limited by the size of what it keeps, and not by the number of results.

Everybody who may write a WarmPool chooses how large its results are: a schedule has one opening a
week or 1,440 a day.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(Generic[K, V]):
    """Results by key, of at most `most` together; those not used for the longest time go first.

    `size` says how large a result is. The latest result is always kept. For several threads.
    """

    def __init__(self, most: int, size: Callable[[K, V], int]) -> None:
        self._most, self._size_of = most, size
        self._lock = threading.Lock()
        self._results: OrderedDict[K, V] = OrderedDict()
        self.size = 0

    def get(self, key: K) -> V | None:
        with self._lock:
            found = self._results.get(key)
            if found is not None:
                self._results.move_to_end(key)
            return found

    def put(self, key: K, result: V) -> None:
        """Keep a result in place of the one with this key."""
        with self._lock:
            before = self._results.pop(key, None)
            if before is not None:
                self.size -= self._size_of(key, before)
            self._results[key] = result
            self.size += self._size_of(key, result)
            while self.size > self._most and len(self._results) > 1:
                self.size -= self._size_of(*self._results.popitem(last=False))
