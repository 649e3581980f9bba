"""Runs the console in its own thread and event loop, so that viewers cannot slow the operator."""

import asyncio
import threading

import uvicorn
from fastapi import FastAPI

from kotatsu_common.protocol import BoundedProtocol

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
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Close the connections and wait up to 5 s for the thread."""
        self._server.should_exit = True
        self._thread.join(timeout=5)
