"""When the demo's window opens and closes, and how early its pods start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

ZONE_NAME = "Asia/Tokyo"
ZONE = ZoneInfo(ZONE_NAME)
NAME = "demo"
REPLICAS = 2
AHEAD = timedelta(seconds=18)
"""Long enough to see the pool asleep before its pods start, FIRST_LEAD ahead of the window."""
OPEN = timedelta(seconds=9)
IDLE_AFTER = timedelta(seconds=5)
"""Shorter than OPEN: nothing but the window keeps the pods at its end, so they go at once."""
FIRST_LEAD = "12s"
"""The lead before the first warm-up of these pods: a learned one would assume a slow image pull."""


@dataclass(frozen=True)
class Window:
    """The one-off window of the demo; instants are in UTC."""

    start: datetime
    end: datetime
    replicas: int = REPLICAS
    lead: str = FIRST_LEAD

    def as_value(self) -> dict[str, Any]:
        """The window as spec.windows has it: wall-clock times in the pool's zone."""
        return {
            "name": NAME,
            "start": _wall(self.start),
            "end": _wall(self.end),
            "replicas": self.replicas,
        }

    @property
    def opens_at(self) -> str:
        """The opening as people of the zone say it."""
        return f"{self.start.astimezone(ZONE):%H:%M:%S}"


def window_from(now: datetime, status: Mapping[str, Any]) -> Window:
    """The window that opens AHEAD of `now`, for a pool with this status.

    Its lead is learned where pods of this template have warmed up before.
    """
    start = (now.astimezone(UTC) + AHEAD + timedelta(microseconds=999_999)).replace(microsecond=0)
    internal = status.get("internal") or {}
    template = (internal.get("template") or {}).get("hash")
    # The rows of a template follow its hash.
    has_warmed_up = template in (internal.get("warmUps") or ())
    return Window(start, start + OPEN, lead="" if has_warmed_up else FIRST_LEAD)


def _wall(at: datetime) -> str:
    return f"{at.astimezone(ZONE):%Y-%m-%dT%H:%M:%S}"
