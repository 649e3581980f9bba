"""Short ways to write the values that decisions are made of."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

from hypothesis import settings

from kotatsu_operator.core.budget.prices import parse_table
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


def pool_spec(settle: float = 5, prices: dict[str, Any] | None = None, **fields: Any) -> PoolSpec:
    """A parsed spec; fields are written as in a manifest.

    `settle` and `prices` are the chart's; who set an override, and why, are annotations.
    """
    platform = Platform(timedelta(seconds=settle), prices=parse_table(prices or {}))
    annotations = annotations_of(fields)
    return parse({"targetRef": TARGET, **fields}, platform, annotations)


def annotations_of(fields: dict[str, Any]) -> dict[str, str]:
    """Take from an override among the fields who set it and why: they are annotations."""
    override = fields.get("override")
    asked = dict(override) if isinstance(override, dict) else {}
    said = {
        f"kotatsu.dev/override-{key}": asked.pop(key) for key in ("by", "reason") if key in asked
    }
    if said:
        fields["override"] = asked
    return said


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
