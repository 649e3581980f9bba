"""The entry points, and the only module that reads the environment."""

import atexit
import gc
import os
import shutil
import sys

from .shell import Shell
from .terminal import Terminal


def _shell() -> Shell:
    gc.set_threshold(100_000)  # while modules load there is no garbage, and looking takes 10 ms
    atexit.register(gc.freeze)  # nor at the end, where looking takes 25 ms
    is_live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    terminal = Terminal(
        sys.stdout,
        sys.stderr,
        is_live=is_live,
        width=shutil.get_terminal_size().columns,
        has_color=is_live and not os.environ.get("NO_COLOR"),
        has_blocks="utf" in (sys.stdout.encoding or "").lower(),
    )
    user = os.environ.get("USER") or os.environ.get("USERNAME") or ""
    return Shell(terminal, sys.stdin, user=user)


def main() -> None:
    """Entry point of `kubectl demo-mode`."""
    from .cli import run

    sys.exit(run(sys.argv[1:], _shell()))


def complete() -> None:
    """Entry point of kubectl's completion: prints the candidates for the last word."""
    from .completion import answer

    answer(sys.argv[1:], _shell())


if __name__ == "__main__":
    main()
