"""The command line: its arguments, and the module of each command."""

import argparse
import sys
from argparse import Namespace
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import NoReturn

from .errors import DemoModeError
from .examples import epilog
from .flags import common_flags, count, days, dry_run_flag, lambda_flags, pool_flags, write_flags
from .shell import Shell
from .workload_flags import workload_commands

PROG = "kubectl demo-mode"

_MODULES = {
    "on": ("switch", "on"),
    "off": ("switch", "off"),
    "status": ("status", "run"),
    "window": ("window", "run"),
    "check": ("check", "run"),
    "create": ("create", "run"),
    "plan": ("plan", "run"),
    "cost": ("cost", "run"),
    "report": ("report", "run"),
    "rehearse": ("rehearse", "run"),
    "restore": ("restore", "run"),
    "completion": ("completion", "run"),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see `{self.prog} --help`\n")


@cache
def parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    top = _Parser(
        prog=PROG,
        description="Keep pools warm for a demo, and let them sleep afterwards.",
        epilog=epilog(""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    common_flags(top, top=True)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, summary: str, more: str = "") -> _Parser:
        return _command(commands, name, summary, more)

    on = add(
        "on",
        "keep pools warm for a while",
        "The override ends by itself: after\n1 hour by default, after 24 hours at most.",
    )
    pool_flags(on)
    length = on.add_mutually_exclusive_group()
    length.add_argument("--for", dest="lasting", metavar="2h", help="how long (default: 1h)")
    length.add_argument(
        "--until",
        metavar="TIME",
        help="end: 18:30 or 2030-12-18T18:30 in the pool's time zone, or RFC 3339",
    )
    on.add_argument(
        "--replicas", type=int, metavar="N", help="pods (default: the most of any window)"
    )
    on.add_argument("--reason", default="", metavar="TEXT", help="reason, shown in the status")
    on.add_argument("--wait", action="store_true", help="return when the pools are Warm")
    on.add_argument("--timeout", default="5m", metavar="5m", help="how long --wait waits at most")
    write_flags(on)

    off = add(
        "off", "end the override and return to the schedule", "An open window keeps its pods."
    )
    pool_flags(off)
    off.add_argument(
        "--now", action="store_true", help="put the pools to sleep until the open window ends"
    )
    off.add_argument("--reason", default="", metavar="TEXT", help="reason for --now")
    write_flags(off)

    _windows(
        add(
            "window",
            "add, import, list and remove windows of pools",
            "A window keeps pods warm at a planned\ntime.",
        )
    )

    workload_commands(add)

    status = add("status", "show the phase of each pool, the reason, and how long it lasts")
    pool_flags(status, everything=False, formats=("json", "yaml", "wide"))
    status.add_argument("-w", "--watch", action="store_true", help="keep running and show changes")

    plan = add("plan", "show when pods start, when windows open and close, and the cost")
    pool_flags(plan, everything=False)
    plan.add_argument("--days", type=days, default=7, metavar="7", help="length (default: 7)")
    plan.add_argument("--from", dest="begin", metavar="TIME", help="begin (default: now)")
    plan.add_argument("--to", dest="end", metavar="TIME", help="end")
    plan.add_argument(
        "-f",
        "--filename",
        metavar="FILE",
        help="plan the pools of this manifest, without a cluster; - is stdin",
    )

    cost = add("cost", "show what was spent, the forecast, and the cost of alternatives")
    pool_flags(cost)
    lambda_flags(cost)

    report = add(
        "report",
        "show what pools were warm for, and what it cost",
        "The costs are those of the\noperator's ledger. Each episode has its reason, pods, wakes "
        "and cost. The default\nrange is the current period of the budget.",
    )
    pool_flags(report, formats=("json", "yaml"))
    report.add_argument("--from", dest="begin", metavar="TIME", help="begin (default: the period)")
    report.add_argument("--to", dest="end", metavar="TIME", help="end (default: now)")
    lambda_flags(report)

    rehearse = add(
        "rehearse",
        "run the next window now, as a rehearsal",
        "Puts the pool to sleep, wakes it\nthrough its Service, starts the pods of the next window "
        "and sends requests.\nWith -l it does so for several pools at the same time. Afterwards "
        "the pools return\nto their schedules. Exit code 1: the demo would have failed.",
    )
    pool_flags(rehearse, everything=False, many=False)
    rehearse.add_argument("--requests", type=count, default=20, metavar="N", help="(default: 20)")
    rehearse.add_argument(
        "--concurrency",
        type=count,
        default=1,
        metavar="C",
        help="concurrent requests (default: 1)",
    )
    rehearse.add_argument(
        "--url", metavar="URL", help="send the requests to this URL, from this machine"
    )
    rehearse.add_argument("--path", default="/", help="path of the requests to the Service")
    rehearse.add_argument("--method", help="HTTP method (default: GET, or POST with --data)")
    rehearse.add_argument("--data", metavar="BODY", help="body of the requests")
    rehearse.add_argument(
        "-H",
        "--header",
        action="append",
        default=[],
        metavar="'N: V'",
        help="header of the requests",
    )
    rehearse.add_argument(
        "--image", default="", help="image of the pod that sends the requests; it needs python3"
    )
    rehearse.add_argument(
        "--replicas", type=count, metavar="N", help="pods (default: the next window's)"
    )
    rehearse.add_argument("--max-p95", metavar="1s", help="fail if the p95 is higher")
    rehearse.add_argument(
        "--timeout", default="5m", metavar="5m", help="limit for falling asleep, and for warming up"
    )
    rehearse.add_argument(
        "--warm-only", action="store_true", help="skip the sleep and the cold wake"
    )
    rehearse.add_argument(
        "--force", action="store_true", help="rehearse even if the pool is in use"
    )

    restore = add(
        "restore",
        "give targets their replicas and Services back, without Kotatsu",
        "For a cluster\nin which Kotatsu was removed while targets slept, also together with the "
        "WarmPools.\nIt refuses while an operator watches the namespace. Exit code 1: something "
        "could not\nbe restored.",
    )
    pool_flags(restore)
    restore.add_argument(
        "--replicas",
        type=count,
        metavar="N",
        help="pods of each target, whatever it had and has (default: as before, from 0 only)",
    )
    restore.add_argument(
        "--force", action="store_true", help="restore although an operator may undo it"
    )
    dry_run_flag(restore)

    completion = add("completion", "print a script that completes commands and names of pools")
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])
    return top


def _command(
    commands: "argparse._SubParsersAction[_Parser]",
    name: str,
    summary: str,
    more: str = "",
    *,
    of: str = "",
) -> _Parser:
    """The parser of one command; `of` is the command that it belongs to."""
    return commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}. {more}",
        epilog=epilog(f"{of} {name}".strip()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _windows(window: _Parser) -> None:
    """The actions of `window`."""
    common_flags(window)
    actions = window.add_subparsers(dest="action", metavar="ACTION", required=True)

    add = _command(
        actions,
        "add",
        "add a window, or replace the one of this name",
        "Prints the price, overlaps and\nthe budget first. Asks before it writes if it runs on a "
        "terminal.",
        of="window",
    )
    add.add_argument("name", metavar="NAME", help="name of the window")
    times = add.add_mutually_exclusive_group(required=True)
    times.add_argument(
        "--at",
        metavar="TIME",
        help="start: 18:30 or 2030-12-18T10:00 in the pool's time zone, or RFC 3339",
    )
    times.add_argument(
        "--schedule", metavar="CRON", help="starts of a repeating window, like '0 18 * * 1-5'"
    )
    add.add_argument(
        "--for", dest="lasting", metavar="2h", default="1h", help="how long (default: 1h)"
    )
    add.add_argument(
        "--replicas", type=count, metavar="N", help="pods (default: the most of any window)"
    )

    calendar = _command(
        actions,
        "import",
        "make windows from the events of a calendar",
        "Importing a calendar again\nchanges and removes the windows of its events; other windows "
        "stay. Prints each\nwindow, the price, overlaps, and events that cannot be windows. Asks "
        "before it\nwrites if it runs on a terminal.",
        of="window",
    )
    calendar.add_argument("source", metavar="SOURCE", help="an .ics file, a URL, or - for stdin")
    calendar.add_argument(
        "--match", default="", metavar="TEXT", help="only events with this text in their title"
    )
    calendar.add_argument(
        "--category", default="", metavar="NAME", help="only events of this category"
    )
    calendar.add_argument(
        "--calendar",
        default="",
        metavar="NAME",
        help="name of the calendar (default: that of the file, or the one that it gives itself)",
    )
    calendar.add_argument(
        "--days",
        type=days,
        default=62,
        metavar="62",
        help="how far ahead to make windows of events that no schedule can say (default: 62)",
    )
    calendar.add_argument(
        "--replicas",
        type=count,
        metavar="N",
        help="pods (default: those that a window has, or the most of any window)",
    )

    listing = _command(
        actions,
        "list",
        "list the windows of pools, with the price of the next opening",
        of="window",
    )
    pool_flags(listing, formats=("json", "yaml", "wide"))

    remove = _command(
        actions,
        "remove",
        "remove a window",
        "Other windows stay. Asks before it writes if it\nruns on a terminal.",
        of="window",
    )
    remove.add_argument("name", metavar="NAME", help="name of the window")
    for making in (add, calendar):
        making.add_argument(
            "--parked",
            action="store_true",
            help="keep its pods parked until a request comes (needs spec.parked)",
        )
    for changing in (add, calendar, remove):
        pool_flags(changing)
        write_flags(changing)
        changing.add_argument("-y", "--yes", action="store_true", help="do not ask")


def _parsed(arguments: Sequence[str]) -> Namespace:
    """The options; pools may also stand after the flags, where argparse does not expect them."""
    top = parser()
    options, more = top.parse_known_args(arguments)
    pools = getattr(options, "pools", None)
    if more and (not isinstance(pools, list) or any(word.startswith("-") for word in more)):
        top.error(f"unrecognized arguments: {' '.join(more)}")
    if more:
        options.pools = [*(pools or ()), *more]
    return options


def run(arguments: Sequence[str], shell: Shell) -> int:
    """Run one command; returns 0 (done), 1 (failed), 2 (invalid arguments) or 130 (interrupted)."""
    options = _parsed(arguments)
    if getattr(options, "dry_run", None) == "none":
        options.dry_run = None
    if options.command == "rehearse":
        options.pools = [options.pools] if options.pools else []
    module, name = _MODULES[options.command]
    command = getattr(import_module(f".{module}", __package__), name)
    try:
        code = int(command(options, shell)) or int(bool(shell.refused))
        if shell.named_last:
            shell.terminal.complain(f"error: refused: {', '.join(shell.named_last)}; see above")
        return code
    except DemoModeError as error:
        shell.terminal.complain(f"error: {error}")
        return 1
    except BrokenPipeError:
        sys.stderr.close()  # otherwise Python would print an error about the closed pipe at exit
        return 0
    except KeyboardInterrupt:
        shell.terminal.complain("")
        return 130
