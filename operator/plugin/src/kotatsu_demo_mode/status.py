"""kubectl demo-mode status: the phase of each pool, its reason, and how long it lasts."""

from argparse import Namespace
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from kotatsu_operator.core.formats import amount as read_amount
from kotatsu_operator.core.formats import conditions_of, count, instant, table, text
from kotatsu_operator.core.plan.activity import override_end, parked_until

from .pools import Pool, hopeless
from .shell import Shell
from .terminal import table_lines
from .words import UNKNOWN, about, amount, clock, last_warm_up

_EVERY = 2.0
"""Seconds between two updates of --watch."""

HEAD = ["POOL", "PHASE", "READY", "WHY", "UNTIL", "NEXT", "PER HOUR", "SPENT", "BUDGET"]
_WIDE = ["ZONE", "LEAD", "WARM-UP", "ROUTE", "MESSAGE"]


def run(options: Namespace, shell: Shell) -> int:
    """Print the pools once; with --watch, again after each change."""
    with shell.api(options) as api:
        seen: list[str | list[str]] = []
        while True:
            pools, now = shell.find(api, options), shell.clock()
            if options.output in ("json", "yaml"):
                shell.terminal.dump([pool.raw for pool in pools], options.output)
            elif not pools:
                shell.terminal.say("No WarmPool found; use -A for all namespaces.")
            else:
                is_wide = options.output == "wide"
                head, *rows = rows_of(pools, now, is_wide=is_wide, labels=options)
                if changed := [row for row in rows if row not in seen]:
                    phase = head.index("PHASE")
                    for line in table_lines(shell.terminal, [head, *changed], phase):
                        shell.terminal.say_as_is(line)
                found = ((pool.name, hopeless(pool.status, pool.generation)) for pool in pools)
                said = [f"{name}: {why}" for name, why in found if why]
                for line in said:
                    if line not in seen:
                        shell.terminal.say(line)
                seen = [*rows, *said]
            if not options.watch:
                return 0
            shell.sleep(_EVERY)


def rows_of(
    pools: Sequence[Pool], now: datetime, *, is_wide: bool = False, labels: Any = None
) -> list[list[str]]:
    """The head, and one row per pool."""
    spaces = bool(getattr(labels, "all_namespaces", False))
    head = ["NAMESPACE"] * spaces + HEAD + _WIDE * is_wide
    return [
        head,
        *([pool.namespace] * spaces + _row(pool, now) + _wide(pool) * is_wide for pool in pools),
    ]


def _row(pool: Pool, now: datetime) -> list[str]:
    status = pool.status
    ready = f"{count(status.get('readyReplicas'))}/{count(status.get('desiredReplicas'))}"
    why, until = _why(pool, now)
    rate, spent, currency = UNKNOWN, UNKNOWN, pool.ledger.currency
    if currency:
        per_hour = read_amount(table(status.get("cost")).get("ratePerHour"))
        rate, spent = amount(per_hour, currency), amount(pool.ledger.accrued, currency)
    return [
        pool.name,
        text(status.get("phase"), _without_phase(status)),
        ready,
        why,
        until,
        _next(pool, now),
        rate,
        spent,
        _budget(pool),
    ]


def _without_phase(status: Any) -> str:
    """What a pool is that the operator has not accepted yet."""
    accepted = conditions_of(status).get("Accepted", {})
    return "Refused" if accepted.get("status") == "False" else UNKNOWN


def _wide(pool: Pool) -> list[str]:
    status = pool.status
    accepted = conditions_of(status).get("Accepted", {})
    return [
        pool.spec.zone.key,
        text(status.get("lead"), UNKNOWN),
        last_warm_up(pool),
        text(table(status.get("route")).get("target"), UNKNOWN),
        text(accepted.get("message"), UNKNOWN),
    ]


def _why(pool: Pool, now: datetime) -> tuple[str, str]:
    """The reason of the pool's phase, and how long it lasts."""
    reason = text(pool.status.get("reason"), UNKNOWN)
    zone = pool.spec.zone
    override = pool.override_at(now)
    if override is not None:
        by = f" by {override.by}" if override.by else ""
        said = f": {override.reason}" if override.reason else ""
        return f"{override.mode}{by}{said}", clock(override_end(override, pool.memory), zone, now)
    window = text(pool.status.get("activeWindow"))
    stuck = _STUCK.get(text(conditions_of(pool.status).get("Ready", {}).get("reason")))
    if stuck:
        return f"{f'window {window}' if window else reason}, {stuck}", UNKNOWN
    if window:
        ends = [o.end for o in pool.plan_at(now).current if o.window == window]
        return f"window {window}", clock(max(ends), zone, now) if ends else UNKNOWN
    parked = parked_until(pool.spec, pool.memory)
    return reason, UNKNOWN if parked is None else clock(parked, zone, now)


_STUCK = {"NoNode": "no node", "PodsCannotStart": "cannot start"}
"""Words for the reasons of the condition Ready that keep pods from starting."""


def _next(pool: Pool, now: datetime) -> str:
    coming = table(pool.status.get("nextTransition"))
    at = instant(coming.get("at"))
    if at is None:
        return UNKNOWN
    shown = clock(at, pool.spec.zone, now)
    what = f"{text(coming.get('window'))} {text(coming.get('kind'))}"
    return f"{what} {shown} (in {about(at - now)})"


def _budget(pool: Pool) -> str:
    limit = pool.spec.budget.limit
    if limit is None:
        return UNKNOWN
    share = f"{pool.ledger.accrued / limit:.0%} of " if limit else ""
    used = " (exhausted)" if pool.ledger.exhausted_at is not None else ""
    return f"{share}{amount(limit)} a {pool.spec.budget.period.value.lower()}{used}"
