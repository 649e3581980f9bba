"""kubectl demo-mode window: add, list and remove windows of pools."""

from argparse import Namespace
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from kotatsu_operator.core.calendar.schedule import Occurrence, Window

from .api import Api
from .errors import DemoModeError
from .money import UNKNOWN, amount, number
from .pools import Object, Pool, chosen
from .shell import Shell
from .terminal import table_lines
from .times import about, clock, stamp
from .window_notes import first_opening, when
from .window_patch import check_owners, owners, write
from .windows import Edit, Request, adding, entries_of, removing


def run(options: Namespace, shell: Shell) -> int:
    """Run the action of the command line."""
    actions = {"add": _add, "list": _list, "remove": _remove}
    return actions[options.action](options, shell)


def _add(options: Namespace, shell: Shell) -> int:
    now = shell.clock()
    request = Request(options.name, options.lasting, options.at, options.schedule, options.replicas)
    return _edit(options, shell, lambda pool: adding(pool, request, now))


def _remove(options: Namespace, shell: Shell) -> int:
    now = shell.clock()
    return _edit(options, shell, lambda pool: removing(pool, options.name, now))


def _edit(options: Namespace, shell: Shell, plan: Callable[[Pool], Edit]) -> int:
    """Plan all changes, show them, ask, write them; an error of one pool does not stop others."""
    terminal = shell.terminal
    is_quiet = options.output in ("json", "yaml")
    say = terminal.complain if is_quiet else terminal.say
    with shell.api(options) as api:
        command = f"window {options.action} {options.name}"
        pools = chosen(shell.find(api, options), options, command, len(shell.refused))
        done: list[Object] = []
        failures = 0

        def failed(pool: Pool, error: DemoModeError) -> None:
            if len(pools) == 1:
                raise error
            nonlocal failures
            failures += 1
            terminal.complain(f"error: {pool.name}: {error}")

        edits = []
        for pool in pools:
            try:
                edit = plan(pool)
                notes = [*edit.notes]
                if edit.is_change:
                    notes += check_owners(edit, force=options.force_conflicts)
            except DemoModeError as error:
                failed(pool, error)
                continue
            edits.append(edit)
            for note in notes:
                say(f"{pool.name}: {note}")
        if any(edit.is_change for edit in edits) and not options.dry_run:
            shell.confirm(yes=options.yes)
        for edit in edits:
            try:
                done.append(_write(api, edit, options.dry_run))
            except DemoModeError as error:
                failed(edit.pool, error)
                continue
            if not is_quiet:
                terminal.say(_line(edit, options.dry_run))
    if is_quiet:
        value = done[0] if len(done) == 1 else {"apiVersion": "v1", "kind": "List", "items": done}
        terminal.dump(value, options.output)
    return 1 if failures else 0


def _write(api: Api, edit: Edit, dry_run: str | None) -> Object:
    if not edit.is_change:
        return edit.pool.raw
    if dry_run == "client":
        return edit.pool.raw | {"spec": edit.spec}
    return write(api, edit, dry_run=dry_run == "server")


def _line(edit: Edit, dry_run: str | None) -> str:
    note = f" ({dry_run} dry run)" if dry_run else ""
    missing = " (the pool does not have it)" if not edit.is_change and edit.value is None else ""
    return f"warmpool.kotatsu.dev/{edit.pool.name} window {edit.name} {edit.verb}{missing}{note}"


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
        for entry, window in zip(entries_of(pool), pool.spec.windows, strict=True):
            first = first_opening(window, pool.spec.zone, now)
            found.append(
                {
                    "namespace": pool.namespace,
                    "pool": pool.name,
                    **entry,
                    "opens": None if first is None else stamp(first.start),
                    "closes": None if first is None else stamp(first.end),
                    "cost": number(_price(pool, window, first)),
                    "managers": owners(pool.raw, entry["name"]),
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
                str(window.replicas),
                coming,
                length,
                amount(_price(pool, window, first), pool.currency),
                ", ".join(owners(pool.raw, window.name)) or UNKNOWN,
            ]
            rows.append(row + [when(window, first, zone, now)] * is_wide)
    return rows


def _price(pool: Pool, window: Window, first: Occurrence | None) -> Decimal | None:
    """The price of a window's next opening by itself."""
    if pool.pod_price is None or first is None:
        return None
    hours = Decimal((first.end - first.start).total_seconds()) / 3600
    return pool.pod_price * window.replicas * hours
