"""What the kernel is told of an activator's connections, and what it knows of them."""

import array
import fcntl
import socket
import struct
import termios
from typing import Any

_UNSENT = 64 * 1024
"""Bytes that the kernel takes of us ahead of what it can send: for a side that does not read it
would keep megabytes, of each connection, and count them as memory of this pod."""

UNREAD_CLIENT, UNREAD_POD = 128 * 1024, 32 * 1024
"""Bytes that the kernel may take of a client and of a pod ahead of what we read, which is nothing
while the other side is slow. Left alone it takes megabytes. A pod is in the same cluster, where a
round trip takes a millisecond at most; a client may be far away."""

_OPTIONS = (
    # A side that has vanished without a word (a dead node, a cut cable) is noticed after two
    # minutes; a quiet one that lives is left alone.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT),
)


def prepare(given: Any) -> None:
    """Set the options of a connection, or of a listener, whose connections inherit them.

    `given` is what a transport or a server calls its socket.
    """
    # uvloop's makes a real socket for every single option.
    real = socket.socket(given.family, given.type, given.proto, fileno=given.fileno())
    try:
        for level, option, value in _OPTIONS:
            real.setsockopt(level, option, value)
    finally:
        real.detach()


def bound(given: Any, unread: int) -> None:
    """Bound what the kernel takes of a side of a joined connection, in bytes."""
    given.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, unread)


def break_off(given: Any) -> None:
    """Let the end of a connection be a reset: its other side sees that it was cut off."""
    given.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


# States of a TCP connection, as the kernel numbers them.
_ESTABLISHED, _FIN_WAIT1, _FIN_WAIT2, _CLOSE = 1, 4, 5, 7


def has_finished(given: Any) -> bool:
    """Whether the other side will send no more, though perhaps nobody has read that yet."""
    return _state(given) not in (_ESTABLISHED, _FIN_WAIT1, _FIN_WAIT2)


def is_broken(given: Any) -> bool:
    """Whether the connection was reset, though perhaps nobody has noticed yet."""
    return _state(given) == _CLOSE


def _state(given: Any) -> int:
    info: bytes = given.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    return info[0]


def unread(given: Any) -> int:
    """Bytes of memory that the kernel may take while a connection is not read."""
    return int(given.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))


def unacknowledged(given: Any) -> int:
    """Bytes that the kernel has taken and the other side has not."""
    count = array.array("i", [0])
    fcntl.ioctl(given.fileno(), termios.TIOCOUTQ, count)
    return count[0]
