"""Running an app so that its end loses no request.

A pod ends in two steps. Its preStop hook sends SIGUSR1 and waits: the process goes on accepting
(clients may not know yet that it leaves) but answers `Connection: close`. Then SIGTERM: it stops
listening, and what has been accepted is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from prometheus_client import disable_created_metrics

from kotatsu_common.protocol import BoundedProtocol
from kotatsu_common.traffic import Drain

if TYPE_CHECKING:  # a server of another kind of app need not load them: half a second of a start
    from fastapi import FastAPI

    from kotatsu_common.settings import ServiceSettings

# What a connection that was accepted but has sent nothing yet gets, before it is closed.
FIRST_REQUEST_SECONDS = 1.0


class Server(uvicorn.Server):
    """uvicorn, but a connection accepted just before SIGTERM still has its request answered.

    uvicorn closes every connection without a request at once, also one whose request is on the wire
    (https://github.com/encode/uvicorn/discussions/2757).
    """

    def __init__(self, config: uvicorn.Config, drain: Drain) -> None:
        super().__init__(config)
        self.drain = drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Begin the end; a second Ctrl-C doesn't wait. Signals are not raised again afterwards."""
        self.drain.start()
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, wait for first requests, then let uvicorn finish the rest."""
        for connection in self._stop_listening():
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)
        for _ in range(int(FIRST_REQUEST_SECONDS / 0.05)):
            if self.force_exit or not self._unread():
                break
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)

    def _stop_listening(self) -> list[socket.socket]:
        """Close the listeners; returns what the kernel had accepted but the loop had not yet.

        Closing a listener resets those, so the last of them are taken through a copy of it.
        """
        listeners = [os.dup(s.fileno()) for server in self.servers for s in server.sockets]
        for server in self.servers:
            server.close()
        waiting: list[socket.socket] = []
        for descriptor in listeners:
            with socket.socket(fileno=descriptor) as listener, contextlib.suppress(BlockingIOError):
                listener.setblocking(False)
                while True:
                    waiting.append(listener.accept()[0])
        return waiting

    def _protocol(self) -> asyncio.Protocol:
        make = self.config.http_protocol_class
        return make(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    def _unread(self) -> bool:
        return any(
            getattr(connection, "cycle", None) is None
            for connection in self.server_state.connections
        )


def serve(app: FastAPI, settings: ServiceSettings) -> None:
    """Serve `app`, which `create_base_app` made, until SIGTERM or SIGINT; SIGUSR1 starts the drain.

    Blocks.
    """
    switch: Drain = app.state.drain
    disable_created_metrics()  # type: ignore[no-untyped-call]
    if hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, lambda *_: switch.start())
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="auto",
        http=partial(BoundedProtocol, body_bytes=app.state.body_bytes),  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=settings.keep_alive,
        timeout_graceful_shutdown=settings.shutdown_timeout,
    )
    Server(config, switch).run()
