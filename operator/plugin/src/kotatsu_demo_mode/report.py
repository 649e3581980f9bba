"""kubectl demo-mode report: what pools were warm for, and what it cost."""

from argparse import Namespace
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from kotatsu_operator.core.budget.ledger import period_at
from kotatsu_operator.core.report.episodes import Counts, Why
from kotatsu_operator.core.report.past import Past, Row, read_past

from .api import Api, find
from .chart import chart
from .cost import LambdaPrice, gb_seconds, lambda_price
from .errors import DemoModeError, ForbiddenError
from .pools import Object, Pool, history_path
from .shell import Shell
from .terminal import Terminal, paired, table_lines
from .timeline import Drawn, Stretch
from .words import about, amount, clock, instant_of, number, pods, stamp

_HOUR = Decimal(3600)


@dataclass(frozen=True)
class Alternatives:
    """What the same range would have cost otherwise; None if prices or times are unknown."""

    pods: int
    """The most pods of the range: those that would have been on all the time."""
    always_on: Decimal | None
    parked: Decimal | None
    """The same pods, always parked; None also if they cannot be."""
    min_scale: Decimal | None
    """One pod always, as with Knative's min-scale 1, and the pods of the episodes above it."""
    provisioned: Decimal | None = None
    """The episodes as Lambda provisioned concurrency, each rounded up to five minutes."""
    provisioned_always: Decimal | None = None
    """The most pods as provisioned concurrency for the whole range."""
    currency: str = ""
    """Of provisioned concurrency."""


@dataclass(frozen=True)
class Report:
    """The report of one pool."""

    pool: Pool
    now: datetime
    past: Past
    others: Alternatives


def run(options: Namespace, shell: Shell) -> int:
    now = shell.clock()
    with shell.api(options) as api:
        made = [
            _report(options, pool, _history(api, pool), now) for pool in shell.find(api, options)
        ]
    if options.output in ("json", "yaml"):
        shell.terminal.dump([record(r) for r in made], options.output)
    elif not made:
        shell.terminal.say("No WarmPool found; use -A for all namespaces.")
    else:
        for at, report in enumerate(made):
            if at:
                shell.terminal.say("")
            _print(shell.terminal, report)
    return 0


def _history(api: Api, pool: Pool) -> Object | str:
    """The WarmPoolHistory of a pool, or why it is not read; empty if there is none."""
    try:
        return find(api, history_path(pool)) or {}
    except ForbiddenError as error:
        return f"only what the WarmPool has itself: {error}"


def _report(options: Namespace, pool: Pool, history: Object | str, now: datetime) -> Report:
    begin, end = _range(options, pool, now)
    known = None if isinstance(history, str) else history
    past = read_past(pool.status, known, begin, end, now)
    if isinstance(history, str):
        past = replace(past, notes=(history, *past.notes))
    return Report(pool, now, past, alternatives(pool, past, lambda_price(options, pool)))


def _range(options: Namespace, pool: Pool, now: datetime) -> tuple[datetime, datetime]:
    """From the beginning of the budget's period until now, by default."""
    zone = pool.spec.zone
    begin = pool.ledger.period_start or period_at(pool.spec.budget.period, zone, now)[0]
    if options.begin is not None:
        begin = _past_instant(options.begin, pool, now, "--from")
    end = now if options.end is None else _past_instant(options.end, pool, now, "--to")
    if begin >= end:
        raise DemoModeError("--from must be before --to; without --to, the report ends now")
    return begin, end


def _past_instant(text: str, pool: Pool, now: datetime, flag: str) -> datetime:
    """An instant; a time of day is that of today in the pool's time zone."""
    if len(text) <= 8 and ":" in text:
        text = f"{now.astimezone(pool.spec.zone):%Y-%m-%d}T{text}"
    return instant_of(text, pool.spec.zone, now, flag)


def alternatives(pool: Pool, past: Past, other: LambdaPrice | None = None) -> Alternatives:
    """What a range would have cost otherwise, at the current price of a pod.

    Sums of older episodes have no times, so with them only the pods left on are known.
    """
    price, seconds = pool.price, Decimal((past.end - past.begin).total_seconds())
    peak = past.peak or pool.spec.most_replicas
    is_whole = not any(s.episodes for s in past.sums)
    awake = sum((row.seconds for row in past.rows), Decimal(0))
    pod_seconds = past.counts.pod_seconds + max(seconds - awake, Decimal(0))
    provisioned = always = None
    if other is not None:
        always = gb_seconds(peak, other.mib, seconds) * other.gb_second
        if is_whole:
            used = (gb_seconds(r.episode.replicas, other.mib, r.seconds) for r in past.rows)
            provisioned = sum(used, Decimal(0)) * other.gb_second
    warm, parked = (None, None) if price is None else price
    return Alternatives(
        peak,
        None if warm is None else warm * peak * seconds / _HOUR,
        None if parked is None else parked * peak * seconds / _HOUR,
        warm * pod_seconds / _HOUR if warm is not None and is_whole else None,
        provisioned,
        always,
        "" if other is None else other.currency,
    )


# --- text ---

_HEADS = ("FROM", "TO", "LASTED", "WHY", "PODS", "POD-HOURS", "WAKES", "OPENED", "COST")


def _print(terminal: Terminal, report: Report) -> None:
    past, zone = report.past, report.pool.spec.zone
    begin, end = (clock(at, zone, report.now) for at in (past.begin, past.end))
    terminal.say(f"{report.pool.name}: {begin} to {end} {zone.key}")
    if past.rows:
        bars = [
            Stretch(r.begin, r.end, r.episode.replicas, r.episode.cause.why is Why.PARKED)
            for r in past.rows
        ]
        drawn = Drawn(report.pool, past.begin, past.end, bars)
        shown = chart([drawn], terminal.width, blocks=terminal.has_blocks)
        rows = [_HEADS, *(_cells(report, row) for row in past.rows)]
        for line in (*shown, "", *table_lines(terminal, rows), ""):
            terminal.say(line)
    else:
        terminal.say("  no pods in this time")
    for line in paired(_summary(report)):
        terminal.say(line)
    for b in past.balances:
        since = "" if b.period.start is None else clock(b.period.start, zone, report.now)
        is_equal = "equal" if b.ledger == b.report else "NOT equal"
        terminal.say(
            f"  (the ledger of the period since {since} has {_exact(b.ledger)} "
            f"{b.period.currency}, this report {_exact(b.report)}: {is_equal})"
        )
    for note in past.notes:
        terminal.say(f"  ({note})")


def _summary(report: Report) -> list[tuple[str, str]]:
    """The totals and the alternatives, as names and values."""
    past, others, currency = report.past, report.others, report.pool.currency
    counts, parked = past.counts, past.parked
    hours = _hours(counts.pod_seconds)
    if parked.pod_seconds:
        hours += f", {_hours(parked.pod_seconds)} of them parked"
    rows = [
        *((f"cost in {code}", _exact(cost)) for code, cost in past.costs.items()),
        *((f"of it parked, {code}", _exact(cost)) for code, cost in parked.costs.items()),
        ("pod-hours", hours),
        ("wakes by a request", str(counts.wakes)),
        ("windows opened", f"{counts.opened} with all pods Ready, {counts.cold} cold"),
        (f"{pods(others.pods)} always on", amount(others.always_on, currency)),
    ]
    if others.parked is not None:
        rows.append((f"{pods(others.pods)} always parked", amount(others.parked, currency)))
    rows.append(("Knative with min-scale 1", amount(others.min_scale, currency)))
    if others.provisioned_always is not None:
        rows += [
            ("Lambda provisioned concurrency", amount(others.provisioned, others.currency)),
            ("the same, always on", amount(others.provisioned_always, others.currency)),
        ]
    return rows


def _cells(report: Report, row: Row) -> tuple[str, ...]:
    """One episode, as texts under _HEADS."""
    zone, e = report.pool.spec.zone, row.episode
    return (
        clock(row.begin.replace(microsecond=0), zone, report.now),
        "runs" if row.runs else clock(row.end.replace(microsecond=0), zone, report.now),
        about(row.end - row.begin),
        f"{e.cause.why.value.lower()} {e.cause.name}".rstrip(),
        str(e.replicas),
        _hours(row.pod_seconds),
        str(e.counts.wakes),
        f"{e.counts.cold} cold" if e.counts.cold else str(e.counts.opened or "-"),
        _exact(row.cost),
    )


def _hours(seconds: Decimal) -> str:
    """Pod time in hours."""
    hours = seconds / _HOUR
    return f"{hours:,.1f}" if hours >= 10 else f"{hours:.3f}"


def _exact(cost: Decimal | None) -> str:
    """An amount with all the digits that the ledger has."""
    return "-" if cost is None else f"{cost:.6f}"


# --- JSON ---


def record(report: Report) -> dict[str, Any]:
    """The report for JSON. Costs of the ledger are strings, so that no digit is lost."""
    past, others = report.past, report.others
    found: dict[str, Any] = {
        "namespace": report.pool.namespace,
        "pool": report.pool.name,
        "from": stamp(past.begin),
        "to": stamp(past.end),
        "costs": {code: _exact(cost) for code, cost in past.costs.items()},
        **_counts(past.counts),
        "parked": {
            "podSeconds": number(past.parked.pod_seconds),
            "costs": {code: _exact(cost) for code, cost in past.parked.costs.items()},
        },
        "episodes": [
            {
                "from": stamp(row.begin),
                "to": stamp(row.end),
                "reason": row.episode.cause.why.value,
                "name": row.episode.cause.name or None,
                "replicas": row.episode.replicas,
                **_counts(row.episode.counts, row.pod_seconds),
                "currency": row.episode.period.currency or None,
                "cost": None if row.cost is None else _exact(row.cost),
                "part": row.is_part,
            }
            for row in past.rows
        ],
        "earlier": [
            {
                "from": stamp(s.begin),
                "to": stamp(s.end),
                "episodes": s.episodes,
                **_counts(s.counts),
                "currency": s.period.currency or None,
                "cost": None if s.cost is None else _exact(s.cost),
            }
            for s in past.sums
        ],
        "ledger": [
            {
                "periodStart": None if b.period.start is None else stamp(b.period.start),
                "currency": b.period.currency,
                "accrued": _exact(b.ledger),
                "report": _exact(b.report),
                "equal": b.ledger == b.report,
            }
            for b in past.balances
        ],
        "alternatives": {
            "currency": report.pool.currency or None,
            "replicas": others.pods,
            "alwaysOn": number(others.always_on),
            "alwaysParked": number(others.parked),
            "minScaleOne": number(others.min_scale),
        },
        "notes": list(past.notes),
    }
    if others.provisioned_always is not None:
        found["alternatives"]["lambda"] = {
            "currency": others.currency or None,
            "episodes": number(others.provisioned),
            "alwaysOn": number(others.provisioned_always),
        }
    return found


def _counts(counts: Counts, pod_seconds: Decimal | None = None) -> dict[str, Any]:
    seconds = counts.pod_seconds if pod_seconds is None else pod_seconds
    return {
        "podSeconds": float(round(seconds, 3)),
        "wakes": counts.wakes,
        "opened": counts.opened,
        "cold": counts.cold,
    }
