"""Which namespaces are in use: those that are served and have WarmPools, and those to be left.

Each kind is watched once for the whole cluster, and the objects of namespaces in use are kept
(decision 91).
"""

import asyncio
from collections.abc import Awaitable, Callable

from kotatsu_operator.controller.activators import home_term, is_activator
from kotatsu_operator.controller.cache import Cache, Concerned
from kotatsu_operator.core.objects import activators_of
from kotatsu_operator.core.protocol import home_of
from kotatsu_operator.core.scope import namespace_of
from kotatsu_operator.kube.informer import Informer
from kotatsu_operator.kube.objects import Key, Object, key_of
from kotatsu_operator.kube.views import is_ours
from kotatsu_operator.runtime.loop import started_in

AT_ONCE = 8
"""Namespaces that are listed at once: an edit of a label may bring thousands into use."""


async def no_pools(_: str) -> None:
    """List no WarmPools."""


class Namespaces:
    """Follows which namespaces of `cache.served` are in use. `touch` reconciles a pool."""

    def __init__(
        self,
        cache: Cache,
        touch: Callable[[Key], None],
        list_pools: Callable[[str], Awaitable[None]] = no_pools,
    ) -> None:
        """`list_pools` lists the WarmPools of a namespace of which only a part was kept."""
        self._list_pools = list_pools
        self._cache, self._touch, self._served = cache, touch, cache.served
        self._shown: set[str] = set()
        """The namespaces in use that have been listed."""
        self._new_homes: set[str] = set()
        """Those whose activators have not been listed since they came to `served.homes`."""
        self._informers: dict[Informer[Key], bool] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._group: asyncio.TaskGroup | None = None
        self._uses: list[Callable[[str], bool]] = []

    # --- what there is ---

    def keeps(self, kind: str, obj: Object) -> bool:
        """Whether an object that a watch shows is kept: what is in use, and of activators."""
        namespace = key_of(obj)[0]
        if self._served.uses(namespace):
            return True
        if kind == "EndpointSlice":
            return is_ours(obj) and namespace not in self._cache.retained.full
        is_home = kind == "Pod" and namespace in self._served.homes
        return is_home and is_activator(obj["metadata"].get("labels"))

    def shows(self, namespace: str) -> bool:
        """Whether a namespace has been listed since it came into use."""
        return namespace in self._shown

    def lists(self, namespace: str) -> bool:
        """Whether all objects of a namespace are known that pools wait for."""
        must = (informer for informer, must in self._informers.items() if must)
        return self.shows(namespace) and all(informer.shows(namespace) for informer in must)

    @property
    def used(self) -> list[str]:
        """The namespaces in use."""
        return sorted(self._served.used.copy())

    # --- what changes ---

    def listed_by(self, informer: Informer[Key], *, must: bool = True) -> None:
        """Let an informer list the namespaces that come into use; `must` if pools wait for it."""
        self._informers[informer] = must

    def not_listed_by(self, informer: Informer[Key]) -> None:
        """Leave an informer out that has ended."""
        self._informers.pop(informer, None)

    def use(self, uses: Callable[[str], bool]) -> Callable[[], None]:
        """Also use those namespaces that are served for which this is true.

        Returns what to call when it may have become true, or false, for any of them.
        """
        self._uses.append(uses)

        def again() -> None:
            for namespace in list(self._served.known):
                self._judge(namespace)

        return again

    def see(self, key: Key, pool: Object | None) -> None:
        """Look at a change of a WarmPool: its namespace may come into use, or go out of it.

        It may also name another install's activators, whose connections count.
        """
        self._judge(key[0])
        home = "" if pool is None else home_of(activators_of(pool))
        if home and home not in self._served.homes:
            self._served.homes.add(home)
            self._new_homes.add(home)
            self._follow(home)

    def weighed(self, namespace: str) -> None:
        """A namespace has become too large, or is tried again."""
        self._judge(namespace)
        if namespace in self._cache.retained.full:
            self._cache.reduce(namespace)
            for key in self._cache.pools.having(("namespace", namespace)):
                self._touch(key)

    def keep(self, obj: Object) -> Concerned:
        """Store a Namespace; returns the pools in it if it has changed."""
        name, found = obj["metadata"]["name"], namespace_of(obj)
        before, self._served.known[name] = self._served.known.get(name), found
        return () if before == found else self._changed(name)

    def forget(self, key: Key) -> Concerned:
        """Remove a deleted Namespace."""
        self._served.known.pop(key[1], None)
        return self._changed(key[1])

    def begin(self) -> None:
        """Namespaces and WarmPools are known: the watches show all that is in use."""
        self._shown |= self._served.used
        self._new_homes.clear()

    async def run(self) -> None:
        """List the namespaces that come into use, until cancelled."""
        async with asyncio.TaskGroup() as self._group:
            for namespace in (self._served.used ^ self._shown) | self._new_homes:
                self._follow(namespace)
            await asyncio.Event().wait()

    def _changed(self, namespace: str) -> Concerned:
        self._judge(namespace)
        self._cache.changed(namespace)
        return self._cache.pools.having(("namespace", namespace))

    def _judge(self, namespace: str) -> None:
        """Look whether a namespace is in use."""
        pools, used = self._cache.pools, self._served.used
        has_any = pools.count(("namespace", namespace)) > 0
        has_ours = pools.count(home_term(namespace, self._served.scope.home)) > 0
        wanted = namespace not in self._cache.retained.full and (
            has_ours
            or (
                (has_any or any(uses(namespace) for uses in self._uses))
                and self._served.serves(namespace)
            )
        )
        if wanted != (namespace in used):
            (used.add if wanted else used.discard)(namespace)
            self._follow(namespace)

    def _follow(self, namespace: str) -> None:
        if namespace in self._tasks:
            return
        work = self._catch_up(namespace)
        if task := started_in(self._group, work, f"namespace {namespace}"):
            self._tasks[namespace] = task

    async def _catch_up(self, namespace: str) -> None:
        """List a namespace or drop its objects, until that is what is wanted."""
        try:
            while (wanted := self._served.uses(namespace)) != (namespace in self._shown) or (
                namespace in self._new_homes
            ):
                if namespace in self._new_homes:
                    self._new_homes.discard(namespace)
                    await self._list(namespace, further=False)
                elif wanted:
                    await self._enter(namespace)
                else:
                    self._shown.discard(namespace)
                    for informer in list(self._informers):
                        await informer.leave(namespace)
                    self._cache.forget_rest(namespace)
        finally:
            del self._tasks[namespace]

    async def _list(self, namespace: str, *, further: bool) -> None:
        """List a namespace; `further` kinds are not waited for."""
        async with self._slots:
            for informer, must in self._informers.items():
                if must or further:
                    informer.enter(namespace)
            for informer, must in list(self._informers.items()):
                if must:
                    await informer.entered(namespace)

    async def _enter(self, namespace: str) -> None:
        await self._list(namespace, further=True)
        if self._cache.is_reduced(namespace):
            await self._list_pools(namespace)
        self._shown.add(namespace)
        self._cache.changed(namespace)
        for key in self._cache.pools.having(("namespace", namespace)):
            self._touch(key)
