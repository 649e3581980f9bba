"""A dict that also finds its values by index terms, without a scan."""

from collections import UserDict, defaultdict
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Indexed(UserDict[K, V], Generic[K, V]):
    """Values by key, with an index: `terms(value)` returns the terms of a value."""

    def __init__(self, terms: Callable[[V], Iterable[Hashable]]) -> None:
        self._terms = terms
        # A dict as an ordered set of keys: a set has no order.
        self._keys: defaultdict[Hashable, dict[K, None]] = defaultdict(dict)
        self._found_by: dict[K, set[Hashable]] = {}
        super().__init__()

    def __setitem__(self, key: K, value: V) -> None:
        before, after = self._found_by.get(key, set()), set(self._terms(value))
        self._found_by[key] = after
        self._drop(key, before - after)
        for term in after - before:
            self._keys[term][key] = None
        self.data[key] = value

    def __delitem__(self, key: K) -> None:
        del self.data[key]
        self._drop(key, self._found_by.pop(key))

    def having(self, term: Hashable) -> list[K]:
        """The keys of the values with this term."""
        return list(self._keys.get(term, ()))

    def count(self, term: Hashable) -> int:
        """How many values have this term."""
        return len(self._keys.get(term, ()))

    def _drop(self, key: K, terms: Iterable[Hashable]) -> None:
        for term in terms:
            keys = self._keys[term]
            keys.pop(key, None)
            if not keys:
                del self._keys[term]
