"""Addresses of pods that are none of this machine's: connections to them end on loopback.

An EndpointSlice takes no address of 127.0.0.0/8, and to add other ones to this machine takes root.
So a pod has an address of 10.0.0.0/8, and what listens at or connects to it does so at the address
of loopback with the same last three parts. Programs under test run in the event loop below, which
does this for them. Privileged and popular ports are moved up, since a server of this machine that
listens at all its addresses also has those of loopback.
"""

import asyncio
import contextlib
import itertools
import random
import socket
from typing import Any

_OF_PODS, _OF_LOOPBACK = "10.", "127."
_LOW, _MOVED_BY = 10_000, 20_000
_CLAIMED_PORT = 29_999
_SUBNETS, _HOSTS = range(1, 255), 250

on_their_way: set[object] = set()
"""Requests of this process that look for an endpoint or have one, and are not sent yet."""


def real(address: str, port: int) -> tuple[str, int]:
    """Where on this machine a port of a pod is; anything else is what it is."""
    if not address.startswith(_OF_PODS):
        return address, port
    return (
        _OF_LOOPBACK + address.removeprefix(_OF_PODS),
        port + _MOVED_BY if 0 < port < _LOW else port,
    )


class PodLoop(asyncio.SelectorEventLoop):
    """An event loop to which the addresses of pods are addresses."""

    async def create_connection(  # type: ignore[override]
        self, factory: Any, host: Any = None, port: Any = None, **more: Any
    ) -> Any:
        """Connect, also to a pod."""
        if isinstance(host, str):
            host, port = real(host, port)
        return await super().create_connection(factory, host, port, **more)

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect a socket, also to a pod."""
        await super().sock_connect(sock, (*real(*address[:2]), *address[2:]))

    async def create_server(  # type: ignore[override]
        self, factory: Any, host: Any = None, port: Any = None, **more: Any
    ) -> asyncio.Server:
        """Listen, also as a pod."""
        if isinstance(host, str):
            host, port = real(host, port)
        return await super().create_server(factory, host, port, **more)


class Subnet(contextlib.ExitStack):
    """Addresses for the pods of one process; no other process on this machine has the same.

    A socket claims them until it is closed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._prefix = self._claim()
        self._numbers = itertools.count()

    def _claim(self) -> str:
        for number in random.sample(_SUBNETS, len(_SUBNETS)):
            prefix = f"{_OF_PODS}{number}"
            address, _ = real(f"{prefix}.255.254", 0)
            with contextlib.suppress(OSError):
                self.enter_context(socket.create_server((address, _CLAIMED_PORT)))
                return prefix
        raise RuntimeError("no addresses left for pods: too many test runs at the same time")

    def address(self) -> str:
        """The next address."""
        net, host = divmod(next(self._numbers), _HOSTS)
        return f"{self._prefix}.{net}.{host + 1}"
