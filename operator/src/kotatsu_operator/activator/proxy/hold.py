"""The connections that are held for one pool, and for how long: one timer for all of them."""

import asyncio
from collections.abc import Callable, Iterator

from kotatsu_operator.activator.proxy.splice import Client

_AT_ONCE = 0.01
"""Seconds: those whose time is up this close together leave together."""


class Hold:
    """Held connections in the order they came; `on_timeout` is called when one's time is up.

    `timeout` is asked when needed, in seconds: a change of it counts for those who wait already.
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
        """It waits no more."""
        self._clients.pop(client, None)

    def watch(self) -> None:
        """Look who has waited for too long, now and when the next one's time is up."""
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
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
