"""The command line: its arguments, and the module of each command."""

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
        description="Keep pools warm for a demo, and let them sleep afterwards.",
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
        "The override ends by itself: after\n1 hour by default, after 24 hours at most.",
    )
    _pools(on)
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
    _writing(on)

    off = add(
        "off", "end the override and return to the schedule", "An open window keeps its pods."
    )
    _pools(off)
    off.add_argument(
        "--now", action="store_true", help="put the pools to sleep until the open window ends"
    )
    off.add_argument("--reason", default="", metavar="TEXT", help="reason for --now")
    _writing(off)

    status = add("status", "show the phase of each pool, the reason, and how long it lasts")
    _pools(status, everything=False)
    status.add_argument("-w", "--watch", action="store_true", help="keep running and show changes")

    plan = add("plan", "show when pods start, when windows open and close, and the cost")
    _pools(plan, everything=False)
    plan.add_argument("--days", type=_days, default=7, metavar="7", help="length (default: 7)")
    plan.add_argument("--from", dest="begin", metavar="TIME", help="begin (default: now)")
    plan.add_argument("--to", dest="end", metavar="TIME", help="end")
    plan.add_argument(
        "-f",
        "--filename",
        metavar="FILE",
        help="plan the pools of this manifest, without a cluster; - is stdin",
    )

    cost = add("cost", "show what was spent, the forecast, and the cost of alternatives")
    _pools(cost)
    cost.add_argument(
        "--lambda-price",
        type=_price,
        metavar="PRICE",
        help="price of a GB-second of provisioned concurrency",
    )
    cost.add_argument(
        "--lambda-memory",
        type=_price,
        metavar="MiB",
        help="memory of an instance (default: that of a pod)",
    )
    cost.add_argument(
        "--lambda-currency", default="", metavar="CODE", help="currency of --lambda-price"
    )

    rehearse = add(
        "rehearse",
        "run the next window now, as a rehearsal",
        "Puts the pool to sleep, wakes it\nthrough its Service, starts the pods of the next window "
        "and sends requests.\nAfterwards the pool returns to its schedule. Exit code 1: the demo "
        "would have\nfailed.",
    )
    _pools(rehearse, everything=False, many=False)
    rehearse.add_argument("--requests", type=_count, default=20, metavar="N", help="(default: 20)")
    rehearse.add_argument(
        "--concurrency",
        type=_count,
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
        "--replicas", type=_count, metavar="N", help="pods (default: the next window's)"
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

    completion = add("completion", "print a script that completes commands and names of pools")
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])
    return top


def _common(made: argparse.ArgumentParser, *, top: bool = False) -> None:
    """The flags of kubectl, which may stand before or after the command."""

    def add(*names: str, default: object, **more: str) -> None:
        made.add_argument(*names, default=default if top else argparse.SUPPRESS, **more)  # type: ignore[arg-type]

    add("-n", "--namespace", default="", metavar="NAME", help="namespace of the pools")
    add("--context", default="", metavar="NAME", help="context of the kubeconfig")
    add("--kubeconfig", default="", metavar="FILE", help="path of the kubeconfig")


def _pools(made: argparse.ArgumentParser, *, everything: bool = True, many: bool = True) -> None:
    made.add_argument("pools", nargs="*" if many else "?", metavar="POOL", help="names of pools")
    made.add_argument("-l", "--selector", default="", metavar="SEL", help="pools with these labels")
    if everything:
        made.add_argument(
            "--all", dest="everything", action="store_true", help="all pools of the namespace"
        )
    else:
        made.set_defaults(everything=False)
    if many:
        made.add_argument(
            "-A", "--all-namespaces", action="store_true", help="pools of all namespaces"
        )
    else:
        made.set_defaults(all_namespaces=False)
    made.add_argument("-o", "--output", choices=["json", "yaml", "wide"], help="output format")
    _common(made)


def _writing(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--dry-run",
        nargs="?",
        const="server",
        choices=["none", "client", "server"],
        help="change nothing; with `server`, the API server validates the change",
    )
    made.add_argument(
        "--force-conflicts",
        action="store_true",
        help="take over an override that another field manager has set",
    )


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
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
    """Run one command; returns 0 (done), 1 (failed), 2 (invalid arguments) or 130 (interrupted)."""
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
        sys.stderr.close()  # otherwise Python would print an error about the closed pipe at exit
        return 0
    except KeyboardInterrupt:
        shell.terminal.complain("")
        return 130
