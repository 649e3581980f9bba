"""How much memory a process keeps of each namespace, and when that is too much.

Bounds of single objects do not bound a namespace, in which there may be any number of them. So what
a cache stores is weighed (decision 105). A namespace over its share is too large: its objects are
dropped, and nothing is decided there, until they are listed again after a while.
"""

import asyncio
import logging
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Mapping
from dataclasses import is_dataclass
from enum import Enum
from math import inf
from typing import Any

log = logging.getLogger(__name__)

BESIDE = 1_200
"""Bytes that an index needs for an object, beside the object."""

FIRST_TRY, LONGEST_PAUSE = 30.0, 600.0
"""Seconds until the objects of a namespace that was too large are listed again: doubled each time,
until it has been small enough for the longest pause."""


class Retained:
    """Weighs what is kept, by namespace.

    `total` is in bytes, and `each` the percent of them that one namespace may have. Over the total,
    the largest namespace is too large; those that are `apart` neither count nor become so by the
    others. `on_change` is called with each namespace that has become too large, or is to be tried
    again.
    """

    def __init__(
        self,
        total: float = inf,
        each: float = 100,
        apart: Container[str] = (),
        on_change: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._total, self._each, self._apart = total, total * each / 100, apart
        self.on_change = on_change
        self.full: dict[str, str] = {}
        """The namespaces that are too large, with the kind of which they have the most bytes."""
        self._sizes: defaultdict[str, dict[tuple[str, str], int]] = defaultdict(dict)
        """By namespace: the bytes of each object by its kind and name."""
        self._sums: Counter[str] = Counter()
        """The bytes of each namespace."""
        self._sum = 0
        """The bytes of those that are not apart and not too large."""
        self._tries: dict[str, tuple[float, float, str]] = {}
        """When a namespace was last tried again, in loop time, after how many seconds, and the kind
        of which it had the most bytes."""

    def why_full(self, namespace: str, program: str) -> str:
        """Why a namespace is, or was before it was tried again, too large for a program."""
        most = self.full.get(namespace) or self._tries[namespace][2]
        return (
            f"the objects of namespace {namespace} need more memory than {program} has for one "
            f"namespace, most of it for objects of kind {most}"
        )

    def was_full(self, namespace: str) -> bool:
        """Whether a namespace has been too large, and is tried again."""
        return namespace in self._tries

    def bytes_of(self, namespace: str) -> int:
        """The estimated bytes of a namespace."""
        return self._sums[namespace]

    def weigh(self, namespace: str, kind: str, name: str, kept: object, beside: int = 0) -> None:
        """Count what is kept of an object now; None if that is nothing.

        `beside` are bytes that the process needs for it elsewhere.
        """
        sizes, key = self._sizes[namespace], (kind, name)
        before = sizes.pop(key, 0)
        if kept is not None:
            sizes[key] = size_of(kept) + BESIDE + beside
        self._count(namespace, sizes.get(key, 0) - before)
        if not sizes:
            del self._sizes[namespace], self._sums[namespace]
        self._judge(namespace)

    def _judge(self, namespace: str) -> None:
        if namespace not in self.full and self._sums[namespace] > self._each:
            self._fill(namespace)
        while self._sum > self._total:
            self._fill(max(filter(self._is_counted, self._sums), key=self._sums.__getitem__))

    def forget(self, namespace: str) -> None:
        """Nothing is kept of a namespace any more."""
        for kind, name in list(self._sizes.get(namespace, ())):
            self.weigh(namespace, kind, name, None)

    def _is_counted(self, namespace: str) -> bool:
        return namespace not in self._apart and namespace not in self.full

    def _count(self, namespace: str, more: int) -> None:
        self._sums[namespace] += more
        if self._is_counted(namespace):
            self._sum += more

    def _fill(self, namespace: str) -> None:
        kinds = Counter[str]()
        for (kind, _), size in self._sizes[namespace].items():
            kinds[kind] += size
        if self._is_counted(namespace):
            self._sum -= self._sums[namespace]
        most = self.full[namespace] = kinds.most_common(1)[0][0]
        loop = asyncio.get_running_loop()
        tried, pause, _ = self._tries.pop(namespace, (-inf, 0.0, ""))
        is_again = loop.time() - tried < LONGEST_PAUSE
        pause = min(2 * pause, LONGEST_PAUSE) if is_again else FIRST_TRY
        log.warning(
            "namespace %s needs %d KiB of memory, most of it for objects of kind %s: nothing is "
            "decided there; its objects are listed again in %.0f s",
            *(namespace, self._sums[namespace] >> 10, most, pause),
        )
        loop.call_later(pause, self._try, namespace, pause)
        self.on_change(namespace)

    def _try(self, namespace: str, pause: float) -> None:
        most = self.full.pop(namespace)
        if self._is_counted(namespace):
            self._sum += self._sums[namespace]
        self._tries[namespace] = (asyncio.get_running_loop().time(), pause, most)
        self._judge(namespace)
        if namespace not in self.full:
            self.on_change(namespace)


def size_of(value: object) -> int:
    """The bytes of a value and of all that is in it, as far as it is data.

    Without recursion: how deep an object is, is up to its author.
    """
    total, rest, seen = 0, [value], set[int]()
    while rest:
        part: Any = rest.pop()
        if part is None or isinstance(part, bool | Enum) or id(part) in seen:
            continue
        seen.add(id(part))
        total += sys.getsizeof(part)
        if type(part) is str:  # most are
            continue
        if isinstance(part, Mapping):
            rest += part.keys()
            rest += part.values()
        elif isinstance(part, list | tuple | set | frozenset):
            rest += part
        elif is_dataclass(part):
            slots = getattr(part, "__slots__", None)
            if slots is None:
                total += sys.getsizeof(vars(part))
                rest += vars(part).values()
            else:
                rest += (getattr(part, slot) for slot in slots)
    return total
