"""Connections whose other side may never take what it is still to get."""

import asyncio

from . import sockets

PATIENCE = 60.0
"""Seconds without a single byte taken after which the rest is given up."""


def left(transport: asyncio.Transport) -> int:
    """Bytes that the other side has yet to take: ours, and those the kernel has."""
    return transport.get_write_buffer_size() + sockets.unacknowledged(
        transport.get_extra_info("socket")
    )


def weight(transport: asyncio.Transport, *, has_finished: bool) -> int:
    """Bytes of memory that a connection takes: those it has yet to take, and those not yet read.

    Of a side that has finished nothing more comes.
    """
    if transport.is_closing():
        return transport.get_write_buffer_size()
    is_read = has_finished or transport.is_reading()
    return left(transport) + (0 if is_read else sockets.unread(transport.get_extra_info("socket")))


def close(transport: asyncio.Transport) -> None:
    """Close once everything written has been sent, or when nothing of it is taken any more.

    A side that lives and does not read keeps a connection for ever: to the kernel it is well.
    """
    transport.close()
    if transport.get_write_buffer_size():
        _look_later(transport, left(transport))


def _look_later(transport: asyncio.Transport, before: int) -> None:
    def look() -> None:
        if not transport.get_write_buffer_size():
            return
        now = left(transport)
        if now < before:
            _look_later(transport, now)
        else:
            transport.abort()

    asyncio.get_running_loop().call_later(PATIENCE, look)
