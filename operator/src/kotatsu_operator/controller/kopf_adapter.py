"""WarmPools get into the cache through kopf. All that is done because of kopf is here.

kopf does not say when it has shown all pools, so they are listed first. If the CRD is created after
kopf's start, it waits forever without an error, so what it shows is compared with the existing
pools.
"""

import asyncio
import itertools
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any, cast

import aiohttp
import kopf

from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.core.nesting import loads, shallow
from kotatsu_operator.kube.client import EVERYWHERE, Kube, lines
from kotatsu_operator.kube.errors import NotFoundError, Unreachable, is_answer
from kotatsu_operator.kube.fields import used
from kotatsu_operator.kube.objects import Key, Object, WarmPool, key_of

log = logging.getLogger(__name__)

LIST_AGAIN_SECONDS = 1.0
"""Seconds until the pools of a namespace are listed again after a failure."""

LONGEST_PAUSE_SECONDS = 30.0
"""Seconds until then at most, after the API server has rejected the list."""

POOLS_PER_PAGE = 5
"""WarmPools in an answer to kopf, which decodes it whole. A pool can have 1.5 MB, and as Python
objects sixteen times as much."""

BLIND_AFTER = 6
"""Comparisons, one sweep apart, in which kopf shows no further pool although some are missing. This
takes longer than the detection of a silent watch."""


class BlindError(Exception):
    """kopf does not show existing pools."""


@dataclass(frozen=True)
class MissedEvents:
    """The uids of a namespace's existing pools that kopf has not shown."""

    uids: Set[str] = frozenset()
    comparisons: int = 0
    """Consecutive comparisons in which kopf has shown none of them."""

    def after(self, unseen: Set[str]) -> "MissedEvents":
        """The state after another comparison, which has found `unseen`.

        kopf shows thousands of pools gradually, so it is enough that one more of them was shown
        since.
        """
        if not unseen:
            return MissedEvents()
        return MissedEvents(unseen, self.comparisons + 1 if self.uids <= unseen else 1)

    @property
    def is_blind(self) -> bool:
        return self.comparisons >= BLIND_AFTER


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
        self.shown: set[str] = set()
        """The uids of the pools that kopf has shown."""
        self._unseen = MissedEvents()
        self._answered = asyncio.Event()
        """Set once the API server has listed or rejected the pools."""
        self._ready = asyncio.Event()

    @property
    def has_begun(self) -> bool:
        return self._ready.is_set()

    def shows(self, _namespace: str) -> bool:
        """Whether the pools of a namespace have been listed."""
        return not self.unlisted

    async def run(self, name: str, stop: asyncio.Event) -> None:
        """Follow the pools until `stop` is set, or until a signal ends kopf."""
        await kopf.operator(
            registry=self.handlers(),
            settings=operator_settings(),
            clusterwide=True,
            standalone=True,
            # Set, because kopf would look up the login name of the user, which an image may lack.
            identity=cast(Any, name),
            stop_flag=stop,
            ready_flag=self._ready,
        )

    async def stop_on_signals(self, stop: asyncio.Event) -> None:
        """Set `stop` on SIGTERM or SIGINT.

        kopf's own signal handlers end it before the Lease is released, so these replace them.
        """
        await self._ready.wait()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)

    # --- the list ---

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

    async def answered(self) -> None:
        """Wait until the pools are listed or rejected."""
        await self._answered.wait()

    # --- changes ---

    def handlers(self) -> kopf.OperatorRegistry:
        """The handlers: each changed pool is stored in the cache and touched (decision 20)."""
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def login(**kwargs: Any) -> kopf.AiohttpSession | None:
            by_account = kopf.login_with_service_account(**kwargs)
            info = by_account or kopf.login_with_kubeconfig(**kwargs)
            return None if info is None else _session(info)

        # No kopf index, although it would handle all pools before any event: with n pools it wakes
        # each pool n times, and 5,000 pools take two minutes of CPU.
        @kopf.on.event("kotatsu.dev", "v1beta1", "warmpools", registry=registry)
        async def changed(event: kopf.RawEvent, **_: Any) -> None:
            pool: Object = used(WarmPool, dict(event["object"]))
            uid = pool["metadata"]["uid"]
            if event["type"] == "DELETED":
                self.forget(key_of(pool), uid)
                await self._gone(pool)
                return
            self.shown.add(uid)
            if self._cache.keep_pool(pool):  # False for the echo of the operator's own write
                self._touch(key_of(pool))

        return registry

    def forget(self, key: Key, uid: str) -> None:
        """Remove a deleted pool; one that was made again under its name stays."""
        self.shown.discard(uid)
        if self._cache.uid_of(key) in (uid, ""):
            self._cache.forget_pool(key)
        self._touch(key)

    def recall(self, pool: Object) -> None:
        """Store a listed pool again that was shown and is missing."""
        key = key_of(pool)
        if not self._cache.uid_of(key) and pool["metadata"]["uid"] in self.shown:
            self._cache.keep_pool(pool)
            self._touch(key)

    # --- what kopf has missed ---

    def reset(self) -> None:
        """Begin the comparisons again."""
        self._unseen = MissedEvents()

    @property
    def known(self) -> dict[Key, str]:
        """The uids of the pools that are in the cache."""
        return {key: pool["metadata"]["uid"] for key, pool in self._cache.pools.items()}

    def compare(self, before: Mapping[Key, str], there: Set[str]) -> bool:
        """Whether kopf has shown all pools.

        `there` are the uids that were listed, and `before` the pools that were `known` just before;
        those that are gone are removed. Raises BlindError if kopf does not show existing pools.
        """
        known = self.known
        for key, uid in before.items():
            if uid not in there and known.get(key) == uid:
                log.info("%s/%s was deleted, and its watch has not shown it", *key)
                self.forget(key, uid)
        self._unseen = unseen = self._unseen.after(there - self.shown)
        if unseen.is_blind:
            raise BlindError(
                f"the watch does not show {len(unseen.uids)} existing WarmPools: ending, so that "
                "the process starts again"
            )
        return not unseen.uids


def _session(info: kopf.ConnectionInfo) -> kopf.AiohttpSession:
    """A session like kopf's own, but with `_Answer`."""
    made = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
        headers=info.as_http_headers(),
        proxy=info.proxy_url,
        trust_env=info.trust_env,
        response_class=_Answer,
    )
    return kopf.AiohttpSession(
        server=info.server, default_namespace=info.default_namespace, aiohttp_session=made
    )


class _Answer(aiohttp.ClientResponse):
    """An answer to kopf, which reads it with `json`: of any depth.

    kopf ends after a RecursionError, and whoever may write a pool chooses the depth.
    """

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        await super().start(connection)
        self.content = cast(aiohttp.StreamReader, _Shallow(self.content))
        return self

    async def json(self, **_: Any) -> Any:
        return loads(await self.read())


class _Shallow:
    """A stream whose lines are read one by one."""

    def __init__(self, stream: aiohttp.StreamReader) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def iter_chunked(self, _: int) -> AsyncIterator[bytes]:
        async for line in lines(self._stream):
            yield shallow(line) + b"\n"


class _Backoffs:
    """Seconds between attempts to reach the API server: short and unlimited, unlike kopf's own."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((0.5, 1.0), itertools.repeat(2.0))


class _NoDiffs(kopf.DiffBaseStorage):
    """Stores no diff base: no handler uses diffs, so no object has to be copied."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        pass


class _NoProgress(kopf.ProgressStorage):
    """Stores no progress: kopf does not retry any handler."""

    def fetch(self, **_: Any) -> Any:
        return None

    def store(self, **_: Any) -> None:
        pass

    def purge(self, **_: Any) -> None:
        pass

    def touch(self, **_: Any) -> None:
        pass

    def clear(self, *, essence: Any) -> Any:
        return essence


def operator_settings() -> kopf.OperatorSettings:
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # it logs every event
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.watching.chunk_size = POOLS_PER_PAGE
    # The worker of an object keeps its last event for so long, and an event can have 1.5 MB.
    settings.queueing.idle_timeout = 0.1
    settings.watching.server_timeout = 240
    settings.watching.client_timeout = 300
    # A new watch continues from the last version, so replacing a silent one is cheap.
    settings.watching.inactivity_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.request_timeout = 30
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.persistence.progress_storage = _NoProgress()
    settings.networking.error_backoffs = _Backoffs()
    return settings
