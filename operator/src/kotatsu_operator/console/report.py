"""What the console shows of a pool's past and of its notifications. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from kotatsu_operator.core.formats import instant, stamp, tables, text
from kotatsu_operator.core.report.episodes import read_recorded
from kotatsu_operator.core.report.past import Past, past_of
from kotatsu_operator.core.report.status import read_ledger

ROWS = 20
"""Episodes shown of one pool; `kubectl demo-mode report` shows all."""

View = dict[str, Any]


def report_view(status: Mapping[str, Any], now: datetime) -> View | None:
    """The current period of the budget, or without prices all that is kept; None for no record."""
    record, ledger = read_recorded(status), read_ledger(status)
    if record.since is None:
        return None
    begin = ledger.period_start if ledger.currency and ledger.period_start else record.since
    begin = min(begin, now)
    told = past_of(record, ledger, begin, max(now, ledger.at or now), now)
    counts = told.counts
    return {
        "from": stamp(begin),
        "since": stamp(record.known_since),
        "episodes": _episodes(told),
        "more": max(len(told.rows) - ROWS, 0) + sum(s.episodes for s in told.sums),
        "costs": {code: f"{cost:.6f}" for code, cost in told.costs.items()},
        "isLedger": all(b.ledger == b.report for b in told.balances),
        "podHours": round(float(counts.pod_seconds) / 3600, 3),
        "wakes": counts.wakes,
        "opened": counts.opened,
        "cold": counts.cold,
    }


def _episodes(told: Past) -> list[View]:
    return [
        {
            "from": stamp(row.begin),
            "to": None if row.runs else stamp(row.end),
            "reason": row.episode.cause.why.value,
            "name": row.episode.cause.name,
            "replicas": row.episode.replicas,
            "currency": row.episode.purse.currency,
            "cost": None if row.cost is None else f"{row.cost:.6f}",
        }
        for row in told.rows[-ROWS:][::-1]
    ]


def notices_view(seen: Iterable[Mapping[str, Any]], status: Mapping[str, Any]) -> list[View]:
    """The notifications since this operator started, newest first.

    One that the status still has is waiting for a receiver.
    """
    waiting = {text(n.get("id")) for n in tables(status.get("notices"))}
    return [
        {
            "at": stamp(instant(n.get("at"))),
            "reason": text(n.get("reason")),
            "message": text(n.get("message")),
            "waits": text(n.get("id")) in waiting,
        }
        for n in reversed([*seen])
    ]
