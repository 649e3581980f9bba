"""The timeout of held connections: one timer for all of a pool."""

import asyncio
from collections.abc import Callable, Iterable

from kotatsu_operator.activator.proxy.client import Client

_AT_ONCE = 0.01
"""Seconds: connections whose timeouts are this close together time out together."""


class HoldTimer:
    """Calls `on_timeout` for each held connection that has waited for `timeout()` seconds.

    `held` are in order of arrival. `timeout` is called when needed: a change applies to connections
    that already wait.
    """

    def __init__(
        self,
        held: Iterable[Client],
        timeout: Callable[[], float],
        on_timeout: Callable[[Client], None],
    ) -> None:
        self._held, self._timeout, self._on_timeout = held, timeout, on_timeout
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Time the first held connection; later ones time out after it."""
        if self._timer is None:
            self.check()

    def check(self) -> None:
        """Call `on_timeout` for connections past the timeout, and schedule the next check."""
        self.close()
        loop = asyncio.get_running_loop()
        now, timeout = loop.time(), self._timeout()
        late = []
        for client in self._held:
            left = client.since + timeout - now
            if left > 0:
                self._timer = loop.call_later(max(left, _AT_ONCE), self.check)
                break
            late.append(client)
        for client in late:
            self._on_timeout(client)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
