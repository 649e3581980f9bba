"""kubectl demo-mode plan: the coming transitions, also of a manifest."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from kotatsu_operator.core.budget.limit import BudgetState, overrun, sentence, standing
from kotatsu_operator.core.calendar.schedule import dropped
from kotatsu_operator.core.formats import conditions_of, format_duration, is_false
from kotatsu_operator.core.plan.activity import hold_too_short
from kotatsu_operator.core.plan.lead import Basis, basis_of, decisive, slowest_wake
from kotatsu_operator.core.pool.spec import OnExhausted, mode_field

from .errors import DemoModeError
from .pools import Pool
from .shell import Shell
from .terminal import Terminal, table_lines
from .timeline import TOGETHER, Change, Timeline, chart, hours, price, timeline, together
from .words import amount, clock, instant_of, number, shown_pods, skipped_note, spent_on

_LONGEST = timedelta(days=3 * 366)
_YEARS = (1970, 9000)

_BASIS = {
    Basis.CONFIGURED: "spec.lead",
    Basis.LEARNED: "learned",
    Basis.ESTIMATED: "estimated: no warm-up of this pod template yet",
    Basis.DEFAULT: "the default: no warm-up of this pool yet",
}
"""Where a lead comes from."""


def run(options: Namespace, shell: Shell) -> int:
    now = shell.clock()
    pools = _pools(options, shell)
    zone = pools[0].spec.zone if pools else None
    begin = now
    if zone is not None and options.begin:
        begin = instant_of(options.begin, zone, now, "--from")
    if not _YEARS[0] <= begin.year <= _YEARS[1]:
        raise DemoModeError(f"--from is outside of the years {_YEARS[0]} to {_YEARS[1]}")
    end = begin + timedelta(days=options.days)
    if zone is not None and options.end:
        end = instant_of(options.end, zone, now, "--to")
    if end <= begin:
        raise DemoModeError("--to is not after --from; give a later --to")
    if end - begin > _LONGEST:
        raise DemoModeError("the plan is longer than three years; give an earlier --to")
    shell.accepted(pools)  # a refused pool is planned as if it were accepted
    timelines = [timeline(pool, begin, end) for pool in pools]
    label = bool(options.all_namespaces)
    if options.output:
        found = {"transitions": records(timelines, label), **verdict(timelines, now)}
        shell.terminal.dump(found, options.output)
        return 0
    if not timelines:
        shell.terminal.say("No WarmPool found.")
        return 0
    for line in text(timelines, now, shell.terminal, label):
        shell.terminal.say(line)
    return 0


def _pools(options: Namespace, shell: Shell) -> list[Pool]:
    if options.filename:
        from .manifests import read_manifests

        pools = read_manifests(options.filename, shell.stdin)
        names = [name.rpartition("/")[2] for name in options.pools]
        unknown = set(names) - {pool.name for pool in pools}
        if unknown:
            there = ", ".join(pool.name for pool in pools)
            raise DemoModeError(
                f"{options.filename} has no WarmPool {min(unknown)}; it has {there}"
            )
        return [pool for pool in pools if not names or pool.name in names]
    with shell.api(options) as api:
        return shell.find(api, options)


def _name(pool: Pool, *, is_wide: bool) -> str:
    return f"{pool.namespace}/{pool.name}" if is_wide else pool.name


def _ordered(timelines: Sequence[Timeline]) -> list[tuple[Timeline, Change]]:
    pairs = [(t, change) for t in timelines for change in t.changes]
    return sorted(pairs, key=lambda pair: pair[1].at)  # stable: the order of pools stays


def records(timelines: Sequence[Timeline], is_wide: bool = False) -> list[dict[str, Any]]:
    """The transitions for JSON: `cost` is that of the pods until the pool's next transition."""
    return [
        {
            "at": change.at.astimezone(t.pool.spec.zone).isoformat(),
            "pool": _name(t.pool, is_wide=is_wide),
            "kind": change.kind,
            "window": change.window,
            "replicas": change.replicas,
            "cost": number(change.cost),
            **mode_field(parked=change.is_parked),
            **({"calendar": source} if (source := _calendar(t.pool, change.window)) else {}),
        }
        for t, change in _ordered(timelines)
    ]


def text(
    timelines: Sequence[Timeline], now: datetime, terminal: Terminal, is_wide: bool = False
) -> list[str]:
    """The transitions as text: the state at the start, a table, a chart, the sum."""
    lines: list[str] = []
    for t in timelines:
        lines += _heading(t, now, is_wide)
    rows = [["AT", "POOL", "KIND", "WINDOW", "PODS", "COST", "NOTE"]]
    for t, change in _ordered(timelines):
        zone = t.pool.spec.zone
        rows.append(
            [
                f"{change.at.astimezone(zone):%a %Y-%m-%d %H:%M:%S}".removesuffix(":00")
                + f" {change.at.astimezone(zone):%Z}",
                _name(t.pool, is_wide=is_wide),
                change.kind,
                change.window,
                shown_pods(change.replicas, parked=change.is_parked),
                amount(change.cost, t.pool.currency),
                _note(t, change),
            ]
        )
    if len(rows) == 1:
        lines.append("No transitions in this time.")
    else:
        lines += ["", *table_lines(terminal, rows), ""]
        first, drawn = timelines[0], [(t.pool.name, t.stretches) for t in timelines]
        lines += chart(terminal, drawn, first.begin, first.end, first.pool.spec.zone)
    for t in timelines:
        if spent := _spending(t, now):
            lines.append(f"{_name(t.pool, is_wide=is_wide)}: {spent}")
        if t.cost is not None:
            parked = hours([s for s in t.stretches if s.is_parked])
            of_them = f" ({parked:,.1f} of them parked)" if parked else ""
            lines.append(
                f"{_name(t.pool, is_wide=is_wide)}: {hours(t.stretches):,.1f} pod hours{of_them}, "
                f"{amount(t.cost, t.pool.currency)}"
            )
    if len(timelines) > 1:
        lines += _verdict_text(verdict(timelines, now))
    return lines


def _heading(t: Timeline, now: datetime, is_wide: bool) -> list[str]:
    zone = t.pool.spec.zone
    name = _name(t.pool, is_wide=is_wide)
    begin = f"{t.begin.astimezone(zone):%Y-%m-%d %H:%M}"
    end = f"{t.end.astimezone(zone):%Y-%m-%d %H:%M}"
    lines = [f"{name}: {begin} to {end} in {zone.key}, pods start {_lead(t)}"]
    override = t.pool.override_at(t.begin)
    if override is not None:
        until = clock(override.until, zone, now)
        lines.append(f"{name}: an override ({override.mode}) is in effect until {until}")
    if t.first.floor:
        lines.append(f"{name}: {t.first.window} already needs {t.first.floor} pods")
    lines += [f"{name}: {_parking(t.pool)}"] if t.pool.spec.parked else []
    lines += [f"{name}: {_capacity(t.pool)}"] if t.pool.spec.capacity_ahead else []
    lines += [f"{name}: {lost.message}" for lost in dropped(t.pool.spec.windows, zone)]
    lines += [f"{name}: {slow}"] if (slow := _slow_start(t.pool)) else []
    if not t.pool.allowed_at(t.begin).begins:
        lines.append(f"{name}: {sentence(t.pool.ledger, t.pool.spec, t.pool.price)}")
    lines += [f"{name}: {missing}" for missing in _unread(t.pool)]
    if t.pool.spec.suspend:
        lines.append(f"{name}: suspended: none of this happens until spec.suspend is false")
    if t.pool.refusal:
        lines.append(f"{name}: none of this happens: {t.pool.refusal}")
    return lines


def _unread(pool: Pool) -> list[str]:
    """That windows of calendars are missing which the operator has not read yet."""
    known = {followed.name for followed in pool.memory.calendars}
    return [
        f"the operator has not read the calendar {name} for this pool: its events are missing here"
        for name in pool.spec.calendar_names
        if name not in known
    ]


def _calendar(pool: Pool, window: str) -> str:
    """The calendar that a window comes from; empty for one of spec.windows."""
    return next((w.calendar for w in pool.spec.windows if w.name == window), "")


def _lead(t: Timeline) -> str:
    memory = t.pool.memory
    basis = basis_of(t.pool.spec.lead, memory.warm_ups, memory.template.hash)
    early = f"{t.first.lead.total_seconds():.0f} s early"
    longest = decisive(memory.warm_ups, memory.template.hash)
    if t.pool.spec.lead is not None or longest is None or longest.parts is None:
        return f"{early} ({_BASIS[basis]})"
    return f"{early} ({_BASIS[basis]}; {longest.seconds:.0f} s: {spent_on(longest.parts)})"


def _parking(pool: Pool) -> str:
    """What stays of the idle pool, and what that costs."""
    parked, price = pool.parking, pool.price
    if parked is None:
        return "its pods cannot be parked (condition ParkingWorks): all windows are warm"
    cost = "" if price is None or price.parked is None else amount(price.parked, pool.currency)
    each = f" at {cost} per hour each" if cost else ""
    if not parked.lasting:
        return f"windows with mode Parked keep parked pods{each}"
    lasting = format_duration(parked.lasting)
    return f"an idle pool keeps one pod parked for {lasting}{each}"


def _slow_start(pool: Pool) -> str:
    """That a request that wakes the pool does not wait for long enough; empty if it does."""
    took = slowest_wake(pool.memory.warm_ups, pool.memory.template.hash)
    return hold_too_short(pool.spec, took, pool.spec.capacity_ahead or timedelta()) if took else ""


def _capacity(pool: Pool) -> str:
    """The capacity that is asked for ahead of windows, and what it costs."""
    most = max((w.replicas for w in pool.spec.windows), default=0)
    ahead = pool.spec.capacity_ahead or timedelta()
    each = None if pool.price is None else pool.price.warm * Decimal(ahead.total_seconds()) / 3600
    cost = amount(None if each is None else each * most, pool.currency if each is not None else "")
    return (
        f"nodes for up to {most} pods are requested {format_duration(ahead)} before they start "
        f"(placeholders: up to {cost} each time)"
    )


def _note(t: Timeline, change: Change) -> str:
    notes = []
    if source := _calendar(t.pool, change.window):
        notes.append(f"calendar {source}")
    asked = [w.replicas for w in t.pool.spec.windows if w.name == change.window and not w.parked]
    if change.kind != "close" and min(asked, default=t.pool.spec.least) < t.pool.spec.least:
        notes.append(f"asks for {asked[0]}, and an awake pool has {t.pool.spec.least} at least")
    if change.shifted:
        notes.append(skipped_note(change.at, t.pool.spec.zone))
    if change.winner:
        verb = "stays" if change.kind == "close" else "wins"
        notes.append(f"{change.winner} {verb}")
    elif change.replicas == 0 and change.kind != "close":
        notes.append("an Asleep override is in effect")
    return "; ".join(notes)


# --- several pools: their pods together, one total, and one verdict ---


def problems(timelines: Sequence[Timeline], now: datetime) -> list[str]:
    """Why a window of these pools may not open warm; empty if nothing is known against it."""
    return [f"{t.pool.name}: {why}" for t in timelines for why in dict.fromkeys(_against(t, now))]


def _against(t: Timeline, now: datetime) -> Iterator[str]:
    pool, zone = t.pool, t.pool.spec.zone
    conditions = conditions_of(pool.status)
    if pool.refusal:
        yield pool.refusal
    if pool.spec.suspend:
        yield "suspended; set spec.suspend to false"
    yield from (lost.message for lost in dropped(pool.spec.windows, zone))
    for change in t.changes:
        if change.kind == "open" and change.replicas == 0:
            at = clock(change.at, zone, now)
            yield f"an Asleep override is in effect when {change.window} opens at {at}"
    if standing(pool.ledger, pool.spec.budget) is BudgetState.EXHAUSTED:
        yield sentence(pool.ledger, pool.spec, pool.price)
    elif spent := _spending(t, now):
        yield f"with this plan {spent}"
    opens = any(change.kind == "open" for change in t.changes)
    if opens and is_false(conditions.get("Proven")):
        yield "its current pods have never been Ready; run `kubectl demo-mode rehearse` first"


def _spending(t: Timeline, now: datetime) -> str:
    """When the plan reaches the limit of the budget, and how far beyond it what may finish goes.

    Empty if it does not reach it before the period ends.
    """
    pool, budget, period_end = t.pool, t.pool.spec.budget, t.pool.ledger.period_end
    if budget.limit is None or pool.price is None or pool.ledger.exhausted_at is not None:
        return ""
    end, left = min(period_end or t.end, t.end), budget.limit - pool.ledger.accrued
    for s in (s._replace(end=min(s.end, end)) for s in t.stretches if s.begin < end):
        cost = pool.price.of(s.time)
        if cost and cost >= left:
            break
        left -= cost
    else:
        return ""
    at = s.begin + max(float(left / cost), 0.0) * (s.end - s.begin)
    limit, when = amount(budget.limit, pool.currency), clock(at, pool.spec.zone, now)
    said = f"the budget of {limit} is spent at {when}"
    if budget.on_exhausted is OnExhausted.SLEEP:
        return f"{said}, and the pool sleeps"
    if budget.on_exhausted is OnExhausted.WARN:
        rest = [s._replace(begin=max(s.begin, at), end=min(s.end, end)) for s in t.stretches]
        more = price(pool, [s for s in rest if s.end > s.begin])
        return f"{said}, and the pool continues: {amount(more, pool.currency)} beyond it"
    more = overrun(pool.spec, pool.price, at, period_end or t.end)
    if not more:
        return f"{said}, and no window opens any more"
    return f"{said}; windows that are open then finish: {amount(more, pool.currency)} beyond it"


def verdict(timelines: Sequence[Timeline], now: datetime) -> dict[str, Any]:
    """What the pods of all pools cost together, and what is known against their windows."""
    costs: dict[str, Decimal] = {}  # by currency, because amounts in two are never added
    for t in timelines:
        if t.cost is not None:
            costs[t.pool.currency] = costs.get(t.pool.currency, Decimal(0)) + t.cost
    every, found = together([t.stretches for t in timelines]), problems(timelines, now)
    return {
        "total": {
            "podHours": number(hours(every)),
            "peak": max((s.replicas for s in every), default=0),
            "cost": {currency: number(cost) for currency, cost in costs.items()},
            "unpriced": [t.pool.name for t in timelines if t.cost is None],
        },
        "verdict": {"warm": not found, "problems": found},
    }


def _verdict_text(given: dict[str, Any]) -> list[str]:
    total, found = given["total"], given["verdict"]["problems"]
    parts = [f"{TOGETHER}: {total['podHours']:,.1f} pod hours", f"at most {total['peak']} pods"]
    parts += [amount(Decimal(str(cost)), currency) for currency, cost in total["cost"].items()]
    if total["unpriced"]:
        parts.append(f"without {', '.join(total['unpriced'])}, of unknown cost")
    why = ["Nothing is known that keeps a window of these pools from opening warm."]
    if found:
        why = ["Not every window may open warm:", *(f"  - {problem}" for problem in found)]
    return [", ".join(parts), *why]
