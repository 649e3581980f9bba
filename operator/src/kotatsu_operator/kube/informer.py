"""The informer of operator and activator: lists, watches, and the indexes of their caches."""

import asyncio
import logging
import sys
from collections import UserDict, defaultdict
from collections.abc import (
    Awaitable,
    Callable,
    Hashable,
    ItemsView,
    Iterable,
    Iterator,
    Mapping,
    ValuesView,
)
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

from lightkube.core.resource import NamespacedResourceG

from kotatsu_operator.core.objects import selects
from kotatsu_operator.kube.client import (
    EVERYWHERE,
    RENEWED,
    WATCH_SECONDS,
    Keeps,
    Kube,
    everything,
)
from kotatsu_operator.kube.errors import NotFoundError, Unreachable, is_answer
from kotatsu_operator.kube.objects import Object, key_of, named, version_of
from kotatsu_operator.kube.views import PodView
from kotatsu_operator.runtime.loop import CHECK_SECONDS, TURN, kept, started_in

log = logging.getLogger(__name__)

CLUSTER = ""
"""The scope of kinds that have no namespace."""

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds before a kind is listed again: doubled each time, until a watch lasts longer."""

STOPPED_SECONDS = WATCH_SECONDS + 8
"""Seconds without a change or a renewal after which a watch has stopped, whatever it waits for."""

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
V = TypeVar("V")


def no_signal(*_: object) -> None:
    """Ignore a signal of an informer."""


@dataclass(frozen=True)
class Feed(Generic[K]):
    """How the objects of one kind get into a cache."""

    kind: Any
    keep: Callable[[Object], Iterable[K]]
    """Stores an object; returns what the change concerns (for example pools)."""
    forget: Callable[[Any], Iterable[K]]
    known: Callable[[str], Iterable[Any]]
    """The stored objects of a namespace, or of EVERYWHERE."""
    key: Callable[[Object], Any] = key_of
    """What `forget` and `known` call an object."""
    weigh: Callable[[str, Any], None] = no_signal
    """Called with the kind and what it calls an object, after that has been kept or forgotten."""

    @property
    def name(self) -> str:
        return str(self.kind.__name__)

    def steps(self, namespace: str, change: str, obj: Object) -> Iterator[Iterable[K]]:
        """Apply one change of `Kube.follow`, object by object; yields what each step concerns.

        Stored objects that are not in a list are removed: their deletion was missed.
        """
        if change == "PART":
            yield from map(self._keep, obj["items"])
        elif change == "LIST":
            there = {self.key(item) for item in (*obj["items"], *obj.get("before", ()))}
            yield from map(self._forget, set(self.known(namespace)) - there)
            yield from map(self._keep, obj["items"])
        elif change == "DELETED":
            yield self._forget(self.key(obj))
        elif change in ("ADDED", "MODIFIED"):
            yield self._keep(obj)

    def _keep(self, obj: Object) -> Iterable[K]:
        try:
            concerned = self.keep(obj)
        except Exception:
            # An unexpected object must not affect the others.
            log.exception("cannot read %s %s/%s: ignoring it", self.name, *key_of(obj))
            return ()
        self.weigh(self.name, self.key(obj))
        return concerned

    def _forget(self, key: Any) -> Iterable[K]:
        concerned = self.forget(key)
        self.weigh(self.name, key)
        return concerned


def among(store: Iterable[tuple[str, str]]) -> Callable[[str], Iterable[tuple[str, str]]]:
    """The keys of a store by namespace; all of them for EVERYWHERE."""
    return lambda namespace: [key for key in store if namespace in (EVERYWHERE, key[0])]


class Informer(Generic[K]):
    """Watches some kinds of the cluster, with a client that is for its watches alone.

    `touch` is called for each thing (for example a pool) that a change concerns, and `began_anew`
    when a kind has been listed again: deletions may have been missed. With `may_go`, `run` raises
    an exception group with NotFoundError when a kind is no longer served. Objects that `keeps`
    rejects, which gets the name of their kind too, are dropped (see `Watch`).
    """

    def __init__(
        self,
        kube: Kube,
        feeds: Iterable[Feed[K]],
        touch: Callable[[K], None],
        began_anew: Callable[[], None] = no_signal,
        *,
        may_go: bool = False,
        keeps: Callable[[str, Object], bool] = lambda _, __: True,
    ) -> None:
        self._touch, self._began_anew = touch, began_anew
        self._may_go = may_go
        self._watches = {
            feed.name: self._watch(kube, feed, partial(keeps, feed.name)) for feed in feeds
        }
        self._group: asyncio.TaskGroup | None = None
        self._entering: dict[tuple[str, str], asyncio.Task[None]] = {}
        """The kinds that are being listed in namespaces that have come into use."""
        self._missing = set(self._watches)
        self._refused: set[str] = set()
        """Those of `_missing` that the API server has rejected."""
        self._synced = asyncio.Event()

    @property
    def missing(self) -> list[str]:
        """The kinds that have not been listed yet."""
        return sorted(self._missing)

    @property
    def awaited(self) -> list[str]:
        """Those of `missing` that the API server has not rejected either."""
        return sorted(self._missing - self._refused)

    def awaits(self, namespace: str, kind: str) -> bool:
        """Whether a kind has neither been listed in a namespace nor been rejected there."""
        if kind in self._missing:
            return kind not in self._refused
        return (namespace, kind) in self._entering

    def shows(self, _namespace: str) -> bool:
        """Whether all kinds have been listed."""
        return not self._missing

    @property
    def stopped(self) -> list[str]:
        """The kinds whose watch had to be started again and has not listed them since."""
        return sorted(name for name, watch in self._watches.items() if watch.is_stopped)

    async def synced(self) -> None:
        """Wait until everything has been listed once or was rejected.

        A kind that this may not read must not block the others.
        """
        await self._synced.wait()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as self._group:
            for name, watch in self._watches.items():
                self._group.create_task(watch.run(), name=f"keep {name}")

    def _watch(self, kube: Kube, feed: Feed[K], keeps: Keeps) -> "Watch":
        def keep(obj: Object) -> Iterable[K]:
            # Asked again: while a page is stored, a namespace may go out of use.
            return feed.keep(obj) if keeps(obj) else ()

        change = partial(self._change, replace(feed, keep=keep))
        failed = partial(self._failed, feed.name)
        scope = EVERYWHERE if issubclass(feed.kind, NamespacedResourceG) else CLUSTER
        return Watch(kube, feed.kind, scope, change, keeps=keeps, on_error=failed)

    def enter(self, namespace: str) -> None:
        """List a namespace that has come into use; `entered` waits for it.

        If this does not run yet, its first lists show the namespace.
        """
        for kind, watch in self._watches.items():
            work = watch.enter(namespace)
            if task := started_in(self._group, work, f"{kind} in {namespace}"):
                self._entering[namespace, kind] = task
                task.add_done_callback(partial(self._ended, (namespace, kind)))

    def _ended(self, entry: tuple[str, str], _: asyncio.Task[None]) -> None:
        del self._entering[entry]

    async def entered(self, namespace: str) -> None:
        if tasks := self._listing(namespace):
            await asyncio.wait(tasks)

    async def leave(self, namespace: str) -> None:
        """Drop the objects of a namespace that is not in use any more."""
        tasks = self._listing(namespace)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for watch in self._watches.values():
            await watch.leave(namespace)

    def _listing(self, namespace: str) -> list[asyncio.Task[None]]:
        return [task for (of, _), task in self._entering.items() if of == namespace]

    def _failed(self, kind: str, error: Exception) -> None:
        if self._may_go and isinstance(error, NotFoundError):
            raise error
        if is_answer(error) and kind in self._missing:
            self._refused.add(kind)
            self._note_sync()

    def _note_sync(self) -> None:
        if self._missing <= self._refused:
            self._synced.set()

    async def _change(self, feed: Feed[K], namespace: str, change: str, obj: Object) -> None:
        clock = asyncio.get_running_loop().time
        until = clock() + TURN
        for concerned in feed.steps(namespace, change, obj):
            for key in concerned:
                self._touch(key)
            if clock() >= until:  # a list can have thousands of objects
                await asyncio.sleep(0)
                until = clock() + TURN
        if change == "LIST" and namespace in (EVERYWHERE, CLUSTER):
            if feed.name not in self._missing:
                self._began_anew()
            self._missing.discard(feed.name)
            self._refused.discard(feed.name)
            self._note_sync()


async def until_listed(
    what: str,
    attempt: Callable[[], Awaitable[T]],
    on_error: Callable[[Exception], None] = no_signal,
) -> T:
    """The result of an attempt to list, with retries until the API server answers it."""
    pause = FIRST_PAUSE
    while True:
        try:
            return await attempt()
        except (NotFoundError, *Unreachable) as error:
            on_error(error)
            log.warning("cannot list %s: %s; next attempt in %.1f s", what, error, pause)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


class Watch:
    """Follows one kind in one namespace or, with the scope EVERYWHERE, in those that come into use.

    `on_change` gets the scope, or a namespace that enters or leaves, and a change of `Kube.follow`.
    `keeps` rejects the objects of namespaces that are not in use; before such a namespace `enter`s,
    `keeps` has to accept its objects.
    """

    def __init__(
        self,
        kube: Kube,
        kind: Any,
        scope: str,
        on_change: Callable[[str, str, Object], Awaitable[None] | None],
        *,
        keeps: Keeps = everything,
        on_error: Callable[[Exception], None] = no_signal,
    ) -> None:
        self._kube, self._kind, self._scope = kube, kind, scope
        self._on_change, self._keeps, self._on_error = on_change, keeps, on_error
        self._waiting: dict[str, list[tuple[str, Object]]] = {}
        """Changes of the namespaces that are being listed."""
        self._lists = 0
        """How often the whole scope was listed, or began to be."""
        self._listed = asyncio.Event()
        """Set while the scope is watched and not being listed."""
        self._quiet = 0.0
        """Seconds since the last change was taken, or the watch was renewed."""
        self.is_stopped = False
        """Whether the watch had stopped and the scope has not been listed since."""
        kube.on_restart(kind.__name__, 0)

    async def run(self) -> None:
        """List and watch until canceled; after each end, pause shortly and start again.

        What `on_change` returns is awaited before the next change. Raises what `on_error` raises.
        """
        await kept(self._run, f"watch {self._kind.__name__}", self._has_stopped, self._again)

    def _has_stopped(self) -> bool:
        # Counted in questions, of which a process that was halted asks only one. A list may take
        # longer; each of its requests has a bound.
        self._quiet = self._quiet + CHECK_SECONDS if self._listed.is_set() else 0.0
        return self._quiet > STOPPED_SECONDS

    def _again(self) -> None:
        self.is_stopped = True
        self._listed.clear()
        self._kube.on_restart(self._kind.__name__, 1)

    async def _run(self) -> None:
        clock, pause = asyncio.get_running_loop().time, FIRST_PAUSE
        while True:
            began = clock()
            self._lists += 1
            self._listed.clear()
            try:
                async for change, obj in self._kube.follow(self._kind, self._scope, self._keeps):
                    if change != RENEWED:
                        await self._change(change, obj)
                    self._quiet = 0.0
            except (NotFoundError, *Unreachable) as error:
                self._on_error(error)
                log.warning(
                    "cannot watch %s in %s: %s; next attempt in %.1f s",
                    *(self._kind.__name__, self._scope, error, pause),
                )
            # Also without an error: if the API server rejects each version as too old, the client
            # would list in a busy loop.
            if clock() - began > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def enter(self, namespace: str) -> None:
        """Show what is in a namespace that has come into use. Retries until it is listed.

        Changes of it wait meanwhile. Call it once at a time for each namespace.
        """

        async def enter() -> bool:
            await self._listed.wait()
            return await self._enter(namespace, self._lists)

        what = f"{self._kind.__name__} in {namespace}"
        while not await until_listed(what, enter, self._on_error):
            pass

    async def leave(self, namespace: str) -> None:
        """Show a namespace as empty that is not in use any more; `keeps` rejects it already."""
        await self._tell(namespace, "LIST", {"items": []})

    async def _enter(self, namespace: str, lists: int) -> bool:
        """List a namespace; False if the whole scope was listed meanwhile, maybe without it."""
        waiting = self._waiting[namespace] = []
        before: list[Object] = []
        version = 0
        try:
            async for items, at in self._kube.listed(self._kind, namespace, self._keeps):
                version = at
                if self._lists != lists:
                    return False
                await self._tell(namespace, "PART", {"items": items})
                before += [{"metadata": named(item)} for item in items]
            if self._lists != lists:
                return False
            await self._tell(namespace, "LIST", {"items": [], "before": before})
            while waiting:
                change, obj = waiting.pop(0)
                # An older one would undo what the list has shown.
                if version_of(obj) > version:
                    await self._tell(self._scope, change, obj)
        finally:
            del self._waiting[namespace]
        return self._lists == lists

    async def _change(self, change: str, obj: Object) -> None:
        is_list = change in ("PART", "LIST")
        waiting = None if is_list else self._waiting.get(key_of(obj)[0])
        if waiting is not None:
            waiting.append((change, obj))
            return
        await self._tell(self._scope, change, obj)
        if change == "LIST":
            self.is_stopped = False
            self._listed.set()

    async def _tell(self, namespace: str, change: str, obj: Object) -> None:
        if (pending := self._on_change(namespace, change, obj)) is not None:
            await pending


# --- the indexes: values by terms, pods by their labels, selectors by the labels they select ---


class Indexed(UserDict[K, V], Generic[K, V]):
    """Values by key, with an index: `terms(value)` returns the terms of a value."""

    def __init__(self, terms: Callable[[V], Iterable[Hashable]]) -> None:
        self._terms = terms
        # A dict as an ordered set of keys: a set has no order.
        self._keys: defaultdict[Hashable, dict[K, None]] = defaultdict(dict)
        self._found_by: dict[K, tuple[Hashable, ...]] = {}  # a set takes four times as much
        super().__init__()

    def __setitem__(self, key: K, value: V) -> None:
        before, after = set(self._found_by.get(key, ())), set(self._terms(value))
        self._found_by[key] = tuple(after)
        self._drop(key, before - after)
        for term in after - before:
            self._keys[term][key] = None
        self.data[key] = value

    def __delitem__(self, key: K) -> None:
        del self.data[key]
        self._drop(key, self._found_by.pop(key))

    # UserDict would call __getitem__ for each: ten times as long for all slices of a cluster.

    def values(self) -> ValuesView[V]:
        return self.data.values()

    def items(self) -> ItemsView[K, V]:
        return self.data.items()

    def terms(self, key: K) -> tuple[Any, ...]:
        """The terms of a value."""
        return self._found_by[key]

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


MOST_LABELS = 64
"""Labels by which the pods of a namespace are found: those that selectors ask for first."""


class Pods(Indexed[str, PodView]):
    """The pods of one namespace, by name; found by the labels that selectors have asked for."""

    def __init__(self) -> None:
        self._asked: dict[str, None] = {}
        super().__init__(self._terms_of_pod)

    def _terms_of_pod(self, pod: PodView) -> Iterable[tuple[str, str]]:
        labels = pod.labels if self._asked else {}
        # One text for equal values of all pods.
        return [(label, sys.intern(labels[label])) for label in self._asked if label in labels]

    def _ask(self, labels: Iterable[str]) -> bool:
        """Find pods by these labels from now on; whether that is done for all of them."""
        new = [label for label in labels if label not in self._asked]
        taken = new[: MOST_LABELS - len(self._asked)]
        if taken:
            self._asked |= dict.fromkeys(taken)
            for name, pod in self.items():
                self[name] = pod
        return taken == new

    def selected_by(self, selector: Selector) -> list[PodView]:
        return list(self._selected_by(selector))

    def any_selected_by(self, selector: Selector) -> bool:
        return next(self._selected_by(selector), None) is not None

    def _selected_by(self, selector: Selector) -> Iterator[PodView]:
        labels: Mapping[str, str] = selector.get("matchLabels") or {}
        terms = [*labels, *(term["key"] for term in selector.get("matchExpressions") or ())]
        is_indexed = self._ask(terms)
        # The rarest label leaves the fewest pods. A selector without labels has only expressions.
        known = [(label, value) for label, value in labels.items() if label in self._asked]
        for name in self.having(min(known, key=self.count)) if known else list(self):
            found = dict(self.terms(name)) if is_indexed else self[name].labels
            if selects(selector, found):
                yield self[name]


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
