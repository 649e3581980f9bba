"""Connections whose other side may never take what it is still to get."""

import asyncio

from kotatsu_operator.activator.proxy import sockets

PATIENCE = 60.0
"""Seconds without a single byte taken after which the rest is given up."""

LOOK_EVERY = 0.05
"""Seconds between two looks at what is left, before a connection is broken off."""


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


def reset(transport: asyncio.Transport) -> None:
    """Break a connection off, once the other side has taken what was written before.

    The other side of a splice was reset, or vanished. An end like any other would say that this was
    all: an answer without a length would count as complete.
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
