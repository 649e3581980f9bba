"""The namespaces of an install: which it serves, and of which all objects are watched.

An install for the whole cluster (decision 81) watches each kind once, and keeps the objects of
namespaces in use: those that it serves and that have WarmPools, and those that it still has to
leave.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kotatsu_operator.controller.activators import home_term, is_of_activators
from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.core.claims import Claim, Claims, claims_of
from kotatsu_operator.core.decide.isolation import Shared
from kotatsu_operator.core.objects import activators_of
from kotatsu_operator.core.protocol import activator_set, shard_of
from kotatsu_operator.kube.client import EVERYWHERE, Keeps, everything
from kotatsu_operator.kube.informer import Informer
from kotatsu_operator.kube.objects import Key, Object, key_of
from kotatsu_operator.kube.views import SliceView

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Namespaces that are listed at once: an edit of a label may bring thousands into use."""

_NAMED = 5
"""Namespaces that a remark names; it only counts further ones."""


@dataclass(frozen=True)
class Install:
    """An install for the whole cluster."""

    home: str
    """The namespace of its release, with its Lease, its record and its activators."""
    release: str = "kotatsu"
    selector: Mapping[str, Any] = field(default_factory=dict)
    """The label selector of the namespaces that it serves."""
    shards: int = 1


class Namespaces:
    """The namespaces of one install. Without `install`, those listed, which are always in use.

    `touch` reconciles a pool.
    """

    def __init__(
        self,
        cache: Cache,
        touch: Callable[[Key], None],
        listed: Sequence[str] = (),
        install: Install | None = None,
    ) -> None:
        self._cache, self._touch, self.install = cache, touch, install
        self.scopes = [EVERYWHERE] if install else list(listed)
        """What is watched."""
        self._claims = Claims(Claim(("", "")))
        self._holders: dict[str, Claim | None] = {}
        """By whom the namespaces with pools are served; all of these namespaces."""
        self._used: set[str] = set()
        self._shown: set[str] = set()
        """The namespaces of `_used` that have been listed."""
        self._informers: dict[Informer[Key], bool] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._group: asyncio.TaskGroup | None = None
        self._sets: dict[str, str] = {}
        if install is not None:
            cache.uses, cache.activators.set_of = self.uses, self.set_of
            cache.shared = self.shared
            cache.changed, cache.activators.claimed = self._judge, self._judge_all
            self._judge_all()

    # --- what there is ---

    @property
    def text(self) -> str:
        """Which install this is."""
        return self._claims.mine.text

    def set_of(self, namespace: str) -> str:
        """The activators that serve a namespace's pools; empty for those of the namespace."""
        if self.install is None:
            return ""
        known = self._sets.get(namespace)
        if known is None:
            shard = shard_of(namespace, self.install.shards)
            known = self._sets[namespace] = activator_set(self.install.home, shard)
        return known

    def shared(self, namespace: str) -> Shared | None:
        """The activators that a namespace shares with others; None if it has its own."""
        if self.install is None:
            return None
        known, home = self._cache.namespaces, self.install.home
        of, there = known.get(home), known.get(namespace)
        return Shared(home, of.labels if of else {}, there is not None and there.shares)

    def exists(self, namespace: str) -> bool:
        """Whether a namespace is there, and not being deleted."""
        found = self._cache.namespaces.get(namespace)
        return self.install is None or (found is not None and not found.is_ending)

    def holder(self, namespace: str) -> Claim | None:
        """The claim of the install that serves a namespace; None if none does."""
        found = self._cache.namespaces.get(namespace)
        if found is None or found.is_ending:
            return None
        return self._claims.of(namespace, found.labels)

    def serves(self, namespace: str) -> bool:
        """Whether this install serves a namespace."""
        if self.install is None:
            return True
        holder = self.holder(namespace)
        return holder is not None and holder.release == self._claims.mine.release

    def has(self, pool: Object) -> bool:
        """Whether a pool is this install's: in one for the whole cluster, its activators say so.

        A pool that had activators of its namespace and was not reconciled since has none.
        """
        activators = activators_of(pool)
        if self.install is None or not activators:
            return self.serves(key_of(pool)[0])
        return activators.startswith(f"{self.install.home}/")

    def sweeps(self, of: SliceView) -> bool:
        """Whether this install removes a slice whose activator is gone."""
        is_own = self.install is not None and of.set.startswith(f"{self.install.home}/")
        return is_own or self.uses(of.key[0])

    def uses(self, namespace: str) -> bool:
        """Whether all objects of a namespace are watched."""
        return self.install is None or namespace in self._used

    @property
    def keeps(self) -> Keeps:
        """Whether an object that a watch shows is kept."""
        if self.install is None:
            return everything
        return lambda obj: self.uses(key_of(obj)[0]) or is_of_activators(obj)

    def shows(self, namespace: str) -> bool:
        """Whether a namespace has been listed since it came into use."""
        return self.install is None or namespace in self._shown

    @property
    def used(self) -> list[str]:
        """The namespaces in use."""
        return self.scopes if self.install is None else sorted(self._used.copy())

    @property
    def former(self) -> list[str]:
        """Namespaces with activators of their own of this release, from before it was for all."""
        claims, mine = self._cache.activators.claims.values(), self._claims.mine.release
        return [c.namespace for c in claims if c.namespace and c.release == mine]

    @property
    def left_out(self) -> dict[str, str]:
        """The namespaces with pools that this install selects and another one serves: which."""
        mine = self._claims.mine
        found = {}
        for namespace, holder in self._holders.copy().items():
            there = self._cache.namespaces.get(namespace)
            if there is None or holder is None or holder.release == mine.release:
                continue
            if mine.selects(namespace, there.labels):
                found[namespace] = holder.text
        return found

    def remarks(self) -> Iterator[str]:
        """Sentences about the namespaces that another install serves."""
        others = self.left_out
        for who in sorted(set(others.values())):
            names = sorted(n for n, by in others.items() if by == who)
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            yield f"{who} serves: {', '.join(names[:_NAMED])}{more}; nothing is done there"

    # --- what changes ---

    def listed_by(self, informer: Informer[Key], *, must: bool = True) -> None:
        """Let an informer list the namespaces that come into use; `must` if pools wait for it."""
        self._informers[informer] = must

    def not_listed_by(self, informer: Informer[Key]) -> None:
        """Leave an informer out that has ended."""
        self._informers.pop(informer, None)

    def see(self, key: Key, pool: Object | None) -> None:  # noqa: ARG002
        """Look at a change of a WarmPool: its namespace may come into use, or go out of it."""
        if self.install is not None:
            self._judge(key[0])

    def begin(self) -> None:
        """Namespaces, claims and WarmPools are known: the watches show all that is in use."""
        self._judge_all()
        self._shown |= self._used

    async def run(self) -> None:
        """List the namespaces that come into use, until cancelled."""
        async with asyncio.TaskGroup() as self._group:
            for namespace in self._used ^ self._shown:
                self._follow(namespace)
            await asyncio.Event().wait()

    def _judge_all(self) -> None:
        assert self.install is not None  # noqa: S101  (no other install gets here)
        release = self.install.home, self.install.release
        found = self._cache.activators.claims.values()
        self._claims = claims_of(release, self.install.selector, found)
        for namespace in list(self._holders):
            self._judge(namespace)

    def _judge(self, namespace: str) -> None:
        """Look by whom a namespace is served, and whether it is in use."""
        assert self.install is not None  # noqa: S101
        pools = self._cache.pools
        if not pools.count(("namespace", namespace)):
            self._holders.pop(namespace, None)
            self._use(namespace, wanted=False)
            return
        before, holder = self._holders.get(namespace), self.holder(namespace)
        is_new = namespace not in self._holders
        self._holders[namespace] = holder
        mine = self._claims.mine.release
        is_left = not pools.count(home_term(namespace, self.install.home))
        self._use(namespace, wanted=self.serves(namespace) or not is_left)
        if is_new or (before and before.release) != (holder and holder.release):
            if holder is not None and holder.release != mine:
                log.info("namespace %s: %s serves it", namespace, holder.text)
            for key in pools.having(("namespace", namespace)):
                self._touch(key)

    def _use(self, namespace: str, *, wanted: bool) -> None:
        if wanted == (namespace in self._used):
            return
        (self._used.add if wanted else self._used.discard)(namespace)
        self._follow(namespace)

    def _follow(self, namespace: str) -> None:
        if self._group is not None and namespace not in self._tasks:
            self._tasks[namespace] = self._group.create_task(
                self._catch_up(namespace), name=f"namespace {namespace}"
            )

    async def _catch_up(self, namespace: str) -> None:
        """List a namespace or drop its objects, until that is what is wanted."""
        try:
            while (wanted := namespace in self._used) != (namespace in self._shown):
                if wanted:
                    await self._enter(namespace)
                else:
                    self._shown.discard(namespace)
                    for informer in list(self._informers):
                        await informer.leave(namespace)
                    self._cache.forget_rest(namespace)
        finally:
            del self._tasks[namespace]

    async def _enter(self, namespace: str) -> None:
        async with self._slots:
            for informer in self._informers:
                informer.enter(namespace)
            for informer, must in list(self._informers.items()):
                if must:
                    await informer.entered(namespace)
        self._shown.add(namespace)
        for key in self._cache.pools.having(("namespace", namespace)):
            self._touch(key)
