"""The command lines of `check` and `create`."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from .flags import common_flags, count

Add = Callable[[str, str, str], argparse.ArgumentParser]


_PARTS = {
    "--window": "name",
    "--at": "at",
    "--schedule": "schedule",
    "--for": "lasting",
    "--replicas": "replicas",
}
"""What the flags say of a window."""


class _Window(argparse.Action):
    """--window begins a window; --at, --schedule, --for and --replicas say more of the last one."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        windows: list[dict[str, Any]] = getattr(namespace, "windows", None) or []
        part = _PARTS[str(option_string)]
        if part == "name":
            windows = [*windows, {}]
        elif not windows:
            parser.error(f"{option_string} is of a window; name it before, with --window NAME")
        elif part in windows[-1]:
            parser.error(f"{option_string} stands twice for window {windows[-1]['name']}")
        namespace.windows = [*windows[:-1], windows[-1] | {part: values}]


def workload_commands(add: Add) -> None:
    """Add `check` and `create`."""
    check = add(
        "check",
        "say whether a WarmPool works for a workload, and what to correct",
        "Changes nothing.\nExit code 1: something is refused.",
    )
    _workload(check, number="?")
    check.add_argument(
        "-l", "--selector", default="", metavar="SEL", help="pools with these labels"
    )
    check.add_argument(
        "--all", dest="everything", action="store_true", help="all pools of the namespace"
    )
    check.add_argument(
        "-A", "--all-namespaces", action="store_true", help="all pools of all namespaces"
    )
    check.add_argument(
        "--replicas", type=count, metavar="N", help="pods that are wanted (default: of the pool)"
    )
    check.add_argument("--strict", action="store_true", help="exit with 1 after a warning too")

    create = add(
        "create",
        "write the WarmPool of a workload",
        "Prints the manifest, filled in with what `check`\nfinds. With --apply, creates the pool.",
    )
    _workload(create)
    create.add_argument("--name", default="", metavar="NAME", help="name (default: the workload's)")
    create.add_argument(
        "--time-zone", default="", metavar="ZONE", help="time zone of the windows, like Asia/Tokyo"
    )
    create.add_argument(
        "--window", action=_Window, dest="windows", metavar="NAME", help="a window; may be repeated"
    )
    for flag, shown, text, kind in (
        ("--at", "TIME", "its start: 18:30 or 2030-12-18T10:00 in the time zone, or RFC 3339", str),
        ("--schedule", "CRON", "starts of a repeating window, like '0 18 * * 1-5'", str),
        ("--for", "2h", "how long (default: 1h)", str),
        ("--replicas", "N", "its pods (default: 1)", count),
    ):
        create.add_argument(
            flag, action=_Window, dest=f"_{flag[2:]}", metavar=shown, help=text, type=kind
        )
    create.add_argument(
        "--parked", action="store_true", help="keep a pod parked when the pool is idle"
    )
    create.add_argument("--apply", action="store_true", help="create the pool")
    create.add_argument(
        "--dry-run",
        nargs="?",
        const="server",
        choices=["none", "server"],
        help="with --apply: the API server validates the pool and does not save it",
    )
    create.add_argument("-y", "--yes", action="store_true", help="do not ask")


def _workload(made: argparse.ArgumentParser, number: str | None = None) -> None:
    made.add_argument(
        "workload",
        nargs=number,
        default="",
        metavar="TYPE/NAME",
        help="deployment/web, rollout.argoproj.io/web, warmpool/web",
    )
    made.add_argument(
        "--service", default="", metavar="NAME", help="its Service (default: one that selects it)"
    )
    made.add_argument("-o", "--output", choices=["json", "yaml"], help="output format")
    common_flags(made)
