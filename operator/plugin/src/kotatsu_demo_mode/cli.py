"""The command line: its arguments, and the module of each command."""

import argparse
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from functools import cache
from importlib import import_module
from pkgutil import get_data
from typing import Any, NoReturn

from .errors import DemoModeError
from .shell import Shell

PROG = "kubectl demo-mode"

_LENGTH, _YES = "duration (default: 1h)", "do not prompt"
_MOST = "number of pods (default: the highest of any window)"
_ZONED = "in the pool's time zone, or RFC 3339"
_CRON = "start times of a repeating window, like '0 18 * * 1-5'"


def examples() -> dict[str, str]:
    """The examples of the help by command, "" for the top. Tests run each of them."""
    return _sections("examples.txt")


def details() -> dict[str, str]:
    """What the help says below the flags, in the same form: a list in Markdown."""
    return _sections("details.txt")


@cache
def _sections(file: str) -> dict[str, str]:
    text = (get_data(__package__, file) or b"").decode()
    sections = (part.partition("]\n") for part in text.split("[", 1)[1].split("\n["))
    return {command: lines.rstrip("\n") for command, _, lines in sections}


class Parser(argparse.ArgumentParser):
    """A parser with one line for each flag, whose errors are one sentence."""

    def __init__(self, **more: Any) -> None:
        self.arguments: list[argparse.Action] = []
        """Its flags and arguments; argparse does not tell."""
        self.commands: dict[str, Parser] = {}
        """The parsers of its commands by name."""
        form = argparse.RawDescriptionHelpFormatter
        super().__init__(formatter_class=form, allow_abbrev=False, **more)

    def add_argument(self, *names: str, group: Any = None, **more: Any) -> argparse.Action:
        """Add a flag or an argument, of which a `group` may have only one."""
        add = super().add_argument if group is None else group.add_argument
        self.arguments.append(add(*names, **more))
        return self.arguments[-1]

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see `{self.prog} --help`\n")

    def format_help(self) -> str:
        command = self.prog.removeprefix(PROG).strip()
        more = f"{details()[command]}\n\n" if command in details() else ""
        self.epilog = f"{more}examples:\n{examples()[command]}"
        return super().format_help()

    def switch(self, names: str, text: str, **more: Any) -> None:
        """Add a flag without a value."""
        self.add_argument(*names.split(), action="store_true", help=text, **more)

    def value(self, names: str, shown: str, text: str, **more: Any) -> None:
        """Add a flag, or an argument, whose value the help calls `shown`."""
        self.add_argument(*names.split(), metavar=shown, help=text, **more)

    def choose(self, dest: str) -> None:
        """Make the first argument the name of a command."""
        made = self.add_subparsers(dest=dest, metavar=dest.upper(), required=True)
        self._commands, self.commands = made, made.choices

    def command(self, name: str, summary: str, more: str = "") -> "Parser":
        """Add a command."""
        about = f"{summary[0].upper()}{summary[1:]}. {more}"
        return self._commands.add_parser(name, help=summary, description=about)

    # --- what several commands have ---

    def common(self, *, top: bool = False) -> None:
        """Add the flags of kubectl, which may stand before or after the command."""
        default = "" if top else argparse.SUPPRESS
        self.value("-n --namespace", "NAME", "namespace of the pools", default=default)
        self.value("--context", "NAME", "context of the kubeconfig", default=default)
        self.value("--kubeconfig", "FILE", "path of the kubeconfig", default=default)

    def output(self, *formats: str) -> None:
        """Add the form of the output."""
        self.add_argument("-o", "--output", choices=[*formats], help="output format")

    def pools(
        self, *, everything: bool = True, many: bool = True, formats: Sequence[str] = ()
    ) -> None:
        """Add the pools of a command, and the form of its output."""
        self.set_defaults(everything=False, all_namespaces=False)
        number, default = ("*", list[str]()) if many else ("?", None)
        self.value("pools", "POOL", "names of pools", nargs=number, default=default)
        self.value("-l --selector", "SEL", "pools with these labels", default="")
        if everything:
            self.switch("--all", "all pools of the namespace", dest="everything")
        if many:
            self.switch("-A --all-namespaces", "pools of all namespaces")
        self.output("json", "yaml", *formats)
        self.common()

    def dry_run(self, text: str, *choices: str) -> None:
        """Add the flag of commands that change something."""
        self.add_argument(
            "--dry-run", nargs="?", const="server", choices=["none", *choices], help=text
        )

    def writes(self) -> None:
        """Add the flags of commands that change pools."""
        self.dry_run(VALIDATED, "client", "server")
        self.switch("--force-conflicts", "take over what another field manager has set")


VALIDATED = "change nothing; with `server`, the API server validates the change"


def count(text: str) -> int:
    """A number of pods or requests."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return number


def days(text: str) -> int:
    """The length of a plan."""
    number = count(text)
    if number > 1098:
        raise argparse.ArgumentTypeError(f"{text} is more than three years")
    return number


def price(text: str) -> Decimal:
    """An amount of money, or of MiB."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount like 0.0000041667")
    return number


# --- the commands ---


@cache
def parser(first: str = "") -> Parser:
    """The parser of all commands; where the `first` word is one, of the commands of its group.

    To make all of them takes 11 ms.
    """
    about = "Keep pools warm for a demo, and let them sleep afterwards."
    top = Parser(prog=PROG, description=about)
    top.common(top=True)
    top.choose("command")
    for make in [make for make, commands in _GROUPS.items() if first in commands] or _GROUPS:
        make(top)
    return top


def _switch(top: Parser) -> None:
    on = top.command(
        "on",
        "keep pools warm for a while",
        "The override ends by itself: after\n1 hour by default, after 24 hours at most.",
    )
    on.pools()
    length = on.add_mutually_exclusive_group()
    on.value("--for", "2h", _LENGTH, group=length, dest="lasting")
    text = f"end: 18:30 or 2030-12-18T18:30 {_ZONED}"
    on.value("--until", "TIME", text, group=length)
    on.value("--replicas", "N", _MOST, type=count)
    on.value("--reason", "TEXT", "reason, shown in the status", default="")
    on.switch("--wait", "return when the pools are Warm")
    on.value("--timeout", "5m", "time limit of --wait", default="5m")
    on.writes()

    summary = "end the override and return to the schedule"
    off = top.command("off", summary, "An open window keeps its pods.")
    off.pools()
    off.switch("--now", "put the pools to sleep until the open window ends")
    off.value("--reason", "TEXT", "reason for --now", default="")
    off.writes()


def _windows(top: Parser) -> None:
    window = top.command(
        "window",
        "add, import, list and remove windows of pools",
        "A window keeps pods warm at a planned\ntime.",
    )
    window.common()
    window.choose("action")
    add = window.command(
        "add",
        "add a window, or replace the one of this name",
        "Prints the price, overlaps and\nthe budget first. Prompts before it writes if it runs on "
        "a terminal.",
    )
    add.value("name", "NAME", "name of the window")
    times = add.add_mutually_exclusive_group(required=True)
    text = f"start: 18:30 or 2030-12-18T10:00 {_ZONED}"
    add.value("--at", "TIME", text, group=times)
    add.value("--schedule", "CRON", _CRON, group=times)
    add.value("--for", "2h", _LENGTH, dest="lasting", default="1h")
    add.value("--replicas", "N", _MOST, type=count)

    calendar = window.command(
        "import",
        "make windows from the events of a calendar",
        "Importing a calendar again\nchanges and removes the windows of its events; other windows "
        "stay. Prints each\nwindow, the price, overlaps, and events that cannot be windows. "
        "Prompts before it\nwrites if it runs on a terminal.",
    )
    calendar.value("source", "SOURCE", "an .ics file, a URL, or - for stdin")
    calendar.value(
        "--match",
        "TEXT",
        "only events with this text in the title, or of this category",
        default="",
    )
    text = "name of the calendar (default: of the file; for a URL or stdin the name in it)"
    calendar.value("--calendar", "NAME", text, default="")
    text = "days ahead for which events without a simple schedule become windows (default: 62)"
    calendar.value("--days", "62", text, type=days, default=62)
    text = "number of pods (default: unchanged, for a new window the highest of any window)"
    calendar.value("--replicas", "N", text, type=count)

    window.command("list", "list the windows of pools, with the price of the next opening").pools(
        formats=["wide"]
    )
    remove = window.command(
        "remove",
        "remove a window",
        "Other windows stay. Prompts before it writes if it\nruns on a terminal.",
    )
    remove.value("name", "NAME", "name of the window")
    for making in (add, calendar):
        making.switch("--parked", "keep its pods parked until a request arrives")
    for changing in (add, calendar, remove):
        changing.pools()
        changing.writes()
        changing.switch("-y --yes", _YES)


def _workloads(top: Parser) -> None:
    check = top.command(
        "check",
        "report whether a WarmPool works for a workload, and what to correct",
        "Changes nothing.\nExit code 1: something is refused.",
    )
    _workload(check, nargs="?")
    check.value("-l --selector", "SEL", "pools with these labels", default="")
    check.switch("--all", "all pools of the namespace", dest="everything")
    check.switch("-A --all-namespaces", "all pools of all namespaces")
    text = "number of pods (default: that of the pool)"
    check.value("--replicas", "N", text, type=count)
    check.switch("--strict", "exit with 1 after a warning too")
    check.value("-f --filename", "FILE", "what the WarmPoolSets of a file select", default="")

    create = top.command(
        "create",
        "write the WarmPool of a workload",
        "Prints the manifest, filled in with what `check`\nfinds. With --apply, creates the pool.",
    )
    _workload(create)
    create.value("--name", "NAME", "name (default: the workload's)", default="")
    text = "time zone of the windows, like Asia/Tokyo"
    create.value("--time-zone", "ZONE", text, default="")
    text = "name of a window; may be repeated"
    start = "start: 18:30 or 2030-12-18T10:00 in the time zone, or RFC 3339"
    for part, flag, shown, said, kind in (
        ("name", "--window", "NAME", text, str),
        ("at", "--at", "TIME", start, str),
        ("schedule", "--schedule", "CRON", _CRON, str),
        ("lasting", "--for", "2h", _LENGTH, str),
        ("replicas", "--replicas", "N", "number of its pods (default: 1)", count),
    ):
        create.value(flag, shown, said, action=_Window, const=part, dest="windows", type=kind)
    create.switch("--apply", "create the pool")
    text = "with --apply: the API server validates the pool and does not save it"
    create.dry_run(text, "server")
    create.switch("-y --yes", _YES)


def _workload(made: Parser, **more: Any) -> None:
    text = "deployment/web, rollout.argoproj.io/web, warmpool/web"
    made.value("workload", "TYPE/NAME", text, default="", **more)
    text = "its Service (default: a Service that selects its pods)"
    made.value("--service", "NAME", text, default="")
    made.output("json", "yaml")
    made.common()


class _Window(argparse.Action):
    """--window begins a window; --at, --schedule, --for and --replicas say more of the last one."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        windows: list[dict[str, Any]] = namespace.windows or []
        if self.const == "name":
            windows = [*windows, {}]
        elif not windows:
            parser.error(f"{option_string} belongs to a window; put --window NAME before it")
        elif self.const in windows[-1]:
            parser.error(f"{option_string} is given twice for window {windows[-1]['name']}")
        namespace.windows = [*windows[:-1], windows[-1] | {self.const: values}]


def _reports(top: Parser) -> None:
    """The commands that show pools, and change nothing."""
    status = top.command("status", "show the phase of each pool, the reason, and how long it lasts")
    status.pools(everything=False, formats=["wide"])
    status.switch("-w --watch", "keep running and show changes")

    plan = top.command("plan", "show when pods start, when windows open and close, and the cost")
    plan.pools(everything=False)
    plan.value("--days", "7", "number of days (default: 7)", type=days, default=7)
    plan.value("--from", "TIME", "start of the plan (default: now)", dest="begin")
    plan.value("--to", "TIME", "end of the plan", dest="end")
    text = "plan the pools of this manifest, without a cluster; - is stdin"
    plan.value("-f --filename", "FILE", text)

    cost = top.command("cost", "show the cost so far, the forecast, and the cost of alternatives")
    cost.pools()
    text = "price of a GB-second of provisioned concurrency, to compare with"
    cost.value("--lambda-price", "PRICE", text, type=price)
    cost.value("--lambda-memory", "MiB", "memory of an instance", type=price)
    cost.value("--lambda-currency", "CODE", "currency of --lambda-price", default="")

    report = top.command(
        "report",
        "show why pools were warm, and what it cost",
        "The costs are those of the\noperator's ledger. Each episode has its reason, pods, wakes "
        "and cost. The default\nrange is the current period of the budget.",
    )
    report.pools()
    report.value("--from", "TIME", "start of the report (default: the period)", dest="begin")
    report.value("--to", "TIME", "end of the report (default: now)", dest="end")

    suggest = top.command(
        "suggest",
        "propose windows, idleAfter and parkedFor from past use",
        "Computes them from some\nweeks and tests them on later weeks: cold starts and price a "
        "week of the present\nsettings, of the rule (idleAfter 30s, parkedFor 2h30m) and of the "
        "proposal. Changes\nnothing; -o yaml prints a patch. Needs three weeks.",
    )
    suggest.pools()


def _rehearse(top: Parser) -> None:
    rehearse = top.command(
        "rehearse",
        "run the next window now, as a rehearsal",
        "Puts the pool to sleep, wakes it\nthrough its Service, starts the pods of the next window "
        "and sends requests.\nWith -l it does so for several pools at the same time. Afterwards "
        "the pools return\nto their schedules. Exit code 1: the demo would have failed.",
    )
    rehearse.pools(everything=False, many=False)
    rehearse.value("--requests", "N", "number of requests (default: 20)", type=count, default=20)
    text = "requests at a time (default: 1)"
    rehearse.value("--concurrency", "C", text, type=count, default=1)
    rehearse.value("--url", "URL", "send the requests to this URL, from this machine")
    rehearse.add_argument("--path", default="/", help="path of the requests to the Service")
    rehearse.add_argument("--method", help="HTTP method (default: GET, or POST with --data)")
    rehearse.value("--data", "BODY", "body of the requests")
    text = "header of the requests"
    rehearse.value("-H --header", "'N: V'", text, action="append", default=[])
    text = "image of the pod that sends the requests; it needs python3"
    rehearse.add_argument("--image", default="", help=text)
    text = "number of pods (default: that of the next window)"
    rehearse.value("--replicas", "N", text, type=count)
    rehearse.value("--max-p95", "1s", "fail if the p95 is higher")
    rehearse.value("--timeout", "5m", "time limit for the sleep, and for the warm-up", default="5m")
    rehearse.switch("--warm-only", "skip the sleep and the cold wake")
    rehearse.switch("--force", "rehearse even if the pool is in use")


def _restore(top: Parser) -> None:
    restore = top.command(
        "restore",
        "restore the replicas and Services of targets, without Kotatsu",
        "For a cluster\nin which Kotatsu was removed while targets slept, also together with the "
        "WarmPools.\nIt refuses while an operator watches the namespace. Exit code 1: something "
        "could not\nbe restored.",
    )
    restore.pools()
    text = "set this number on each target (default: as before, and only on those at 0)"
    restore.value("--replicas", "N", text, type=count)
    text = "namespace of Kotatsu's release, whose record is read (default: as the WarmPools say)"
    restore.value("--home", "NAMESPACE", text, default="")
    restore.switch("--force", "restore although an operator may undo it")
    restore.dry_run(VALIDATED, "client", "server")


def _completion(top: Parser) -> None:
    completion = top.command(
        "completion", "print a script that completes commands and names of pools"
    )
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])


_GROUPS: dict[Callable[[Parser], None], Sequence[str]] = {
    _switch: ("on", "off"),
    _windows: ("window",),
    _workloads: ("check", "create"),
    _reports: ("status", "plan", "cost", "report", "suggest"),
    _rehearse: ("rehearse",),
    _restore: ("restore",),
    _completion: ("completion",),
}


def _parsed(arguments: Sequence[str]) -> Namespace:
    """The options; pools may also stand after the flags, where argparse does not expect them."""
    top = parser(*arguments[:1])
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
    # Each command is a module with `run`, which is loaded only now.
    command = import_module(f".{options.command}", __package__)
    try:
        code = int(command.run(options, shell)) or int(bool(shell.refused))
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
