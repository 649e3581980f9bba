"""Closing connections whose other side may never read the remaining bytes."""

import asyncio

from kotatsu_operator.activator.proxy import sockets

PATIENCE = 60.0
"""Seconds without any byte read by the other side, after which the connection is aborted."""

LOOK_EVERY = 0.05
"""Seconds between two checks of the remaining bytes, before a connection is reset."""


def left(transport: asyncio.Transport) -> int:
    """Bytes not acknowledged by the other side, in the activator's and kernel's buffers."""
    return transport.get_write_buffer_size() + sockets.unacknowledged(
        transport.get_extra_info("socket")
    )


def weight(transport: asyncio.Transport, *, has_finished: bool) -> int:
    """Bytes of memory that a connection uses: not yet acknowledged, and not yet read.

    A side that has finished sends no further bytes.
    """
    if transport.is_closing():
        return transport.get_write_buffer_size()
    is_read = has_finished or transport.is_reading()
    return left(transport) + (0 if is_read else sockets.unread(transport.get_extra_info("socket")))


def close(transport: asyncio.Transport) -> None:
    """Close once all written bytes are sent, or abort if the other side stops reading.

    To the kernel, a side that is alive and does not read is healthy, so the connection would stay
    open forever.
    """
    transport.close()
    if transport.get_write_buffer_size():
        _look_later(transport, left(transport))


def reset(transport: asyncio.Transport) -> None:
    """Reset a connection once the other side has read the bytes written before.

    The other side of a splice was reset or vanished. With a normal close, an answer without a
    length would count as complete.
    """
    _look_again(transport, left(transport), 0)


def _look_again(transport: asyncio.Transport, before: int, quiet: int) -> None:
    if transport.is_closing():
        return
    now = left(transport)
    quiet = 0 if now < before else quiet + 1
    if now and quiet * LOOK_EVERY < PATIENCE:
        loop = asyncio.get_running_loop()
        loop.call_later(LOOK_EVERY, _look_again, transport, now, quiet)
        return
    sockets.break_off(transport.get_extra_info("socket"))
    transport.abort()


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
