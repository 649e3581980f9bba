"""kubectl demo-mode suggest: settings that past use asks for, and what they would have cost."""

from argparse import Namespace
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from kotatsu_operator.core.calendar.schedule import Window
from kotatsu_operator.core.formats import format_duration, tables
from kotatsu_operator.core.protocol import API_VERSION
from kotatsu_operator.core.report.episodes import read_stored
from kotatsu_operator.core.report.past import pods_awake, recorded_week
from kotatsu_operator.core.report.usage import known_usage
from kotatsu_operator.core.suggest import (
    GAIN,
    LEAST_USES,
    PARKED_SHARE,
    Expected,
    Proposal,
    RelativePrices,
    Settings,
    past_of,
    propose,
    stays,
)

from .api import find
from .entries import entry_of
from .objects import Object
from .pools import Pool, history_path
from .shell import Shell
from .terminal import table_lines
from .words import amount, many, number

_DAYS = {
    "*": "every day",
    "1-5": "Monday to Friday",
    "6,0": "Saturday and Sunday",
    **dict(zip("0123456", ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday",
                           "Saturday"), strict=True)),
}  # fmt: skip
"""Days of a proposed schedule in words."""


class Suggested(NamedTuple):
    """What is known of the use of a pool, and what is proposed."""

    pool: Pool
    today: Settings
    prices: RelativePrices
    is_assumed: bool
    """Whether the price of a parked pod is assumed."""
    known_weeks: float
    proposal: Proposal | None
    """None: too little is known."""

    @property
    def settings(self) -> Settings | None:
        """What is proposed; None without a proposal."""
        return None if self.proposal is None else self.proposal.settings

    @property
    def why_none(self) -> str:
        """Why nothing is proposed; empty if something is."""
        if self.pool.spec.target.scales_itself:
            return "Knative scales it, so its requests are not seen"
        if self.proposal is None:
            return (
                f"{self.known_weeks:.1f} weeks of use are known, and 3 are needed: two to learn "
                "from, one to test on"
            )
        if self.proposal.uses < LEAST_USES:
            return f"{many(self.proposal.uses, 'use')} in these weeks, and {LEAST_USES} are needed"
        if self.proposal.settings is None:
            cost = "the least that" if self.proposal.today.is_least else "what"
            return f"nothing that was tried saves {GAIN:.0%} of {cost} today's settings cost"
        return ""


def run(options: Namespace, shell: Shell) -> int:
    now, terminal = shell.clock(), shell.terminal
    with shell.api(options) as api:
        made = [
            suggested(pool, find(api, history_path(pool)) or {}, now)
            for pool in shell.find(api, options)
        ]
    if options.output != "yaml":
        return shell.show(made, options, lambda one: text(one, shell), record)
    for one in made:
        if one.why_none:
            terminal.complain(f"{one.pool.name}: no proposal: {one.why_none}")
    patches = [patch(one, one.settings) for one in made if one.settings is not None]
    if patches:
        terminal.dump_objects(patches, options.output)
    return 0


def suggested(pool: Pool, history: Object, now: datetime) -> Suggested:
    """What the use of a pool asks for."""
    can_park = pool.spec.parked is None or pool.parking is not None
    price, is_assumed = pool.price, False
    share = 1.0
    if can_park and pool.parking is not None and price is not None and price.warm and price.parked:
        share = min(max(float(price.parked / price.warm), 0.01), 1.0)
    elif can_park:
        share, is_assumed = PARKED_SHARE, True
    windows = tuple(replace(w, parked=w.parked and can_park) for w in pool.spec.windows)
    lasting = timedelta() if pool.parking is None else pool.parking.lasting
    today = Settings(pool.spec.idle_after, lasting, windows)
    stored = read_stored(pool.status, history)
    prices = RelativePrices(share, awake=pods_awake(stored))
    hourly = {} if price is None else {pool.currency: price.warm}

    def recorded(begin: datetime, end: datetime) -> Expected | None:
        week = recorded_week(stored, begin, end, now, share, hourly)
        return None if week is None else Expected(week.wakes, week.hours)

    past = past_of(known_usage(history, pool.memory, now))
    proposal = None
    if not pool.spec.target.scales_itself:
        proposal = propose(past, today, pool.spec, prices, recorded)
    return Suggested(pool, today, prices, is_assumed, past.known_weeks, proposal)


def patch(one: Suggested, settings: Settings) -> Object:
    """The part of a WarmPool with these settings: a merge patch. Windows of people stay."""
    pool = one.pool
    kept = {window.name for window in pool.own_windows if stays(window)}
    windows = [entry for entry in tables(pool.raw["spec"].get("windows")) if entry["name"] in kept]
    spec: Object = {"idleAfter": format_duration(settings.idle_after)}
    if one.prices.parked < 1:
        spec["parkedFor"] = _kept(settings)
    new = [entry_of(window) for window in settings.windows if not stays(window)]
    return {
        "apiVersion": API_VERSION,
        "kind": "WarmPool",
        "metadata": {"name": pool.name, "namespace": pool.namespace},
        "spec": spec | {"windows": [*map(dict, windows), *new]},
    }


# --- text ---


def text(one: Suggested, shell: Shell) -> list[str]:
    """What is said of a pool."""
    name, proposal = one.pool.name, one.proposal
    if proposal is None:
        return [f"{name}: no proposal: {one.why_none}"]
    weeks = proposal.learned_weeks + proposal.held_out_weeks
    rows = [
        ("", "COLD STARTS A WEEK", "PRICE A WEEK", "COST A WEEK", "SETTINGS"),
        _row("today", one, one.today, proposal.today),
        _row("the rule", one, proposal.by_rule, proposal.rule),
    ]
    settings = proposal.settings
    if settings not in (None, proposal.by_rule):
        rows.append(_row("proposal", one, settings, proposal.proposed))
    head = (
        f"{name}: the use of {weeks} weeks is known; learned from the first "
        f"{proposal.learned_weeks}, these are the figures of the last {proposal.held_out_weeks}"
    )
    lines = [
        head,
        *(f"  {line}" for line in table_lines(shell.terminal, rows)),
    ]
    if proposal.today.is_least:
        lines.append(
            "  (today's are the least: how often it slept between uses less than ten minutes apart "
            "is not recorded)"
        )
    minutes = one.prices.cold_start // timedelta(minutes=1)
    lines.append(
        f"  (the cost is the price of the pods, and for a cold start {minutes} minutes of one)"
    )
    if settings is None:
        lines.append(f"  no proposal: {one.why_none}")
        return lines
    if settings == proposal.by_rule:
        lines.append("  proposed is the rule")
    more, fewer = proposal.proposed.cold_starts, proposal.rule.cold_starts
    if round(more, 1) > round(fewer, 1):
        lines.append(f"  it has more cold starts than the rule: {more:.1f} a week, not {fewer:.1f}")
    new = [window for window in settings.windows if not stays(window)]
    lines += [f"  learned from all {weeks} weeks:"] if new else []
    lines += [f"  window {window.name}: {_words(window)}" for window in new]
    if one.is_assumed and one.pool.parking is None:
        lines.append(
            f"  (if its pods can be parked, which `kubectl demo-mode check warmpool/{name}` says; "
            f"a parked pod is assumed to cost {one.prices.parked:.0%} of a warm one)"
        )
    return lines


def _row(title: str, one: Suggested, settings: Settings | None, would: Expected) -> tuple[str, ...]:
    assert settings is not None  # noqa: S101
    least = "at least " if would.is_least else ""
    figures = f"{would.cold_starts:.1f}", *(_price(one, h) for h in _hours(one, would))
    return title, *(least + figure for figure in figures), _said(settings)


def _hours(one: Suggested, would: Expected) -> tuple[float, float]:
    """Of the pods, and with what the cold starts are worth."""
    return would.hours, would.cost(one.prices)


def _price(one: Suggested, hours: float) -> str:
    price = one.pool.price
    if price is None:
        return f"{hours:.1f} pod-hours"
    return amount(Decimal(hours) * price.warm, one.pool.currency)


def _kept(settings: Settings) -> str | None:
    """The field parkedFor; None, which removes it, for a pool that is parked in windows alone."""
    return format_duration(settings.kept) if settings.kept else None


def _said(settings: Settings) -> str:
    parts = [f"idleAfter {format_duration(settings.idle_after)}"]
    if kept := _kept(settings):
        parts.append(f"parkedFor {kept}")
    if settings.windows:
        parts.append(many(len(settings.windows), "window"))
    return ", ".join(parts)


def _words(window: Window) -> str:
    """A proposed window: `Monday to Friday 09:00 for 9h30m, parked`."""
    minute, hour, _, _, days = str(window.schedule).split()
    length = format_duration(window.duration or timedelta())
    parked = ", parked" if window.parked else ""
    return f"{_DAYS[days]} {int(hour):02}:{int(minute):02} for {length}{parked}"


# --- JSON ---


def record(one: Suggested) -> dict[str, Any]:
    """What is said of a pool, for JSON. Times are those of the pool's zone."""
    proposal = one.proposal
    found: dict[str, Any] = {
        "namespace": one.pool.namespace,
        "pool": one.pool.name,
        "knownWeeks": round(one.known_weeks, 2),
        "parkedPrice": round(one.prices.parked, 4),
        "currency": one.pool.currency or None,
        "reason": one.why_none or None,
    }
    if proposal is None:
        return found
    settings = proposal.settings
    return found | {
        "learnedWeeks": proposal.learned_weeks,
        "heldOutWeeks": proposal.held_out_weeks,
        "today": _figures(one, one.today, proposal.today),
        "rule": _figures(one, proposal.by_rule, proposal.rule),
        "proposal": None if settings is None else _figures(one, settings, proposal.proposed),
    }


def _figures(one: Suggested, settings: Settings, would: Expected) -> dict[str, Any]:
    price = one.pool.price
    pods, cost = (
        None if price is None else number(Decimal(hours) * price.warm)
        for hours in _hours(one, would)
    )
    return {
        "coldStartsPerWeek": round(would.cold_starts, 2),
        "podHoursPerWeek": round(would.hours, 2),
        "atLeast": would.is_least,
        "pricePerWeek": pods,
        "costPerWeek": cost,
        "idleAfter": format_duration(settings.idle_after),
        "parkedFor": _kept(settings),
        "windows": [window.name for window in settings.windows],
    }
