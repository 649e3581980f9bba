"""Short ways to write the values that decisions are made of."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

from hypothesis import settings

from kotatsu_operator.core.pool.memory import Memory, Process
from kotatsu_operator.core.pool.parse import parse
from kotatsu_operator.core.pool.spec import Platform, PoolSpec

TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "voice"}
DAY = "2026-11-25"  # a Wednesday

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def examples(count: int) -> settings:
    """Settings of a property with so many examples; a profile may try a share of them."""
    return settings(max_examples=ceil(count * settings.default.max_examples / 100))


def utc(text: str) -> datetime:
    """An instant written without its zone: `2026-11-25T10:00`."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def t(clock: str) -> datetime:
    """A time of the day all walks take place on, in UTC: `10:00` or `10:00:05`."""
    return utc(f"{DAY}T{clock}")


def pool_spec(settle: float = 5, **fields: Any) -> PoolSpec:
    """A parsed spec; fields are written as in a manifest. `settle` is the chart's routeSettle."""
    return parse({"targetRef": TARGET, **fields}, Platform(timedelta(seconds=settle)))


def once(name: str, start: str, end: str, replicas: int = 2) -> dict[str, Any]:
    """A window of the walks' day, by clock times."""
    return {"name": name, "start": f"{DAY}T{start}", "end": f"{DAY}T{end}", "replicas": replicas}


def cron(schedule: str, duration: str, replicas: int = 2, name: str = "w") -> dict[str, Any]:
    """A repeating window."""
    return {"name": name, "schedule": schedule, "duration": duration, "replicas": replicas}


def override(mode: str, until: datetime, **fields: Any) -> dict[str, Any]:
    """A person's decision until an instant."""
    return {"mode": mode, "until": until.isoformat(), **fields}


def kept_in_status(memory: Memory) -> Memory:
    """What a restarted operator finds of its memory in the WarmPool's status."""
    return replace(memory, process=Process())
