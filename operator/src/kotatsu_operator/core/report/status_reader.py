"""Read WarmPool.status: the decision's memory and the ledger. The kubectl plugin uses it too.

A status may have been edited by hand: every field goes through a tolerant reader in `core.formats`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from itertools import islice
from typing import Any

from kotatsu_operator.core.budget.ledger import Ledger, Spent
from kotatsu_operator.core.calendar.schedule import Window
from kotatsu_operator.core.formats import (
    amount,
    choice,
    count,
    instant,
    lasting,
    seconds,
    table,
    tables,
    text,
    wall,
    wall_date,
)
from kotatsu_operator.core.plan.lead import KEEP
from kotatsu_operator.core.pool.calendars import MOST_DAYS, MOST_WINDOWS
from kotatsu_operator.core.pool.memory import (
    Contest,
    Followed,
    Memory,
    Opening,
    Original,
    Phase,
    Reason,
    Route,
    Tally,
    WarmUp,
)
from kotatsu_operator.core.pool.spec import Period

_MOST_CALENDARS = 16
"""Calendars of a pool in an edited status; the operator writes at most 12."""


def read_memory(status: Mapping[str, Any], transient: Memory) -> Memory:
    """The memory: from the status, completed with what only this process knows (`transient`).

    The status takes precedence: `transient` is dropped if the status has a route epoch or phase
    that this process did not write.
    """
    phase = choice(Phase, status.get("phase"), None)
    if phase is None:
        return transient
    route, override = table(status.get("route")), table(status.get("override"))
    epoch = count(route.get("epoch"))
    same = (phase, epoch) == (transient.phase, transient.epoch)
    unknown_since = transient.unknown_since
    if not same or transient.since is None:
        unknown_since = instant(status.get("demandUnknownSince"))
    demand, template = table(status.get("demand")), table(status.get("template"))
    return replace(
        transient if same else Memory(last_active=transient.last_active),
        phase=phase,
        reason=choice(Reason, status.get("reason"), Reason.IDLE),
        since=instant(status.get("phaseSince")),
        route=choice(Route, route.get("target"), Route.NATIVE),
        epoch=epoch,
        unknown_since=unknown_since,
        last_active=transient.last_active or instant(status.get("lastActive")),
        warm_ups=tuple(_read_warm_ups(status.get("warmUps"))),
        ticket=instant(demand.get("seen")),
        ticket_seen=instant(demand.get("seenAt")),
        template=text(template.get("hash")),
        proven=bool(template.get("proven")),
        original=read_original(status),
        contest=_read_contest(table(status.get("contest"))),
        calendars=tuple(_read_calendars(status.get("calendars"))),
        override_key=text(override.get("key")),
        override_seen=instant(override.get("seenAt")),
        override_done=bool(override.get("done")),
        opening=_read_opening(table(status.get("lastOpening"))),
        lead=lasting(status.get("lead")),
        ahead=lasting(status.get("ahead")),
        windows=_read_tally(table(status.get("windows"))),
    )


def _read_warm_ups(written: Any) -> Iterator[WarmUp]:
    # Only the newest: an edited status may have more than the operator writes.
    for w in tables(written[-KEEP:] if isinstance(written, list) else ()):
        took, replicas = seconds(w.get("seconds")), count(w.get("replicas"))
        if took is not None and replicas:
            yield WarmUp(took, replicas, text(w.get("template")))


def _read_opening(written: Mapping[str, Any]) -> Opening | None:
    at = instant(written.get("at"))
    if at is None:
        return None
    return Opening(
        text(written.get("window")),
        at,
        instant(written.get("readyAt")),
        bool(written.get("cold")),
        count(written.get("replicas")),
        bool(written.get("excused")),
    )


def _read_tally(written: Mapping[str, Any]) -> Tally:
    return Tally(**{name: count(written.get(name)) for name in ("ready", "cold", "late")})


def _read_calendars(written: Any) -> Iterator[Followed]:
    for calendar in islice(tables(written), _MOST_CALENDARS):
        name, read_at = text(calendar.get("name")), instant(calendar.get("readAt"))
        if name and read_at is not None:
            windows = islice(tables(calendar.get("windows")), MOST_WINDOWS)
            closed = calendar.get("closed")
            days = closed[:MOST_DAYS] if isinstance(closed, list) else ()
            yield Followed(
                name,
                read_at,
                tuple(w for w in (_read_window(w, name) for w in windows) if w is not None),
                frozenset(day for day in map(wall_date, days) if day is not None),
                count(calendar.get("leftOut")),
            )


def _read_window(written: Mapping[str, Any], calendar: str) -> Window | None:
    start, end = wall(written.get("start")), wall(written.get("end"))
    replicas = count(written.get("replicas"))
    if start is None or end is None or end <= start or not replicas:
        return None
    name = text(written.get("name"), "event")
    return Window(name, replicas, start=start, end=end, calendar=calendar)


def read_original(status: Mapping[str, Any]) -> Original | None:
    """The minReplicas of the target's HPA without the pool, from the status."""
    hpa = table(status.get("hpa"))
    name = text(hpa.get("name"))
    return Original(name, count(hpa.get("minReplicas"), 1)) if name else None


def _read_contest(written: Mapping[str, Any]) -> Contest | None:
    seen_at, by = instant(written.get("seenAt")), text(written.get("by"))
    if seen_at is None or not by:
        return None
    return Contest(
        by,
        instant(written.get("writtenAt")),
        seen_at,
        count(written.get("count"), 1),
        bool(written.get("applied")),
    )


def read_ledger(status: Mapping[str, Any]) -> Ledger:
    """The ledger from the status."""
    cost = table(status.get("cost"))
    currency, before = text(cost.get("currency")), table(cost.get("previous"))
    ended = instant(before.get("periodStart"))
    return Ledger(
        currency=currency,
        period_start=instant(cost.get("periodStart")),
        accrued=amount(cost.get("accrued")) or Decimal(0),
        at=instant(cost.get("at")),
        pod_hour=amount(cost.get("podPerHour")),
        period=choice(Period, cost.get("period"), Period.MONTH),
        period_end=instant(cost.get("periodEnd")),
        exhausted_at=instant(cost.get("exhaustedAt")),
        previous=None
        if ended is None
        else Spent(
            text(before.get("currency"), currency),
            ended,
            amount(before.get("accrued")) or Decimal(0),
        ),
    )
