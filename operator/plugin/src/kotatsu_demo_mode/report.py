"""kubectl demo-mode report: what pools were warm for, and what it cost."""

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from kotatsu_operator.core.budget.ledger import period_at
from kotatsu_operator.core.budget.podtime import Stretch
from kotatsu_operator.core.formats import conditions_of, is_false
from kotatsu_operator.core.report.episodes import Counts, Earlier, Episode, Why
from kotatsu_operator.core.report.past import Past, Row, read_past

from .api import Api, find
from .errors import DemoModeError, ForbiddenError
from .objects import Object
from .pools import Pool, history_path
from .shell import Shell
from .terminal import Terminal, paired, table_lines
from .timeline import chart
from .words import about, amount, clock, instant_of, number, pods, stamp

_HOUR = Decimal(3600)


class Report(NamedTuple):
    """The report of one pool, and what its range would have cost otherwise.

    The costs are None if prices or times are unknown.
    """

    pool: Pool
    now: datetime
    past: Past
    peak: int
    """The most pods of the range: those that would have been on all the time."""
    always_on: Decimal | None
    parked: Decimal | None
    """The same pods, always parked; None also if they cannot be."""
    min_scale: Decimal | None
    """One pod always, as with Knative's min-scale 1, and the pods of the episodes above it."""


def run(options: Namespace, shell: Shell) -> int:
    now = shell.clock()
    with shell.api(options) as api:
        made = [
            report(pool, _past(options, pool, _history(api, pool), now), now)
            for pool in shell.find(api, options)
        ]
    return shell.show(made, options, lambda one: text(one, shell.terminal), record)


def _history(api: Api, pool: Pool) -> Object | str:
    """The WarmPoolHistory of a pool, or why it is not read; empty if there is none."""
    try:
        return find(api, history_path(pool)) or {}
    except ForbiddenError as error:
        return f"only what the WarmPool has itself: {error}"


def _past(options: Namespace, pool: Pool, history: Object | str, now: datetime) -> Past:
    """The range of the flags; from the beginning of the budget's period until now, by default."""
    begin = pool.ledger.period_start or period_at(pool.spec.budget.period, pool.spec.zone, now)[0]
    if options.begin is not None:
        begin = _instant(options.begin, pool, now, "--from")
    end = now if options.end is None else _instant(options.end, pool, now, "--to")
    if begin >= end:
        raise DemoModeError("--from must be before --to; without --to, the report ends now")
    known = None if isinstance(history, str) else history
    past = read_past(pool.status, known, begin, end, now)
    unread = (history,) if isinstance(history, str) else ()
    visited = conditions_of(pool.status).get("Visited", {})
    unused = (f"unused: {visited['message']}",) if is_false(visited) else ()
    return replace(past, notes=(*unread, *past.notes, *unused))


def _instant(text: str, pool: Pool, now: datetime, flag: str) -> datetime:
    """An instant; a time of day is that of today in the pool's time zone."""
    if len(text) <= 8 and ":" in text:
        text = f"{now.astimezone(pool.spec.zone):%Y-%m-%d}T{text}"
    return instant_of(text, pool.spec.zone, now, flag)


def report(pool: Pool, past: Past, now: datetime) -> Report:
    """A report with alternatives at the current price of a pod.

    Sums of older episodes have no times, so with them only the pods left on are known.
    """
    hours = Decimal((past.end - past.begin).total_seconds()) / _HOUR
    peak = past.peak or pool.spec.most_replicas
    awake = sum((e.until - e.begin for e in past.episodes), timedelta())
    asleep = max(hours - Decimal(awake.total_seconds()) / _HOUR, Decimal(0))
    above = past.counts.pod_seconds / _HOUR + asleep
    warm, parked = pool.price or (None, None)
    return Report(
        pool,
        now,
        past,
        peak,
        None if warm is None else warm * peak * hours,
        None if parked is None else parked * peak * hours,
        warm * above if warm is not None and not past.sums else None,
    )


# --- text ---

_HEADS = ("FROM", "TO", "LASTED", "WHY", "PODS", "POD-HOURS", "WAKES", "OPENED", "COST")


def text(one: Report, terminal: Terminal) -> Iterator[str]:
    """A chart, a table of the episodes, the totals, and what does not add up."""
    past, zone = one.past, one.pool.spec.zone
    begin, end = (clock(at, zone, one.now) for at in (past.begin, past.end))
    yield f"{one.pool.name}: {begin} to {end} {zone.key}"
    if past.rows:
        bars = [
            Stretch(e.begin, e.until, e.replicas, e.cause.why is Why.PARKED) for e in past.episodes
        ]
        yield from chart(terminal, [(one.pool.name, bars)], past.begin, past.end, zone)
        rows = [_HEADS, *(_cells(one, row) for row in past.rows)]
        yield from ("", *table_lines(terminal, rows), "")
    else:
        yield "  no pods in this time"
    yield from paired(_summary(one))
    for b in past.balances:
        since = clock(b.ledger.period_start, zone, one.now)
        is_equal = "equal" if b.is_equal else "NOT equal"
        yield (
            f"  (the ledger of the period since {since} has {_exact(b.ledger.accrued)} "
            f"{b.ledger.currency}, this report {_exact(b.report)}: {is_equal})"
        )
    yield from (f"  ({note})" for note in past.notes)


def _summary(one: Report) -> list[tuple[str, str]]:
    """The totals and the alternatives, as names and values."""
    past, counts, currency = one.past, one.past.counts, one.pool.currency
    hours, (parked, parked_costs) = _hours(counts.pod_seconds), past.parked
    if parked:
        hours += f", {_hours(parked)} of them parked"
    rows = [
        *((f"cost in {code}", _exact(cost)) for code, cost in past.costs.items()),
        *((f"of it parked, {code}", _exact(cost)) for code, cost in parked_costs.items()),
        ("pod-hours", hours),
        ("wakes by a request", str(counts.wakes)),
        ("windows opened", f"{counts.opened} with all pods Ready, {counts.cold} cold"),
        (f"{pods(one.peak)} always on", amount(one.always_on, currency)),
    ]
    if one.parked is not None:
        rows.append((f"{pods(one.peak)} always parked", amount(one.parked, currency)))
    return [*rows, ("Knative with min-scale 1", amount(one.min_scale, currency))]


def _cells(one: Report, row: Row) -> tuple[str, ...]:
    """One episode, as texts under _HEADS."""
    zone, e = one.pool.spec.zone, row.episode
    begin, end = (clock(at.replace(microsecond=0), zone, one.now) for at in (e.begin, e.until))
    return (
        begin,
        "runs" if row.runs else end,
        about(e.until - e.begin),
        f"{e.cause.why.value.lower()} {e.cause.name}".rstrip(),
        str(e.replicas),
        _hours(e.counts.pod_seconds),
        str(e.counts.wakes),
        f"{e.counts.cold} cold" if e.counts.cold else str(e.counts.opened or "-"),
        _exact(e.cost),
    )


def _hours(seconds: Decimal) -> str:
    """Pod time in hours."""
    hours = seconds / _HOUR
    return f"{hours:,.1f}" if hours >= 10 else f"{hours:.3f}"


def _exact(cost: Decimal | None) -> str:
    """An amount with all the digits that the ledger has."""
    return "-" if cost is None else f"{cost:.6f}"


# --- JSON ---


def record(one: Report) -> dict[str, Any]:
    """The report for JSON. Costs of the ledger are strings, so that no digit is lost."""
    past, (parked, parked_costs) = one.past, one.past.parked
    return {
        "namespace": one.pool.namespace,
        "pool": one.pool.name,
        "from": stamp(past.begin),
        "to": stamp(past.end),
        "costs": {code: _exact(cost) for code, cost in past.costs.items()},
        **_counts(past.counts),
        "parked": {
            "podSeconds": number(parked),
            "costs": {code: _exact(cost) for code, cost in parked_costs.items()},
        },
        "episodes": [
            {
                "from": stamp(e.begin),
                "to": stamp(e.until),
                "reason": e.cause.why.value,
                "name": e.cause.name or None,
                "replicas": e.replicas,
                **_counts(e.counts),
                **_paid(e),
                "part": row.is_part,
            }
            for row, e in zip(past.rows, past.episodes, strict=True)
        ],
        "earlier": [
            {
                "from": stamp(s.begin),
                "to": stamp(s.end),
                "episodes": s.episodes,
                **_counts(s.counts),
                **_paid(s),
            }
            for s in past.sums
        ],
        "ledger": [
            {
                "periodStart": stamp(b.ledger.period_start),
                "currency": b.ledger.currency,
                "accrued": _exact(b.ledger.accrued),
                "report": _exact(b.report),
                "equal": b.is_equal,
            }
            for b in past.balances
        ],
        "alternatives": {
            "currency": one.pool.currency or None,
            "replicas": one.peak,
            "alwaysOn": number(one.always_on),
            "alwaysParked": number(one.parked),
            "minScaleOne": number(one.min_scale),
        },
        "notes": list(past.notes),
    }


def _paid(of: Episode | Earlier) -> dict[str, Any]:
    cost = None if of.cost is None else _exact(of.cost)
    return {"currency": of.period.currency or None, "cost": cost}


def _counts(counts: Counts) -> dict[str, Any]:
    return {
        "podSeconds": float(round(counts.pod_seconds, 3)),
        "wakes": counts.wakes,
        "opened": counts.opened,
        "cold": counts.cold,
    }
