"""Connections that have not sent their first bytes yet: a bounded number of them.

Load balancers probe by connecting, browsers connect ahead of time, and attackers stay silent on
purpose. None of these connections is held, so `maxHeld` does not count them.
"""

from typing import Protocol


class SilentConnection(Protocol):
    """A connection that can be evicted."""

    def close(self) -> None:
        """End the connection."""


class SilentConnections:
    """A bounded set of silent connections: above its limit the oldest one is evicted.

    Real clients send within milliseconds, so the oldest silent connection is the one to evict.
    """

    def __init__(self) -> None:
        self._guests: dict[SilentConnection, None] = {}  # in order of arrival

    def __len__(self) -> int:
        return len(self._guests)

    @property
    def oldest(self) -> SilentConnection | None:
        """The oldest silent connection, or None."""
        return next(iter(self._guests), None)

    def enter(self, guest: SilentConnection, limit: int) -> None:
        """Add a connection; the oldest are closed while there are more than `limit`."""
        self._guests[guest] = None
        while len(self._guests) > max(limit, 1):
            oldest = next(iter(self._guests))
            del self._guests[oldest]
            oldest.close()

    def leave(self, guest: SilentConnection) -> None:
        """The connection has sent its first bytes or has ended."""
        self._guests.pop(guest, None)
