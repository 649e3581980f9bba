"""The console's HTTP API: the page, the pools as JSON, and their changes as SSE.

Its server has a thread and an event loop of its own, so that viewers cannot slow the operator.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse

from kotatsu_common.pages import PageFiles, page_headers
from kotatsu_common.protocol import BoundedProtocol
from kotatsu_operator.console.board import Board
from kotatsu_operator.console.hosts import KnownHosts
from kotatsu_operator.console.view import pool_view
from kotatsu_operator.core.formats import stamp

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
    namespaces: Sequence[str] = (),
    hosts: Collection[str] = (),
) -> FastAPI:
    """The console as an ASGI app. It only reads, and it contains no secret.

    `hosts` are the names that the console accepts besides localhost and IP addresses.
    """
    app = FastAPI(title="Kotatsu console", docs_url=None, redoc_url=None)
    app.add_middleware(KnownHosts, names=hosts)
    headers = page_headers()
    watching = 0

    def state(after: int) -> tuple[int, dict[str, Any]]:
        now = clock()
        version, keys, changed = board.read(after)
        return version, {
            "now": stamp(now),
            "since": stamp(board.since),
            "namespaces": list(namespaces),
            "keys": ["/".join(key) for key in keys],
            "pools": [pool_view(entry, now) for entry in changed],
        }

    @app.get("/", include_in_schema=False)
    async def index() -> FileResponse:
        return FileResponse(WEB / "index.html", headers=headers)

    @app.get("/api/pools")
    async def pools() -> JSONResponse:
        """Every pool in its current state."""
        _, now = await asyncio.to_thread(state, 0)
        return JSONResponse(now, headers={"Cache-Control": "no-store"})

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

    async def follow() -> AsyncIterator[str]:
        nonlocal watching
        watching += 1
        try:
            version, said = -1, 0.0
            loop = asyncio.get_running_loop()
            while True:
                if board.version != version:
                    version, now = await asyncio.to_thread(state, max(version, 0))
                    said = loop.time()
                    yield f"data: {json.dumps(now, separators=(',', ':'))}\n\n"
                elif loop.time() - said >= STILL_THERE:
                    said = loop.time()
                    yield ": still here\n\n"
                await asyncio.sleep(LOOK_EVERY)
        finally:
            watching -= 1

    app.mount("/console", PageFiles(WEB, headers), name="files")
    return app


CONNECTIONS = 250
"""Concurrent connections, also silent ones. Each is a file descriptor of the operator's process."""


class _Bounded(BoundedProtocol):
    """Closes new connections above the limit."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()


class ConsoleServer:
    """Serves the console from `start` until `stop`."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        config = uvicorn.Config(
            app, host=host, port=port, log_config=None, access_log=False, lifespan="off", ws="none",
            timeout_graceful_shutdown=1, limit_concurrency=200, http=_Bounded,
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
