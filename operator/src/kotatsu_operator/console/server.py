"""The console in a thread and event loop of its own: no viewer may slow the operator down."""

import asyncio
import threading

import uvicorn
from fastapi import FastAPI

from kotatsu_common.protocol import BoundedProtocol

CONNECTIONS = 250
"""At a time, also of clients that ask nothing: each is an open file of the operator's process."""


class _Bounded(BoundedProtocol):
    """Turns away who comes when there are enough."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()


class ConsoleServer:
    """Serves until `stop`."""

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
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """End the connections and wait for the thread."""
        self._server.should_exit = True
        self._thread.join(timeout=5)
