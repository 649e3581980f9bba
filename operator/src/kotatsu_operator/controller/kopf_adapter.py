"""kopf shows the WarmPools and their changes. All that is done because of kopf is here."""

import asyncio
import itertools
import logging
import math
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from typing import Any, cast

import aiohttp
import kopf

from kotatsu_operator.core.nesting import loads, shallow
from kotatsu_operator.kube.client import WATCH_SECONDS, lines
from kotatsu_operator.kube.objects import Object

POOLS_PER_PAGE = 5
"""WarmPools in an answer to kopf, which decodes it whole. A pool can have 1.5 MB, and as Python
objects sixteen times as much."""

LATE_SECONDS = 5
"""Seconds after which kopf ends a watch that the API server has not ended in time."""

Show = Callable[[str | None, Object], Awaitable[None]]
"""Called with the type of an event, which is None for a pool of a list, and with the pool."""


async def follow(
    name: str, show: Show, begun: asyncio.Event, on_signal: Callable[[], object]
) -> None:
    """Show all WarmPools and their changes until cancelled. Ends, or fails, if kopf does.

    It sets `begun`, and calls `on_signal` for SIGTERM and SIGINT.
    """
    tasks = await kopf.spawn_tasks(
        registry=handlers(show),
        settings=operator_settings(),
        clusterwide=True,
        standalone=True,
        # Set, because kopf would look up the login name of the user, which an image may lack.
        identity=cast(Any, name),
        ready_flag=begun,
    )
    if threading.current_thread() is threading.main_thread():
        # kopf's own end it before the Lease is released.
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, on_signal)
    await kopf.run_tasks(tasks, ignored=cast(Collection[Any], _All()))


class _All:
    """kopf cancels each task that is not ignored when it ends, whoever has made it."""

    def __contains__(self, _: object) -> bool:
        return True


def handlers(show: Show) -> kopf.OperatorRegistry:
    """The only handler: of events (decision 20)."""
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
        await show(event["type"], dict(event["object"]))

    return registry


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
    # A new watch continues from the last version, so replacing a silent one is cheap.
    settings.watching.server_timeout = WATCH_SECONDS
    settings.watching.client_timeout = WATCH_SECONDS + LATE_SECONDS
    # When it is over while kopf is not reading, it ends kopf's watch for good (decision 101).
    settings.watching.inactivity_timeout = math.inf
    # kopf would end the process some time after it has ended with an error, although it runs again.
    settings.process.ultimate_exiting_timeout = None
    settings.networking.connect_timeout = 5
    settings.networking.request_timeout = 30
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.persistence.progress_storage = _NoProgress()
    settings.networking.error_backoffs = _Backoffs()
    return settings
