"""Socket options of an activator's connections, and their state in the kernel."""

import array
import asyncio
import fcntl
import socket
import struct
import termios
from typing import Any

_UNSENT = 64 * 1024
"""Bytes that the kernel accepts from the activator ahead of what it can send. The default is
megabytes for each connection whose other side does not read, and counts as memory of this pod."""

UNREAD_CLIENT, UNREAD_POD = 128 * 1024, 64 * 1024
"""Bytes that the kernel may receive from a client and from a pod while the activator does not read,
because the other side is slow. The default is megabytes. A pod is in the same cluster, with a round
trip of at most a millisecond; a client may be far away. With half as much from a pod, it would wait
for each read: one segment, of at most 64 KiB, would fill the window."""

_OPTIONS = (
    # A side that has vanished (a dead node, a cut cable) is detected after two minutes; a quiet one
    # that is alive stays connected.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT),
)


def prepare(given: Any) -> None:
    """Set the options of a connection, or of a listener, whose connections inherit them."""
    # uvloop's socket object would create a real socket for each option.
    real = socket.socket(given.family, given.type, given.proto, fileno=given.fileno())
    try:
        for level, option, value in _OPTIONS:
            real.setsockopt(level, option, value)
    finally:
        real.detach()


def bound(given: Any, unread: int) -> None:
    """Limit the kernel's receive buffer of one side of a joined connection, in bytes."""
    given.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, unread)


def abort(transport: asyncio.Transport) -> None:
    """End a connection by a reset, which shows the other side the cut-off.

    Without a reset the kernel would keep what the other side does not read, for minutes.
    """
    if not transport.is_closing() or transport.get_write_buffer_size():  # else it has no socket
        given = transport.get_extra_info("socket")
        given.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


# States of a TCP connection, as numbered by the kernel.
_ESTABLISHED, _FIN_WAIT1, _FIN_WAIT2, _CLOSE = 1, 4, 5, 7


def has_finished(transport: asyncio.Transport | None) -> bool:
    """Whether the other side sends no more, even if its last bytes are not read yet."""
    if transport is None:
        return True
    return _state(transport.get_extra_info("socket")) not in (_ESTABLISHED, _FIN_WAIT1, _FIN_WAIT2)


def is_broken(given: Any) -> bool:
    """Whether the connection was reset, even if the event loop has not noticed it yet."""
    return _state(given) == _CLOSE


def _state(given: Any) -> int:
    info: bytes = given.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    return info[0]


PATIENCE = 60.0
"""Seconds without any byte read by the other side, after which a connection is aborted."""

CHECK_EVERY = 0.05
"""Seconds between two checks of the remaining bytes, before a connection is reset."""


def untaken(transport: asyncio.Transport) -> int:
    """Bytes not acknowledged by the other side, in the activator's and kernel's buffers."""
    count = array.array("i", [0])
    fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, count)
    return transport.get_write_buffer_size() + count[0]


def weight(transport: asyncio.Transport | None, *, has_finished: bool) -> int:
    """Bytes of memory that a connection uses: not yet acknowledged, and not yet read.

    The kernel may use all of its receive buffer while a connection is not read.
    """
    if transport is None:
        return 0
    if transport.is_closing():
        return transport.get_write_buffer_size()
    unread = 0
    if not has_finished and not transport.is_reading():
        given = transport.get_extra_info("socket")
        unread = int(given.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))
    return untaken(transport) + unread


def close(transport: asyncio.Transport, patience: float) -> None:
    """Close once all written bytes are sent, or abort if the other side reads none for so long.

    To the kernel, a side that is alive and does not read is healthy.
    """
    transport.close()
    if transport.get_write_buffer_size():
        loop, now = asyncio.get_running_loop(), untaken(transport)
        loop.call_later(patience, _abort_if_stuck, transport, now, patience)


def reset(transport: asyncio.Transport) -> None:
    """Reset a connection once the other side has read the bytes written before, or has gone.

    With a normal close, an answer without a length would count as complete.
    """
    _look_again(transport, untaken(transport), 0)


def _look_again(transport: asyncio.Transport, before: int, quiet: int) -> None:
    if transport.is_closing():
        return
    now = untaken(transport)
    quiet = 0 if now < before else quiet + 1
    is_gone = is_broken(transport.get_extra_info("socket"))  # what it has not read is still counted
    if now and not is_gone and quiet * CHECK_EVERY < PATIENCE:
        loop = asyncio.get_running_loop()
        loop.call_later(CHECK_EVERY, _look_again, transport, now, quiet)
        return
    abort(transport)


def _abort_if_stuck(transport: asyncio.Transport, before: int, patience: float) -> None:
    if not transport.get_write_buffer_size():
        return
    if (now := untaken(transport)) < before:
        asyncio.get_running_loop().call_later(patience, _abort_if_stuck, transport, now, patience)
    else:
        abort(transport)
