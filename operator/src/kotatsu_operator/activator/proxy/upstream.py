"""The pod's side of a spliced connection."""

import asyncio
from typing import TYPE_CHECKING

from kotatsu_operator.activator.proxy import sockets
from kotatsu_operator.activator.proxy.side import Side

if TYPE_CHECKING:
    from kotatsu_operator.activator.proxy.client import Client


LINGER = 60.0
"""Seconds that a client may keep its half of a connection open after the pod has ended its own: a
client's pool of idle connections may never detect that."""


class Upstream(Side):
    """The side that faces the pod."""

    __slots__ = ("_client", "_early", "_is_joined", "_linger")

    def __init__(self, client: "Client") -> None:
        super().__init__()
        self._client = client
        self._is_joined = False
        self._early = b""
        """Bytes from the pod before it was joined to its client."""
        self._linger: asyncio.TimerHandle | None = None

    @property
    def other(self) -> "Client":
        return self._client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        sockets.prepare(transport.get_extra_info("socket"))
        sockets.bound(transport.get_extra_info("socket"), sockets.UNREAD_POD)

    def data_received(self, data: bytes) -> None:
        if self._is_joined:
            self._client.write(data)
        else:
            self._early += data
            self.pause_reading()  # until it is joined: one read is enough

    def eof_received(self) -> bool:
        """The pod has ended its half; the client must end its own within LINGER seconds."""
        self.has_finished = True
        if not self._is_joined:
            return True
        self._client.finish()
        if self._client.has_finished:
            self._client.close()
            return False
        self._linger = asyncio.get_running_loop().call_later(LINGER, self.close)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The pod's connection has ended: close the client, or reset it after a reset."""
        if self._linger is not None:
            self._linger.cancel()
        if self._is_joined:
            super().connection_lost(exc)
        self.transport = None

    def weigh(self) -> int:
        return self._client.weigh()

    @property
    def is_there(self) -> bool:
        """Whether the pod can be joined; nothing was written to one that has closed at once."""
        return self.transport is not None and bool(self._early or not self.has_finished)

    @property
    def is_over(self) -> bool:
        """Whether the pod sends no more, even if its last bytes are not read yet."""
        transport = self.transport
        return transport is None or sockets.has_finished(transport.get_extra_info("socket"))

    def join(self) -> None:
        """Forward bytes to the client from now on, beginning with those that came early."""
        self._is_joined = True
        early, self._early = self._early, b""
        if early:
            self._client.write(early)
            if not self._client.is_full:
                self.resume_reading()
        if self.has_finished and not self.eof_received():
            self.close()

    def write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)
