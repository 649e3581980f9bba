"""One pool as the console shows it: plain values, ready for JSON. Pure."""

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from kotatsu_operator.core.activity import in_force
from kotatsu_operator.core.plan import floor_of, plan_at
from kotatsu_operator.core.schedule import Window, occurrences
from kotatsu_operator.core.spec import PoolSpec, SpecError, parse
from kotatsu_operator.core.state import Memory
from kotatsu_operator.status import read_memory, stamp

from .board import Entry

BEHIND, AHEAD = timedelta(hours=17), timedelta(hours=36)
"""How much of the schedule is shown around now."""

MOST = 200
"""Openings shown of one pool."""

View = dict[str, Any]


def pool_view(entry: Entry, now: datetime) -> View:
    """All that the page needs of one pool. Times are RFC 3339; nothing in it is secret."""
    pool, history = entry.pool, entry.history
    status = pool.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    accepted = conditions.get("Accepted") or {}
    view: View = {
        "namespace": pool["metadata"]["namespace"],
        "name": pool["metadata"]["name"],
        "target": pool["spec"]["targetRef"]["name"],
        "timeZone": pool["spec"].get("timeZone", "UTC"),
        "phase": status.get("phase", ""),
        "since": status.get("phaseSince"),
        "reason": status.get("reason", ""),
        "ready": status.get("readyReplicas", 0),
        "desired": status.get("desiredReplicas", 0),
        "window": status.get("activeWindow"),
        "route": (status.get("route") or {}).get("target", ""),
        "next": status.get("nextTransition"),
        "lead": status.get("lead"),
        "refused": None if accepted.get("status", "True") == "True" else accepted.get("message"),
        "suspended": bool(pool["spec"].get("suspend")),
        "demand": None
        if entry.demand is None
        else {
            "inFlight": entry.demand.in_flight,
            "held": entry.demand.held,
            "known": entry.demand.known,
        },
        "cost": status.get("cost"),
        "override": None,
        "floor": 0,
        "windows": [],
        "conditions": [
            {name: c.get(name) for name in ("type", "status", "reason", "message")}
            for c in conditions.values()
        ],
        "wakes": list(history.wakes)[::-1],
        "openings": list(history.openings)[::-1],
        "samples": [[stamp(s.at), s.ready, s.desired, s.phase] for s in history.samples],
    }
    try:
        spec = parse(pool["spec"])
    except SpecError:
        return view
    return view | _planned(spec, read_memory(status, Memory()), now)


def _planned(spec: PoolSpec, memory: Memory, now: datetime) -> View:
    override = in_force(spec.override, memory, now)
    plan = plan_at(spec, memory, now)
    hour = now.replace(minute=0, second=0, microsecond=0)
    return {
        "floor": floor_of(spec, override, plan)[0],
        "override": None
        if override is None
        else {
            "mode": override.mode.value,
            "replicas": override.replicas,
            "until": stamp(override.until),
            "by": override.by,
            "reason": override.reason,
        },
        "windows": _windows(spec.windows, spec.zone, hour),
    }


@lru_cache(maxsize=4096)
def _windows(windows: tuple[Window, ...], zone: ZoneInfo, hour: datetime) -> list[View]:
    """The openings around an hour; walked once an hour and schedule."""
    return [
        {
            "name": o.window,
            "start": stamp(o.start),
            "end": stamp(o.end),
            "replicas": o.replicas,
            "shifted": o.shifted,
        }
        for o in occurrences(windows, zone, hour - BEHIND, hour + AHEAD)[:MOST]
    ]
