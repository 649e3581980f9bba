"""The command line: what can be said, and which module does it."""

import argparse
import sys
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from importlib import import_module
from typing import NoReturn

from .errors import DemoModeError
from .examples import epilog
from .shell import Shell

PROG = "kubectl demo-mode"

_MODULES = {
    "on": ("switch", "on"),
    "off": ("switch", "off"),
    "status": ("status", "run"),
    "plan": ("plan", "run"),
    "cost": ("cost", "run"),
    "rehearse": ("rehearse", "run"),
    "completion": ("completion", "run"),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see `{self.prog} --help`\n")


def parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    top = _Parser(
        prog=PROG,
        description="Keep warm pools warm while you demonstrate, and let them sleep afterwards.",
        epilog=epilog(""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _common(top, top=True)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, summary: str, more: str = "") -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}. {more}",
            epilog=epilog(name),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    on = add(
        "on",
        "keep pools warm for a while",
        "It ends by itself: after an hour\nunless you say otherwise, after 24 hours at the latest.",
    )
    _pools(on)
    length = on.add_mutually_exclusive_group()
    length.add_argument("--for", dest="lasting", metavar="2h", help="how long (default: 1h)")
    length.add_argument(
        "--until",
        metavar="TIME",
        help="until when: 18:30 or 2030-11-25T18:30 in the pool's time zone, or RFC 3339",
    )
    on.add_argument(
        "--replicas", type=int, metavar="N", help="pods (default: the most any window asks for)"
    )
    on.add_argument("--reason", default="", metavar="TEXT", help="why; shown in the status")
    on.add_argument("--wait", action="store_true", help="return when they are Warm")
    on.add_argument("--timeout", default="5m", metavar="5m", help="the longest --wait waits")
    _writing(on)

    off = add("off", "end the override: back to the schedule", "An open window keeps its pods.")
    _pools(off)
    off.add_argument(
        "--now", action="store_true", help="put them to sleep until the open window ends"
    )
    off.add_argument("--reason", default="", metavar="TEXT", help="why, with --now")
    _writing(off)

    status = add("status", "show where the pools are, why, and until when")
    _pools(status, everything=False)
    status.add_argument("-w", "--watch", action="store_true", help="go on, and show what changes")

    plan = add("plan", "show when pods start and windows open and close, and what it costs")
    _pools(plan, everything=False)
    plan.add_argument("--days", type=_days, default=7, metavar="7", help="how far (default: 7)")
    plan.add_argument("--from", dest="begin", metavar="TIME", help="from when (default: now)")
    plan.add_argument("--to", dest="end", metavar="TIME", help="until when")
    plan.add_argument(
        "-f", "--filename", metavar="FILE", help="plan this manifest, without a cluster; - is stdin"
    )

    cost = add("cost", "show what was spent, what is coming, and what else it could have been")
    _pools(cost)
    cost.add_argument(
        "--lambda-price", type=_price, metavar="PRICE", help="of a GB-second provisioned"
    )
    cost.add_argument(
        "--lambda-memory", type=_price, metavar="MiB", help="of an instance (default: a pod's)"
    )
    cost.add_argument(
        "--lambda-currency", default="", metavar="CODE", help="the currency of that price"
    )

    rehearse = add(
        "rehearse",
        "do tomorrow's demo today",
        "Puts the pool to sleep, wakes it through its\nService, brings up the next window's pods, "
        "sends requests, and gives the pool\nback to its schedule. Exit code 1: it would have "
        "failed.",
    )
    _pools(rehearse, everything=False, many=False)
    rehearse.add_argument("--requests", type=_count, default=20, metavar="N", help="(default: 20)")
    rehearse.add_argument(
        "--concurrency", type=_count, default=1, metavar="C", help="at once (default: 1)"
    )
    rehearse.add_argument("--url", metavar="URL", help="send to this address, from here")
    rehearse.add_argument("--path", default="/", help="send to this path of the Service")
    rehearse.add_argument("--method", help="(default: GET, or POST with --data)")
    rehearse.add_argument("--data", metavar="BODY", help="send this body")
    rehearse.add_argument(
        "-H", "--header", action="append", default=[], metavar="'N: V'", help="send this header"
    )
    rehearse.add_argument("--image", default="", help="of the pod that sends; it needs python3")
    rehearse.add_argument(
        "--replicas", type=_count, metavar="N", help="pods (default: the next window's)"
    )
    rehearse.add_argument("--max-p95", metavar="1s", help="fail above this")
    rehearse.add_argument("--timeout", default="5m", metavar="5m", help="for sleep and for warmth")
    rehearse.add_argument("--warm-only", action="store_true", help="leave out sleep and cold wake")
    rehearse.add_argument("--force", action="store_true", help="even if somebody is using the pool")

    completion = add("completion", "print a script that completes commands and pools")
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])
    return top


def _common(made: argparse.ArgumentParser, *, top: bool = False) -> None:
    """The flags of kubectl, before the command or after it."""

    def add(*names: str, default: object, **more: str) -> None:
        made.add_argument(*names, default=default if top else argparse.SUPPRESS, **more)  # type: ignore[arg-type]

    add("-n", "--namespace", default="", metavar="NAME", help="the namespace to look into")
    add("--context", default="", metavar="NAME", help="the context of the kubeconfig")
    add("--kubeconfig", default="", metavar="FILE", help="the kubeconfig")


def _pools(made: argparse.ArgumentParser, *, everything: bool = True, many: bool = True) -> None:
    made.add_argument("pools", nargs="*" if many else "?", metavar="POOL", help="names of pools")
    made.add_argument("-l", "--selector", default="", metavar="SEL", help="pools with these labels")
    if everything:
        made.add_argument(
            "--all", dest="everything", action="store_true", help="all pools of the namespace"
        )
    if many:
        made.add_argument(
            "-A", "--all-namespaces", action="store_true", help="look into every namespace"
        )
    else:
        made.set_defaults(all_namespaces=False)
    made.add_argument("-o", "--output", choices=["json", "yaml", "wide"], help="the form")
    _common(made)


def _writing(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--dry-run",
        nargs="?",
        const="server",
        choices=["none", "client", "server"],
        help="change nothing; `server` lets the API server check it",
    )
    made.add_argument(
        "--force-conflicts",
        action="store_true",
        help="take over an override that something else has set",
    )


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return number


def _days(text: str) -> int:
    number = _count(text)
    if number > 1098:
        raise argparse.ArgumentTypeError(f"{text} is more than three years")
    return number


def _price(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount like 0.0000041667")
    return number


def run(arguments: Sequence[str], shell: Shell) -> int:
    """Run one command; the exit code: 0 done, 1 not done, 2 not understood, 130 interrupted."""
    options = parser().parse_args(arguments)
    if getattr(options, "dry_run", None) == "none":
        options.dry_run = None
    if options.command == "rehearse":
        options.pools = [options.pools] if options.pools else []
    module, name = _MODULES[options.command]
    command = getattr(import_module(f".{module}", __package__), name)
    try:
        return int(command(options, shell)) or int(bool(shell.refused))
    except DemoModeError as error:
        shell.terminal.complain(f"error: {error}")
        return 1
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone; Python would complain about that at exit
        return 0
    except KeyboardInterrupt:
        shell.terminal.complain("")
        return 130
