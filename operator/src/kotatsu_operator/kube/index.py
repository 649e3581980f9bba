"""Indexes: values by terms, pods by their labels, and selectors by the labels that they select."""

from collections import UserDict, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from kotatsu_operator.core.objects import selects
from kotatsu_operator.kube.pod import PodView

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
        return list(self._keys.get(term, ()))

    def count(self, term: Hashable) -> int:
        return len(self._keys.get(term, ()))

    def _drop(self, key: K, terms: Iterable[Hashable]) -> None:
        for term in terms:
            keys = self._keys[term]
            keys.pop(key, None)
            if not keys:
                del self._keys[term]


Selector = Mapping[str, Any]
"""A label selector: matchLabels and matchExpressions."""

_ANY = ("", "")
"""The index term of a selector without matchLabels."""


class Pods(Indexed[str, PodView]):
    """The pods of one namespace, by name."""

    def __init__(self) -> None:
        super().__init__(lambda pod: pod.labels.items())

    def selected_by(self, selector: Selector) -> list[PodView]:
        return list(self._selected_by(selector))

    def any_selected_by(self, selector: Selector) -> bool:
        return next(self._selected_by(selector), None) is not None

    def _selected_by(self, selector: Selector) -> Iterator[PodView]:
        labels = list((selector.get("matchLabels") or {}).items())
        # The rarest label leaves the fewest pods. A selector without labels has only expressions.
        names = self.having(min(labels, key=self.count)) if labels else list(self)
        return (self[name] for name in names if selects(selector, self[name].labels))


class Selectors(Indexed[K, Selector]):
    """The label selectors of one namespace, by the key of their object."""

    def __init__(self) -> None:
        super().__init__(lambda selector: [_handle(selector)])

    def picking(self, labels: Mapping[str, str]) -> list[K]:
        """The keys of the selectors that select a pod with these labels."""
        return [
            key
            for handle in (*labels.items(), _ANY)
            for key in self.having(handle)
            if selects(self[key], labels)
        ]


def _handle(selector: Selector) -> tuple[str, str]:
    """The index term of a selector: one label that every selected pod has."""
    return min((selector.get("matchLabels") or {}).items(), default=_ANY)
