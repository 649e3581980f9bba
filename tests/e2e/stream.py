"""A steady stream of requests, from clients of several protocols that come again and again."""

import asyncio
import contextlib
import ctypes
import json
import logging
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from e2e.kit import App
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

log = logging.getLogger(__name__)

CLONE_NEWNET = 0x40000000
CONNECT_SECONDS = 10.0
"""A connection is accepted at once, by a pod or by an activator, however long its request waits."""

ASTRAY = 1
"""Connections of a stream that may never come about, and are tried again. It was seen on this node
twice in some fifty thousand, with nothing of ours in the way: the kernel remembers where the first
packet of a connection went. Where nobody is behind a Service for long, there are more."""

SERVICE_RESTART = 1012
"""How a WebSocket ends whose server goes: its client is to come again, and it is no failure."""


@dataclass(frozen=True)
class Failure:
    """A request that was not answered."""

    began: datetime
    ended: datetime
    why: str
    way: str
    steps: tuple[str, ...] = ()
    """How far it came: over a new connection or a kept one, sent or not."""

    def __repr__(self) -> str:
        return f"{self.began.time()} to {self.ended.time()} {self.way}: {self.why} {self.steps}"


@dataclass
class Stream:
    """A steady stream of requests from some clients, each in its way.

    With a network namespace the clients are there (on tools/node's second node).
    """

    app: App
    clients: int = 4
    pause: float = 0.05
    ms: int = 20
    address: str = ""
    namespace: Path | None = None
    ways: "Sequence[Way]" = ()
    """How the clients come, in turn; half of them over kept connections where nothing is said."""
    timeout: float = 60
    done: int = 0
    restarted: int = 0
    """WebSockets that were closed because their server goes."""
    astray: list[datetime] = field(default_factory=list)
    """When a connection that never came about was given up."""
    failures: list[Failure] = field(default_factory=list)
    _stop: bool = False
    _flows: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> "Stream":
        self.flow()
        work = self._clients() if self.namespace is None else inside(self.namespace, self._clients)
        self._work = asyncio.create_task(work)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop = True
        self.flow()
        await self._work

    def flow(self) -> None:
        """Let the clients send, at first or after `halt`."""
        self._flows.set()

    def halt(self) -> None:
        """Let each client be silent after its request; kept connections stay open."""
        self._flows.clear()

    async def rest(self) -> None:
        """What a client does between two requests."""
        await asyncio.sleep(self.pause)
        await self._flows.wait()

    @property
    def is_over(self) -> bool:
        """Whether the clients are to stop."""
        return self._stop

    async def ask(self, way: str, send: Callable[[str, list[str]], Awaitable[object]]) -> bool:
        """Send one request with an id of its own; whether it was answered.

        `send` gets the id, and a list for the steps it takes.
        """
        began, steps = datetime.now(UTC), list[str]()

        def failed(error: Exception) -> None:
            what = Failure(began, datetime.now(UTC), repr(error), way, tuple(steps))
            self.failures.append(what)

        request_id = uuid.uuid4().hex
        self.app.sent.append(request_id)
        try:
            await send(request_id, steps)
        except ConnectionClosed as error:
            self.app.unanswered.add(request_id)
            if error.rcvd is not None and error.rcvd.code == SERVICE_RESTART:
                self.restarted += 1
            else:
                failed(error)
            return False
        except (httpx.HTTPError, WebSocketException, OSError, AssertionError) as error:
            self.app.unanswered.add(request_id)
            failed(error)
            return False
        self.done += 1
        return True

    async def _clients(self) -> None:
        await self._reach()
        ways = self.ways or (over_a_kept_connection, over_connections_of_its_own)
        await asyncio.gather(*(ways[i % len(ways)](self) for i in range(self.clients)))

    async def _reach(self) -> None:
        """Wait until a connection can be opened; nothing is sent over it, so nobody is woken.

        What is sent to a Service that kube-proxy does not know yet goes astray, and so does every
        repetition of it over the same connection: the kernel remembers where the first went.
        """
        where = urlsplit(f"//{self.address or self.app.address}")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.timeout):
                while not await _opens(where.hostname or "", where.port or 80):
                    await asyncio.sleep(0.1)


async def _opens(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(1):
            _, writer = await asyncio.open_connection(host, port)
    except OSError:  # a TimeoutError is one
        return False
    writer.close()
    return True


Way = Callable[[Stream], Coroutine[Any, Any, None]]
"""One client: sends requests until the stream is over."""


async def over_a_kept_connection(stream: Stream) -> None:
    """HTTP/1.1, keep-alive."""
    await over_http(stream, "kept connection")


async def over_connections_of_its_own(stream: Stream) -> None:
    """HTTP/1.1, a connection for each request."""
    await over_http(stream, "own connection", headers={"Connection": "close"})


async def over_http2(stream: Stream) -> None:
    """HTTP/2 with prior knowledge, over a kept connection."""
    await over_http(stream, "HTTP/2", port=":81", http1=False, http2=True)


async def over_a_websocket(stream: Stream) -> None:
    """Messages of a WebSocket, which is opened again when it was closed."""
    url = f"ws://{stream.address or stream.app.address}/echo"
    socket: ClientConnection | None = None

    async def send(request_id: str, steps: list[str]) -> None:
        nonlocal socket
        async with asyncio.timeout(stream.timeout):
            if socket is None:
                steps.append("connect")
                socket = await connect(
                    url, open_timeout=stream.timeout, proxy=None, ping_interval=None
                )
            steps.append("send")
            await socket.send(json.dumps({"request_id": request_id, "ms": stream.ms}))
            stream.app.check(json.loads(await socket.recv()), request_id)

    while not stream.is_over:
        if not await stream.ask("WebSocket", send) and socket is not None:
            await socket.close()
            socket = None
        await stream.rest()
    if socket is not None:
        await socket.close()


async def over_http(
    stream: Stream,
    way: str,
    headers: dict[str, str] | None = None,
    port: str = "",
    **protocol: Any,
) -> None:
    """HTTP over connections that are kept unless the headers say otherwise."""
    address = f"{stream.address or stream.app.address}{port}"
    timeout = httpx.Timeout(stream.timeout, connect=CONNECT_SECONDS)
    async with httpx.AsyncClient(timeout=timeout, trust_env=False, **protocol) as http:

        async def send(request_id: str, steps: list[str]) -> None:
            async def trace(event: str, _: object) -> None:
                steps.append(event)

            async def post() -> None:
                extensions = {"trace": trace}
                await stream.app.post(http, request_id, stream.ms, headers, address, extensions)

            try:
                await post()
            except httpx.ConnectTimeout:
                stream.astray.append(datetime.now(UTC))
                if len(stream.astray) > ASTRAY:
                    raise
                log.warning("%s: a connection never came about; again", stream.app.name)
                await post()  # nothing was sent

        while not stream.is_over:
            await stream.ask(way, send)
            await stream.rest()


async def inside(namespace: Path, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine in a network namespace, in a thread and event loop of its own.

    Addresses must be given as numbers: names are resolved by other threads.
    """

    def run() -> Any:
        libc = ctypes.CDLL(None, use_errno=True)
        with namespace.open() as file:
            if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
        return asyncio.run(work())

    # A thread that is in a namespace is good for nothing else afterwards: no pool may keep it.
    with ThreadPoolExecutor(max_workers=1) as thread:
        return await asyncio.get_running_loop().run_in_executor(thread, run)
