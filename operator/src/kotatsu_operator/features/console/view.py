"""One pool as the console shows it: plain values, ready for JSON. Pure.

Unreadable fields are left out. A pool that cannot be shown at all gets a view that says so.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from kotatsu_operator.core.calendar.schedule import Window, occurrences
from kotatsu_operator.core.calendar.wallclock import zones
from kotatsu_operator.core.formats import (
    amount,
    choice,
    conditions_of,
    count,
    instant,
    internal,
    is_false,
    parse_duration,
    stamp,
    table,
    tables,
    text,
)
from kotatsu_operator.core.objects import poolset_of
from kotatsu_operator.core.plan.activity import in_force, parked_until
from kotatsu_operator.core.plan.kept import Kept
from kotatsu_operator.core.plan.plan import floor_of, plan_at, with_least
from kotatsu_operator.core.pool.calendars import with_calendars
from kotatsu_operator.core.pool.memory import Followed, Memory, Phase, Reason
from kotatsu_operator.core.pool.parse import SpecError, parse
from kotatsu_operator.core.pool.spec import PoolSpec
from kotatsu_operator.core.report.episodes import read_stored
from kotatsu_operator.core.report.past import Past, past_of
from kotatsu_operator.core.report.status import read_ledger, read_memory
from kotatsu_operator.features.console.board import Entry

log = logging.getLogger(__name__)

BEHIND, AHEAD = timedelta(hours=17), timedelta(hours=36)
"""How much of the schedule is shown before and after now."""

MOST = 200
"""Openings shown of one pool at most."""

ROWS = 20
"""Episodes shown of one pool; `kubectl demo-mode report` shows all."""

FALLBACK_ZONE = "UTC"
"""The time zone shown for a pool whose own zone is invalid."""

View = dict[str, Any]


def pool_view(entry: Entry, now: datetime) -> View:
    """All values that the page needs for one pool. Times are RFC 3339; no value is secret."""
    try:
        return _view(entry, now)
    except Exception:
        meta = entry.pool["metadata"]
        log.exception("%s/%s: the console cannot show it", meta["namespace"], meta["name"])
        why = "the console cannot show this pool; the operator's log has the error"
        bare = {"metadata": {"namespace": meta["namespace"], "name": meta["name"]}}
        return _observed(Entry(bare, entry.version)) | {"refused": why}


def _view(entry: Entry, now: datetime) -> View:
    spec, view = table(entry.pool.get("spec")), _observed(entry)
    view["report"] = report_view(table(entry.pool.get("status")), entry.past, now)
    try:
        annotations = table(entry.pool["metadata"].get("annotations"))
        parsed = parse(spec, annotations=annotations)
    except SpecError as error:
        return view | {"refused": view["refused"] or str(error)}
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        why = f"spec: a field has a value of another type than the CRD's ({error})"
        return view | {"refused": view["refused"] or why}
    memory = read_memory(table(entry.pool.get("status")), Memory())
    view["calendars"] = [_calendar(f) for f in memory.calendars]
    planned = _planned(with_least(with_calendars(parsed, memory), memory), memory, now)
    return view | planned | {"warmUps": _warm_ups(memory)}


def _calendar(followed: Followed) -> View:
    return {
        "name": followed.name,
        "readAt": stamp(followed.read_at),
        "windows": len(followed.windows),
        "closed": len(followed.closed),
    }


def _observed(entry: Entry) -> View:
    """The view without what follows from the spec."""
    spec, status = table(entry.pool.get("spec")), table(entry.pool.get("status"))
    history, demand, meta = entry.history, entry.demand, entry.pool["metadata"]
    zone = text(spec.get("timeZone"))
    conditions = conditions_of(status)
    accepted = conditions.get("Accepted", {})
    phase, reason = choice(Phase, status.get("phase"), ""), choice(Reason, status.get("reason"), "")
    return {
        "namespace": meta["namespace"],
        "name": meta["name"],
        "set": poolset_of(entry.pool) or None,
        "target": text(table(spec.get("targetRef")).get("name")),
        "timeZone": zone if zone in zones() else FALLBACK_ZONE,
        "suspended": False,
        "floor": 0,
        "override": None,
        "windows": [],
        "warmUps": [],
        "calendars": [],
        "parkedUntil": None,
        "phase": str(phase),
        "since": stamp(instant(status.get("phaseSince"))),
        "reason": str(reason),
        "ready": count(status.get("readyReplicas")),
        "desired": count(status.get("desiredReplicas")),
        "window": text(status.get("activeWindow")) or None,
        "route": text(table(status.get("route")).get("target")),
        "next": _next(table(status.get("nextTransition"))),
        "lead": text(status.get("lead")) or None,
        "refused": text(accepted.get("message")) if is_false(accepted) else None,
        "demand": None
        if demand is None
        else {"inFlight": demand.in_flight, "held": demand.held, "known": demand.known},
        "cost": _cost(table(status.get("cost"))),
        "conditions": [
            {name: text(c.get(name)) for name in ("type", "status", "reason", "message")}
            for c in conditions.values()
        ],
        "wakes": _newest_first(_wake(w) for w in history.wakes),
        "openings": _newest_first(_opening(o) for o in history.openings),
        "notices": notices_view(history.notices, status),
        "report": None,
        "samples": [[stamp(s.at), s.ready, s.desired, s.phase] for s in history.samples],
    }


def _warm_ups(memory: Memory) -> list[View]:
    """The warm-ups and their parts in seconds, newest first."""
    return [
        {
            "seconds": w.seconds,
            "replicas": w.replicas,
            "parts": None if w.parts is None else asdict(w.parts),
        }
        for w in reversed(memory.warm_ups)
    ]


def _newest_first(found: Iterable[View | None]) -> list[View]:
    return [one for one in found if one is not None][::-1]


def _next(written: Mapping[str, Any]) -> View | None:
    at, kind = instant(written.get("at")), written.get("kind")
    if at is None or kind not in ("prewarm", "open", "close"):
        return None
    return {"at": stamp(at), "window": text(written.get("window")), "kind": kind}


def _wake(written: Mapping[str, Any]) -> View | None:
    at, duration = instant(written.get("at")), _duration(written.get("duration"))
    return None if at is None or duration is None else {"at": stamp(at), "duration": duration}


def _opening(written: Mapping[str, Any]) -> View | None:
    at = instant(written.get("at"))
    if at is None:
        return None
    return {
        "window": text(written.get("window")),
        "at": stamp(at),
        "early": _duration(written.get("early")),
        "cold": bool(written.get("cold")),
        "excused": bool(written.get("excused")),
    }


def _duration(given: Any) -> str | None:
    """A duration as the status has it, also a negative one; None for anything else."""
    try:
        parse_duration(given.removeprefix("-"))
    except (AttributeError, ValueError):
        return None
    return str(given)


def _cost(written: Mapping[str, Any]) -> View | None:
    currency = text(written.get("currency"))
    if not currency:
        return None
    names = ("accrued", "ratePerHour", "limit", "forecast")
    read = {name: amount(written.get(name)) for name in names}
    known = {name: str(value) for name, value in read.items() if value is not None}
    return {"currency": currency, "accrued": "0"} | known


def _planned(spec: PoolSpec, memory: Memory, now: datetime) -> View:
    memory = replace(memory, override=memory.override.following(spec.override_key, now))
    override = in_force(spec.override, memory, now)
    plan = plan_at(spec, memory, now)
    hour = now.replace(minute=0, second=0, microsecond=0)
    return {
        "timeZone": spec.zone.key,
        "suspended": spec.suspend,
        "floor": floor_of(spec, override, plan.floor)[0],
        "override": None
        if override is None
        else {
            "mode": override.mode.value,
            "replicas": override.replicas,
            "until": stamp(override.until),
            "by": override.by,
            "reason": override.reason,
        },
        "parkedUntil": stamp(parked_until(spec, memory)),
        "windows": _windows(spec.windows, spec.zone, hour),
    }


_Schedule = tuple[tuple[Window, ...], ZoneInfo, datetime]


def _size(schedule: _Schedule, openings: list[View]) -> int:
    return len(openings) + sum(1 + len(w.exclude) for w in schedule[0])


_openings: Kept[_Schedule, list[View]] = Kept(50_000, _size)
"""Schedules expanded around an hour: openings, windows and excluded dates, at most about 30 MiB."""


def _windows(*schedule: *_Schedule) -> list[View]:
    """The openings around an hour; each schedule is expanded once an hour."""
    found = _openings.get(schedule)
    if found is None:
        found = _expanded(*schedule)
        _openings.put(schedule, found)
    return found


def _expanded(windows: tuple[Window, ...], zone: ZoneInfo, hour: datetime) -> list[View]:
    source = {(w.name, w.replicas): w.calendar for w in windows}
    return [
        {
            "name": o.window,
            "start": stamp(o.start),
            "end": stamp(o.end),
            "replicas": o.replicas,
            "parked": o.parked,
            "shifted": o.shifted,
            "calendar": source.get((o.window, o.replicas), ""),
        }
        for o in occurrences(windows, zone, hour - BEHIND, hour + AHEAD)[:MOST]
    ]


# --- the past ---


def report_view(
    status: Mapping[str, Any], history: Mapping[str, Any] | None, now: datetime
) -> View | None:
    """The current period of the budget, or without prices all that is kept; None for no record."""
    record, ledger = read_stored(status, history), read_ledger(status)
    if record.since is None:
        return None
    begin = ledger.period_start if ledger.currency and ledger.period_start else record.since
    begin = min(begin, now)
    found = past_of(record, ledger, begin, max(now, ledger.at or now), now)
    counts = found.counts
    return {
        "from": stamp(begin),
        "since": stamp(record.known_since),
        "episodes": _episodes(found),
        "more": max(len(found.rows) - ROWS, 0) + sum(s.episodes for s in found.sums),
        "costs": {code: f"{cost:.6f}" for code, cost in found.costs.items()},
        "isLedger": any(b.is_equal for b in found.balances),
        "podHours": round(float(counts.pod_seconds) / 3600, 3),
        "wakes": counts.wakes,
        "opened": counts.opened,
        "cold": counts.cold,
    }


def _episodes(found: Past) -> list[View]:
    return [
        {
            "from": stamp(e.begin),
            "to": None if row.runs else stamp(e.until),
            "reason": e.cause.why.value,
            "name": e.cause.name,
            "replicas": e.replicas,
            "currency": e.period.currency,
            "cost": None if e.cost is None else f"{e.cost:.6f}",
        }
        for row, e in [*zip(found.rows, found.episodes, strict=True)][-ROWS:][::-1]
    ]


def notices_view(seen: Iterable[Mapping[str, Any]], status: Mapping[str, Any]) -> list[View]:
    """The notifications since this operator started, newest first.

    One that the status still has is waiting for a receiver.
    """
    waiting = {text(n.get("id")) for n in tables(internal(status).get("notices"))}
    return [
        {
            "at": stamp(instant(n.get("at"))),
            "reason": text(n.get("reason")),
            "message": text(n.get("message")),
            "waits": text(n.get("id")) in waiting,
        }
        for n in reversed([*seen])
    ]
