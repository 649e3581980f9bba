"""TCP keepalive: noticing that the other side of a connection has vanished without a word."""

import asyncio
import socket

_KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
)
"""A side that has vanished without a word (a dead node, a cut cable) is noticed after two minutes;
a quiet one that lives is left alone."""


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """Let the kernel find out whether the other side still lives."""
    connection = transport.get_extra_info("socket")
    for level, option, value in _KEEP_ALIVE:
        connection.setsockopt(level, option, value)
