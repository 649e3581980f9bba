"""The console's HTTP API: the page, the pools as JSON, and their changes as SSE.

Its server has a thread and an event loop of its own, so that viewers cannot slow the operator.
"""

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Callable, Collection
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi.responses import (
    FileResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.types import ASGIApp, Receive, Scope, Send

from kotatsu_common.pages import PageFiles, page_headers
from kotatsu_common.protocol import BoundedProtocol
from kotatsu_operator.core.formats import stamp
from kotatsu_operator.features.console.board import Board
from kotatsu_operator.features.console.view import pool_view

_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]]+))(?::[0-9]*)?")


def name_of(host: str) -> str:
    """The name or address in a Host header without the port; empty if the header is invalid."""
    found = _AUTHORITY.fullmatch(host.strip().lower())
    return "" if found is None else (found[1] or found[2]).removesuffix(".")


def is_known(host: str, names: Collection[str]) -> bool:
    """Whether the console accepts a Host header: localhost, any IP address, or one of `names`."""
    name = name_of(host)
    try:
        ip_address(name)
    except ValueError:
        return name == "localhost" or name in names
    return True


class KnownHosts:
    """Middleware that rejects requests for any other host with 421 and a sentence.

    Against DNS rebinding: a web page can point its own name at 127.0.0.1 or at a pod, and a browser
    then lets its scripts read everything. Such a request has the page's name in its Host header. IP
    addresses are accepted: DNS cannot redirect them.
    """

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app, self._names = app, frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the Host header, then pass the request on."""
        if scope["type"] == "http":
            hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
            if len(hosts) != 1 or not is_known(hosts[0], self._names):
                await _refusal(hosts)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _refusal(hosts: list[str]) -> PlainTextResponse:
    name = name_of(hosts[0])[:253] if len(hosts) == 1 else ""
    asked = f"not {name!r}" if name else "and a request needs one Host header"
    return PlainTextResponse(
        f"The console accepts localhost, IP addresses and its Service's names, {asked}. "
        "For another name, add it to the chart value console.hosts.\n",
        421,
        {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"},
    )


WEB = Path(__file__).parent / "web"
LOOK_EVERY = 0.5
"""Seconds between two checks for changes while a client is connected."""
STILL_THERE = 15.0
"""Seconds after which a comment is sent: proxies close silent connections."""
VIEWERS = 50
"""Concurrent viewers; further ones get 503 with Retry-After."""


def create_console(
    board: Board,
    clock: Callable[[], datetime],
    hosts: Collection[str] = (),
) -> FastAPI:
    """The console as an ASGI app. It only reads, and it contains no secret.

    `hosts` are the names that the console accepts besides localhost and IP addresses.
    """
    app = FastAPI(title="Kotatsu console", docs_url=None, redoc_url=None)
    app.add_middleware(KnownHosts, names=hosts)
    headers = page_headers()
    watching = 0
    # All pools together can be megabytes: one viewer's are put together at a time.
    turn = threading.Lock()

    def state(after: int) -> tuple[int, bytes]:
        with turn:
            now = clock()
            version, keys, changed = board.read(after)
            found = {
                "now": stamp(now),
                "since": stamp(board.since),
                "keys": ["/".join(key) for key in keys],
                "pools": [pool_view(entry, now) for entry in changed],
            }
            return version, json.dumps(found, separators=(",", ":")).encode()

    @app.get("/", include_in_schema=False)
    async def index() -> FileResponse:
        return FileResponse(WEB / "index.html", headers=headers)

    @app.get("/api/pools")
    async def pools() -> Response:
        """Every pool in its current state."""
        _, now = await asyncio.to_thread(state, 0)
        headers = {"Cache-Control": "no-store"}
        return Response(now, media_type="application/json", headers=headers)

    @app.get("/api/changes")
    async def changes() -> Response:
        """Every pool, then each pool that changes, as server-sent events."""
        if watching >= VIEWERS:
            return Response(status_code=503, headers={"Retry-After": "30"})
        return StreamingResponse(
            follow(),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def follow() -> AsyncIterator[bytes]:
        nonlocal watching
        watching += 1
        try:
            version, said = -1, 0.0
            loop = asyncio.get_running_loop()
            while True:
                if board.version != version:
                    version, now = await asyncio.to_thread(state, max(version, 0))
                    said = loop.time()
                    yield b"data: " + now + b"\n\n"
                elif loop.time() - said >= STILL_THERE:
                    said = loop.time()
                    yield b": still here\n\n"
                await asyncio.sleep(LOOK_EVERY)
        finally:
            watching -= 1

    app.mount("/console", PageFiles(WEB, headers), name="files")
    return app


CONNECTIONS = 200
"""Concurrent connections, also silent ones. Each is a file descriptor of the operator's process."""


class _Bounded(BoundedProtocol):
    """Above the limit the connection that was silent for the longest time ends.

    If none is silent, the new one does.
    """

    most_connections = CONNECTIONS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            self.give_way()

    def give_way(self) -> None:
        """End at once, since a client that takes no byte would keep the file open."""
        self.connections.discard(self)
        self.transport.abort()


class ConsoleServer:
    """Serves the console from `start` until `stop`."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        config = uvicorn.Config(
            app, host=host, port=port, log_config=None, access_log=False, lifespan="off", ws="none",
            timeout_graceful_shutdown=1, http=_Bounded,
            limit_concurrency=CONNECTIONS + 1,  # of requests, which can outlive their connection
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._server.serve()), name="console", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Close the connections and wait up to 5 s for the thread."""
        self._server.should_exit = True
        self._thread.join(timeout=5)
