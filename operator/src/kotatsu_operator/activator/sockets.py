"""What the kernel is told of an activator's connections: who has vanished, and how much to keep."""

import socket
from typing import Any

_UNSENT = 128 * 1024
"""Bytes that the kernel takes of us ahead of what it can send: for a side that does not read it
would keep megabytes, of each connection, and count them as memory of this pod."""

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
