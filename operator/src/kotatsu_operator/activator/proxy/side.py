"""One side of a spliced connection, of its client or of its pod: how it ends and pauses."""

import asyncio
from abc import abstractmethod
from typing import cast

from kotatsu_operator.activator.proxy import sockets


class Side(asyncio.Protocol):
    """A transport that may not be there yet, or not any more."""

    __slots__ = ("has_finished", "is_full", "transport")

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.has_finished = False
        """Whether this side has ended its half of the connection."""
        self.is_full = False
        """Whether this side's write buffer is full."""

    @property
    @abstractmethod
    def other(self) -> "Side | None":
        """The side that this one is joined to."""

    @abstractmethod
    def weigh(self) -> int:
        """Count the bytes that the two sides have not read; returns their number."""

    # --- calls from the event loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pause writing as soon as the kernel does not accept all bytes."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(0)

    def pause_writing(self) -> None:
        """This side reads slowly: stop reading from the other one."""
        self.is_full = True
        if self.other is not None:
            self.other.pause_reading()
        self.weigh()

    def resume_writing(self) -> None:
        self.is_full = False
        if self.other is not None:
            self.other.resume_reading()
        self.weigh()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the other side in the same way as this one: close or reset."""
        self.transport = None
        if self.other is not None:
            if exc is None or self.has_finished:
                self.other.close()
            else:
                self.other.reset()
        self.weigh()

    # --- calls from the other side ---

    @property
    def weight(self) -> int:
        if self.transport is None:
            return 0
        return sockets.weight(self.transport, has_finished=self.has_finished)

    def finish(self) -> None:
        """The other side has ended its half of the connection: forward that."""
        if self.transport is not None and self.transport.can_write_eof():
            self.transport.write_eof()

    def close(self) -> None:
        if self.transport is not None:
            sockets.close(self.transport)

    def reset(self) -> None:
        """Reset the connection: the other side was cut off."""
        if self.transport is not None:
            sockets.reset(self.transport)

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def pause_reading(self) -> None:
        """The other side reads slowly: stop reading from this one."""
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        transport = self.transport
        if transport is not None and not self.has_finished and not transport.is_closing():
            transport.resume_reading()
