"""Indexes: pods by their labels, and selectors by the labels that they select."""

from collections.abc import Hashable, Iterator, Mapping
from typing import Any, TypeVar

from kotatsu_operator.kube.indexed import Indexed
from kotatsu_operator.kube.objects import selects
from kotatsu_operator.kube.pod import PodView

Selector = Mapping[str, Any]
"""A label selector: matchLabels and matchExpressions."""

_ANY = ("", "")
"""The index term of a selector without matchLabels."""

K = TypeVar("K", bound=Hashable)


class Pods(Indexed[str, PodView]):
    """The pods of one namespace, by name."""

    def __init__(self) -> None:
        super().__init__(lambda pod: pod.labels.items())

    def selected_by(self, selector: Selector) -> list[PodView]:
        """The pods that a selector selects."""
        return list(self._selected_by(selector))

    def any_selected_by(self, selector: Selector) -> bool:
        """Whether a selector selects any pod."""
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
