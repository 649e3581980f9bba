"""Connections that have not said yet what they want: a bounded number of them.

Load balancers probe by connecting, browsers connect ahead of time, and some clients never come to
the point on purpose. None of them is held, so `maxHeld` does not count them.
"""

from typing import Protocol


class SilentConnection(Protocol):
    """What can be sent away."""

    def close(self) -> None:
        """End the connection."""


class SilentConnections:
    """Keeps at most so many; where there is no room, whoever has waited longest goes.

    Who means it has said so within milliseconds, so the oldest is the one least missed.
    """

    def __init__(self) -> None:
        self._guests: dict[SilentConnection, None] = {}  # in the order they came

    def __len__(self) -> int:
        return len(self._guests)

    @property
    def oldest(self) -> SilentConnection | None:
        """The one that has waited longest."""
        return next(iter(self._guests), None)

    def enter(self, guest: SilentConnection, limit: int) -> None:
        """Take one in; the oldest leave when there are more than `limit`."""
        self._guests[guest] = None
        while len(self._guests) > max(limit, 1):
            oldest = next(iter(self._guests))
            del self._guests[oldest]
            oldest.close()

    def leave(self, guest: SilentConnection) -> None:
        """It has come to the point, or gone."""
        self._guests.pop(guest, None)
