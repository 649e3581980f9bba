"""One side of a spliced connection: its transport, and what it does for the other side."""

import asyncio
from typing import cast

from kotatsu_operator.activator import sockets


class Side(asyncio.Protocol):
    """One side of a spliced connection: a transport that may not be there yet, or not any more."""

    __slots__ = ("has_finished", "is_full", "other", "transport")

    def __init__(self, other: "Side | None" = None) -> None:
        self.transport: asyncio.Transport | None = None
        self.other = other
        """The side that this one is joined to."""
        self.has_finished = False
        """Whether this side has ended its half of the connection."""
        self.is_full = False
        """Whether this side's write buffer is full."""

    @property
    def patience(self) -> float:
        """Seconds without any byte read by this side, after which its last bytes are given up."""
        return sockets.PATIENCE

    def weigh(self) -> int:
        """Count the bytes that the two sides have not read; returns their number."""
        return 0 if self.other is None else self.other.weigh()

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

    def finish(self) -> None:
        """The other side has ended its half of the connection: forward that."""
        if self.transport is not None and self.transport.can_write_eof():
            self.transport.write_eof()

    def close(self) -> None:
        if self.transport is not None:
            sockets.close(self.transport, self.patience)

    def reset(self) -> None:
        """Reset the connection: the other side was cut off."""
        if self.transport is not None:
            sockets.reset(self.transport)

    def abort(self) -> None:
        """Reset the connection at once, whatever the other side has not read."""
        if self.transport is not None:
            sockets.abort(self.transport)

    def pause_reading(self) -> None:
        """The other side reads slowly: stop reading from this one."""
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        transport = self.transport
        if transport is not None and not self.has_finished and not transport.is_closing():
            transport.resume_reading()
