"""Lists and watches that fill the cache: one stream for each kind and namespace."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from kotatsu_operator.controller.cache.store import Cache, Concerned
from kotatsu_operator.kube.client import Kube, follow_forever
from kotatsu_operator.kube.errors import is_answer
from kotatsu_operator.kube.objects import Key, key_of
from kotatsu_operator.kube.resources import (
    Deployment,
    EndpointSlice,
    HorizontalPodAutoscaler,
    Object,
    Pod,
    Service,
)

log = logging.getLogger(__name__)

TURN = 0.002
"""Seconds of work on a list after which the event loop runs other tasks. A list can have thousands
of objects, and the cost of each depends on how many others there are."""

T = TypeVar("T")


@dataclass(frozen=True)
class Feed:
    """How the objects of one kind get into the cache."""

    kind: Any
    keep: Callable[[Object], Concerned]
    """Stores an object; returns the pools that the change concerns."""
    forget: Callable[[Key], Concerned]
    known: Callable[[str], Iterable[Key]]
    """The stored objects of a namespace."""


def feeds_of(cache: Cache) -> list[Feed]:
    """The kinds besides WarmPools that decisions depend on; every cluster has them."""

    def keys_of(store: Iterable[Key]) -> Callable[[str], Iterable[Key]]:
        return lambda namespace: [key for key in store if key[0] == namespace]

    def pods_in(namespace: str) -> Iterable[Key]:
        return [(namespace, name) for name in cache.pods[namespace]]

    return [
        Feed(
            Deployment, cache.keep_deployment, cache.forget_deployment, keys_of(cache.deployments)
        ),
        Feed(Pod, cache.keep_pod, cache.forget_pod, pods_in),
        Feed(EndpointSlice, cache.keep_slice, cache.forget_slice, cache.slices_in),
        Feed(Service, cache.keep_service, cache.forget_service, keys_of(cache.services)),
        Feed(
            HorizontalPodAutoscaler,
            cache.keep_autoscaler,
            cache.forget_autoscaler,
            keys_of(cache.autoscalers),
        ),
    ]


async def in_turns(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield the items; let the event loop run every few milliseconds."""
    clock = asyncio.get_running_loop().time
    until = clock() + TURN
    for item in items:
        yield item
        if clock() >= until:
            await asyncio.sleep(0)
            until = clock() + TURN


class Streams:
    """Watches some kinds in some namespaces; calls `touch` for each pool that a change concerns.

    When a stream lists again, objects that are not in the list are removed from the cache: their
    deletion was missed. `began_anew(namespace)` is called then. `complete(namespace)` is called
    when everything in a namespace has been listed for the first time.
    """

    def __init__(
        self,
        kube: Kube,
        feeds: Iterable[Feed],
        namespaces: Sequence[str],
        touch: Callable[[Key], None],
        began_anew: Callable[[str], None] = lambda _: None,
        complete: Callable[[str], None] = lambda _: None,
        *,
        may_go: bool = False,
    ) -> None:
        # A watch occupies its connection. So each namespace has its own pool, and no call waits.
        self._kubes = {namespace: kube.apart() for namespace in namespaces}
        self._feeds = list(feeds)
        self._touch = touch
        self._began_anew = began_anew
        self._may_go = may_go
        self._complete = complete
        self._missing = {(n, feed.kind.__name__) for n in namespaces for feed in self._feeds}
        self._refused: set[tuple[str, str]] = set()
        """The entries of `_missing` that the API server has rejected."""
        self._synced = asyncio.Event()

    @property
    def missing(self) -> list[str]:
        """What has not been listed yet, in text form: "Pod in demo"."""
        return [f"{kind} in {namespace}" for namespace, kind in sorted(self._missing)]

    @property
    def awaited(self) -> list[str]:
        """The entries of `missing` that the API server has not rejected either."""
        waiting = sorted(self._missing - self._refused)
        return [f"{kind} in {namespace}" for namespace, kind in waiting]

    def shows(self, namespace: str) -> bool:
        """Whether everything in a namespace has been listed once."""
        return all(n != namespace for n, _ in list(self._missing))

    async def synced(self) -> None:
        """Wait until everything has been listed once or was rejected.

        A deleted namespace or a missing Role must not block the other namespaces.
        """
        await self._synced.wait()

    async def run(self) -> None:
        """Watch until cancelled.

        With `may_go`, raises an exception group with NotFoundError when a kind is no longer served.
        """
        async with asyncio.TaskGroup() as tasks:
            for namespace, kube in self._kubes.items():
                for feed in self._feeds:
                    into = self._into(feed, namespace)
                    tasks.create_task(
                        follow_forever(
                            kube,
                            feed.kind,
                            namespace,
                            into,
                            on_error=self._refusals(feed, namespace),
                            may_go=self._may_go,
                        ),
                        name=f"watch {feed.kind.__name__} in {namespace}",
                    )

    def _refusals(self, feed: Feed, namespace: str) -> Callable[[Exception], None]:
        entry = (namespace, feed.kind.__name__)

        def note(error: Exception) -> None:
            if is_answer(error) and entry in self._missing:
                self._refused.add(entry)
                self._note_sync()

        return note

    def _note_sync(self) -> None:
        if self._missing <= self._refused:
            self._synced.set()

    def _into(
        self, feed: Feed, namespace: str
    ) -> Callable[[str, Object], Coroutine[Any, Any, None] | None]:
        def apply(change: str, obj: Object) -> Coroutine[Any, Any, None] | None:
            if change == "LIST":
                return self._take_list(feed, namespace, obj["items"])
            if change == "DELETED":
                self._tell(feed.forget(key_of(obj)))
            else:
                self._keep(feed, obj)
            return None

        return apply

    async def _take_list(self, feed: Feed, namespace: str, items: list[Object]) -> None:
        there = {key_of(item) for item in items}
        async for key in in_turns(set(feed.known(namespace)) - there):
            self._tell(feed.forget(key))
        async for item in in_turns(items):
            self._keep(feed, item)
        entry = (namespace, feed.kind.__name__)
        if entry not in self._missing:
            self._began_anew(namespace)
            return
        self._missing.discard(entry)
        self._refused.discard(entry)
        self._note_sync()
        if self.shows(namespace):
            self._complete(namespace)

    def _keep(self, feed: Feed, obj: Object) -> None:
        try:
            concerned = feed.keep(obj)
        except Exception:
            # An unexpected object must not affect the other pools.
            log.exception("cannot read %s %s/%s; it is left out", feed.kind.__name__, *key_of(obj))
            return
        self._tell(concerned)

    def _tell(self, concerned: Concerned) -> None:
        for key in concerned:
            self._touch(key)
