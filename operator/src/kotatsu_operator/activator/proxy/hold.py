"""The held connections of one pool and their timeout: one timer for all of them."""

import asyncio
from collections.abc import Callable, Iterator

from kotatsu_operator.activator.proxy.splice import Client

_AT_ONCE = 0.01
"""Seconds: connections whose timeouts are this close together time out together."""


class Hold:
    """Held connections in order of arrival; `on_timeout` is called for each that times out.

    `timeout` is called when needed and returns seconds: a change applies to connections that
    already wait.
    """

    def __init__(self, timeout: Callable[[], float], on_timeout: Callable[[Client], None]) -> None:
        self._timeout, self._on_timeout = timeout, on_timeout
        self._clients: dict[Client, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._clients)

    def __iter__(self) -> Iterator[Client]:
        return iter(self._clients)

    def __contains__(self, client: Client) -> bool:
        return client in self._clients

    def add(self, client: Client) -> None:
        """Hold a connection from now on."""
        client.since = asyncio.get_running_loop().time()
        self._clients[client] = None
        if self._timer is None:
            self.watch()

    def remove(self, client: Client) -> None:
        """Stop holding a connection."""
        self._clients.pop(client, None)

    def watch(self) -> None:
        """Call `on_timeout` for connections past the timeout, and schedule the next check."""
        self.close()
        loop = asyncio.get_running_loop()
        now, timeout = loop.time(), self._timeout()
        late = []
        for client in self._clients:
            left = client.since + timeout - now
            if left > 0:
                self._timer = loop.call_later(max(left, _AT_ONCE), self.watch)
                break
            late.append(client)
        for client in late:
            self._on_timeout(client)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
