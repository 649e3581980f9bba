"""WarmPools get into the cache through kopf, and lists of their versions prove that they do.

kopf does not say when it has shown all pools, so they are listed first. Nor does it say that its
watch has stopped, or that it waits for a CRD that was created after its start.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Set
from dataclasses import dataclass
from functools import partial
from math import inf

from kotatsu_operator.controller import kopf_adapter
from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.kube.client import EVERYWHERE, Kube, everything
from kotatsu_operator.kube.errors import NotFoundError, Unreachable, is_answer
from kotatsu_operator.kube.fields import used
from kotatsu_operator.kube.informer import until_listed
from kotatsu_operator.kube.objects import Key, Object, WarmPool, key_of, version_of
from kotatsu_operator.runtime.loop import kept

log = logging.getLogger(__name__)

LIST_AGAIN_SECONDS = 1.0
"""Seconds until the pools of a namespace are listed again after a failure."""

LONGEST_PAUSE_SECONDS = 30.0
"""Seconds until then at most, after the API server has rejected the list."""

COMPARE_SECONDS = 12.0
"""Seconds between two lists of the versions. A version of one is missed at the next, so that two
and a list of all pools take less than 30 s."""


@dataclass(frozen=True)
class Look:
    """A list of the versions."""

    listed: Mapping[str, int]
    """By uid: the versions in the API server's cache."""
    known: Set[str]
    """The uids of the pools that were in ours then."""

    def missed(self, later: "Look", shown: Mapping[str, int]) -> set[str]:
        """The uids of the pools with a change that has not been shown from this look to the next.

        `shown` are the versions that were shown until the later one. A version that has changed
        since then does not count, so that a pool may change all the time.
        """
        late = {
            uid
            for uid, version in self.listed.items()
            if shown.get(uid, 0) < version and uid in later.listed
        }
        gone = (self.known & later.known) - self.listed.keys() - later.listed.keys()
        return late | gone


class PoolWatch:
    """Fills the cache with all WarmPools.

    `touch` is called for each pool that has changed, and `gone` for each that was deleted.
    """

    def __init__(
        self,
        kube: Kube,
        cache: Cache,
        touch: Callable[[Key], None],
        gone: Callable[[Object], Awaitable[None]],
    ) -> None:
        self._kube, self._cache, self._touch, self._gone = kube, cache, touch, gone
        self.unlisted = "WarmPools are not listed yet"
        """Why the pools have not been listed yet; empty if they have."""
        self.why_blind = ""
        """A sentence if kopf misses changes, until it has shown them."""
        self.shown: dict[str, int] = {}
        """The versions that kopf has shown, by uid; those that only our writes returned are not."""
        self._is_listing = False
        """Whether kopf has shown pools of a list since the last comparison."""
        self._must_restart = False
        self._answered = asyncio.Event()
        """Set once the API server has listed or rejected the pools."""
        self._begun = asyncio.Event()
        kube.on_restart(WarmPool.__name__, 0)

    @property
    def has_begun(self) -> bool:
        return self._begun.is_set()

    def shows(self, _namespace: str) -> bool:
        """Whether the pools of a namespace have been listed."""
        return not self.unlisted

    async def run(self, name: str, on_signal: Callable[[], object]) -> None:
        """Follow the pools until cancelled, and call `on_signal` for SIGTERM and SIGINT."""
        follow = partial(self._follow, name, on_signal)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(kept(follow, "kopf", lambda: self._must_restart, self._again))
            tasks.create_task(self._prove(), name="comparison of versions")

    async def _follow(self, name: str, on_signal: Callable[[], object]) -> None:
        try:
            await kopf_adapter.follow(name, self.show, self._begun, on_signal)
        except Exception:
            log.exception("kopf has failed")

    def _again(self) -> None:
        self._must_restart = False
        self._kube.on_restart(WarmPool.__name__, 1)

    # --- lists ---

    async def list_all(self) -> None:
        """List all pools, with retries. Afterwards kopf shows the changes."""
        pause = LIST_AGAIN_SECONDS
        while True:
            try:
                for pool in await self._kube.find(WarmPool, EVERYWHERE):
                    self._cache.keep_pool(pool)
                break
            except (NotFoundError, *Unreachable) as error:
                if str(error) != self.unlisted:
                    log.warning("cannot list the WarmPools: %s", error)
                    self.unlisted = str(error)
                if isinstance(error, NotFoundError) or is_answer(error):
                    self._answered.set()
                    pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                await asyncio.sleep(pause)
        self.unlisted = ""
        self._answered.set()

    async def list_again(self, namespace: str) -> None:
        """List the pools of a namespace of which only a part was kept."""

        async def listed() -> None:
            async for pools, _ in self._kube.listed(WarmPool, namespace, everything):
                for pool in pools:
                    # Any other may have been deleted since.
                    if pool["metadata"]["uid"] == self._cache.uid_of(key_of(pool)):
                        self._cache.keep_pool(pool)

        await until_listed(f"WarmPool in {namespace}", listed)

    async def answered(self) -> None:
        """Wait until the pools are listed or rejected."""
        await self._answered.wait()

    @property
    def known(self) -> dict[Key, str]:
        """The uids of the pools that are in the cache."""
        return {key: pool["metadata"]["uid"] for key, pool in self._cache.pools.items()}

    def take(
        self, before: Mapping[Key, str], pools: Collection[Object], missed: Collection[str] = ()
    ) -> list[Object]:
        """Take over a list of all pools, and return those that it has removed.

        `before` are the pools that were `known` just before it. Those that the list does not have
        are removed. Newer ones are stored if they were shown, are known, or have a uid of `missed`:
        any other may have been deleted since.
        """
        known, removed = self.known, list[Object]()
        there = {pool["metadata"]["uid"] for pool in pools}
        for key, uid in before.items():
            if uid not in there and known.get(key) == uid:
                log.info("%s/%s was deleted, and its watch has not shown it", *key)
                removed.append(self._cache.pools[key])
                self.forget(key, uid)
        for pool in pools:
            key, uid = key_of(pool), pool["metadata"]["uid"]
            is_there = uid in self.shown or uid in missed or uid == self._cache.uid_of(key)
            if is_there and self._cache.keep_pool(pool):
                self._touch(key)
        return removed

    # --- changes ---

    async def show(self, change: str | None, obj: Object) -> None:
        """Store a pool that kopf shows, and touch it if it is news (decision 20)."""
        uid = obj["metadata"]["uid"]
        self._is_listing |= change is None
        if change != "DELETED":  # before the pool is read: one that nobody can read was shown, too
            self.shown[uid] = max(self.shown.get(uid, 0), version_of(obj))
        pool: Object = used(WarmPool, obj)
        if change == "DELETED":
            self.forget(key_of(pool), uid)
            await self._gone(pool)
        elif self._cache.keep_pool(pool):  # False for the echo of the operator's own write
            self._touch(key_of(pool))

    def forget(self, key: Key, uid: str) -> None:
        """Remove a deleted pool; one that was made again under its name stays."""
        self.shown.pop(uid, None)
        if self._cache.uid_of(key) in (uid, ""):
            self._cache.forget_pool(key)
        self._touch(key)

    # --- the proof ---

    async def _prove(self) -> None:
        """Compare what the API server has with what was shown, again and again."""
        before: Look | None = None
        while True:
            await asyncio.sleep(COMPARE_SECONDS)
            try:
                async with asyncio.timeout(COMPARE_SECONDS):
                    listed = await self._kube.versions_of(WarmPool)
                now = Look(listed, frozenset(self.known.values()))
                last, before = before, now
                if last is not None:
                    await self._judge(last, last.missed(now, self.shown))
            except (NotFoundError, *Unreachable) as error:
                log.debug("cannot compare the versions of WarmPools: %s", error)

    async def _judge(self, last: Look, missed: Collection[str]) -> None:
        """Restart kopf if it misses changes, and read them."""
        # It shows a list of thousands of pools gradually, and changes after that.
        is_listing, self._is_listing = self._is_listing, False
        if missed and not is_listing:
            self.why_blind = f"the watch of WarmPools misses changes (pools: {len(missed)})"
            log.warning("%s; it is started again", self.why_blind)
            self._must_restart = True
        elif not missed:
            self.why_blind = ""
        if not missed:
            return
        versions = {p["metadata"]["uid"]: version_of(p) for p in self._cache.pools.values()}
        if any(versions.get(uid, 0) < last.listed.get(uid, inf) for uid in missed):
            before = self.known
            pools = await self._kube.find(WarmPool, EVERYWHERE)
            for pool in self.take(before, pools, missed):
                await self._gone(pool)
