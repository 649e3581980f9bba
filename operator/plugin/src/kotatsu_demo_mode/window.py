"""kubectl demo-mode window: add, import, list and remove windows of pools."""

from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from kotatsu_operator.core.budget.podtime import Stretch
from kotatsu_operator.core.calendar.schedule import Occurrence, Window

from .api import Api
from .entries import (
    Edit,
    Request,
    adding,
    check_owners,
    entries_of,
    entry_of,
    owners,
    raw_after,
    removing,
    sources_of,
    write,
)
from .notes import first_opening, when
from .objects import Object
from .operators import watches
from .pools import Pool, chosen
from .shell import Shell
from .terminal import table_lines
from .timeline import price
from .words import UNKNOWN, about, amount, clock, number, shown_pods, stamp


def run(options: Namespace, shell: Shell) -> int:
    actions = {"add": _add, "import": _import, "list": _list, "remove": _remove}
    return actions[options.action](options, shell)


@dataclass(frozen=True)
class Change:
    """The changes of one pool, and what to know before they are written."""

    pool: Pool
    edits: Sequence[Edit]
    notes: Sequence[str] = ()
    nothing: str = ""
    """What to print if there is nothing to write; empty: each edit says so itself."""

    @property
    def is_change(self) -> bool:
        return any(edit.is_change for edit in self.edits)


def _add(options: Namespace, shell: Shell) -> int:
    now = shell.clock()
    request = Request(
        options.name,
        options.lasting,
        options.at,
        options.schedule,
        options.replicas,
        options.parked,
    )
    return _edit(options, shell, lambda pool: _one(adding(pool, request, now)))


def _remove(options: Namespace, shell: Shell) -> int:
    now = shell.clock()
    return _edit(options, shell, lambda pool: _one(removing(pool, options.name, now)))


def _one(edit: Edit) -> Change:
    return Change(edit.pool, [edit], edit.notes)


def _import(options: Namespace, shell: Shell) -> int:
    from . import calendars  # slow to load, and only needed here

    now = shell.clock()
    asked = calendars.asked(options, shell.stdin, now)

    def plan(pool: Pool) -> Change:
        wanted, skipped = calendars.windows_of(asked.found, pool.spec.zone, now)
        edits = calendars.changes(pool, asked, wanted)
        notes = calendars.notes(pool, edits, asked, skipped, now)
        return Change(pool, edits, notes, f"calendar {asked.name} unchanged")

    return _edit(options, shell, plan)


def _edit(options: Namespace, shell: Shell, plan: Callable[[Pool], Change]) -> int:
    """Plan all changes, show them, ask, write them; an error of one pool does not stop others."""
    terminal = shell.terminal
    is_quiet = bool(options.output)
    say = terminal.complain if is_quiet else terminal.say
    with shell.api(options) as api:
        # The source of an import may be a secret, so it is not repeated.
        command = f"window {options.action} {getattr(options, 'name', 'FILE')}"
        pools = chosen(shell.find(api, options), options, command, len(shell.refused))
        usable = shell.accepted(pools)
        if options.action != "remove":  # which takes away and starts nothing
            pools = usable

        def planned(pool: Pool) -> Change:
            change = plan(pool)
            notes = [*change.notes]
            for edit in change.edits:
                if edit.is_change:
                    notes += check_owners(edit, force=options.force_conflicts)
            for note in dict.fromkeys(notes):
                say(f"{pool.name}: {note}")
            return change

        def written(change: Change) -> Object:
            raw = _write(api, change, options.dry_run)
            for line in () if is_quiet else _lines(change, options.dry_run):
                terminal.say(line)
            return raw

        changes = shell.each(pools, planned, lambda pool: pool.name)
        changing = [change.pool for change in changes if change.is_change]
        for one in watches(api, changing, shell).values():
            if not one.acts and options.action != "remove":
                say(f"note: {one.message}")
        if changing and not options.dry_run:
            shell.confirm(yes=options.yes)
        done = shell.each(changes, written, lambda change: change.pool.name)
    if is_quiet:
        terminal.dump_objects(done, options.output)
    return 0


def _write(api: Api, change: Change, dry_run: str | None) -> Object:
    pool = change.pool
    if not change.is_change:
        return pool.raw
    if dry_run == "client":
        return raw_after(pool, change.edits)
    return write(api, pool, change.edits, dry_run=dry_run == "server")


def _lines(change: Change, dry_run: str | None) -> list[str]:
    name = f"warmpool.kotatsu.dev/{change.pool.name}"
    note = f" ({dry_run} dry run)" if dry_run else ""
    if change.nothing and not change.is_change:
        return [f"{name} {change.nothing}{note}"]
    shown = [e for e in change.edits if e.is_change or not change.nothing]
    return [f"{name} window {_text(edit)}{note}" for edit in shown]


def _text(edit: Edit) -> str:
    missing = " (the pool does not have it)" if not edit.is_change and edit.value is None else ""
    return f"{edit.name} {edit.verb}{missing}"


def _list(options: Namespace, shell: Shell) -> int:
    now = shell.clock()
    with shell.api(options) as api:
        pools = shell.find(api, options)
    if options.output in ("json", "yaml"):
        shell.terminal.dump(records(pools, now), options.output)
        return 0
    rows = rows_of(pools, now, is_wide=options.output == "wide", spaces=options.all_namespaces)
    if len(rows) == 1:
        shell.terminal.say("No windows; add one with `kubectl demo-mode window add`.")
        return 0
    for line in table_lines(shell.terminal, rows):
        shell.terminal.say_as_is(line)
    return 0


def records(pools: Sequence[Pool], now: datetime) -> list[dict[str, Any]]:
    """The windows for JSON: each entry as in the spec, its next opening and that one's price."""
    found = []
    for pool in pools:
        sources = sources_of(pool.raw)
        entries = [
            *zip(entries_of(pool), pool.own_windows, strict=True),
            *((entry_of(w) | {"calendar": w.calendar}, w) for w in pool.spec.windows if w.calendar),
        ]
        for entry, window in entries:
            first = first_opening(window, pool.spec.zone, now)
            found.append(
                {
                    "namespace": pool.namespace,
                    "pool": pool.name,
                    **entry,
                    **({} if (of := sources.get(entry["name"])) is None else {"from": of}),
                    "opens": None if first is None else stamp(first.start),
                    "closes": None if first is None else stamp(first.end),
                    "cost": number(_price(pool, window, first)),
                    "managers": [] if window.calendar else owners(pool.raw, entry["name"]),
                }
            )
    return found


def rows_of(
    pools: Sequence[Pool], now: datetime, *, is_wide: bool = False, spaces: bool = False
) -> list[list[str]]:
    """The head, and one row per window."""
    head = ["NAMESPACE"] * spaces + ["POOL", "WINDOW", "PODS", "NEXT", "FOR", "COST", "OWNER"]
    rows = [head + ["WHEN"] * is_wide]
    for pool in pools:
        zone = pool.spec.zone
        for window in pool.spec.windows:
            first = first_opening(window, zone, now)
            coming, length = "over", "-"
            if first is not None:
                is_open = first.start <= now
                coming = "open" if is_open else f"{clock(first.start, zone, now)} {zone.key}"
                length = about(first.end - first.start)
            row = [
                *([pool.namespace] * spaces),
                pool.name,
                window.name,
                shown_pods(window.replicas, parked=window.parked),
                coming,
                length,
                amount(_price(pool, window, first), pool.currency),
                _source(pool, window),
            ]
            rows.append(row + [when(window, first, zone, now)] * is_wide)
    return rows


def _source(pool: Pool, window: Window) -> str:
    """Who owns a window, and the calendar that it comes from."""
    if window.calendar:
        return f"calendar {window.calendar}"
    imported = sources_of(pool.raw).get(window.name, {}).get("calendar")
    names = ", ".join(owners(pool.raw, window.name)) or UNKNOWN
    return f"{names} ({imported})" if imported else names


def _price(pool: Pool, window: Window, first: Occurrence | None) -> Decimal | None:
    """The price of a window's next opening by itself."""
    if first is None:
        return None
    is_parked = window.parked and pool.parking is not None
    return price(pool, [Stretch(first.start, first.end, window.replicas, is_parked)])
