"""What every topic has in common: it says what it does, and can be run alone.

A topic is a module of this folder with a function `rows(quick)`, which measures and returns rows;
`main(rows)` at its end makes it a program.
"""

import argparse
import asyncio
import contextlib
import inspect
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, NoReturn

import circumstances
import table
from kotatsu_node.progress import Progress
from report import ROOT, Row, Topic

Rows = Callable[[bool], list[Row] | Awaitable[list[Row]]]

progress = Progress()
"""Where topics say what they are doing: standard error."""

TESTS = ROOT / "tests"
"""Kits of the tests that serve measurements as well (a PostgreSQL, kubectl) are below this."""
sys.path += [str(TESTS), str(ROOT)]  # as pytest has them


def again(topic: str) -> str:
    """The command that measures a topic again."""
    return f"make bench TOPICS={topic}"


def unmeasured(what: str, how: str, why: str, goal: str, topic: str) -> Row:
    """The row of something that cannot be measured here."""
    return Row(what, how, "–", why, 0, goal, None, None, again(topic))


def measure(name: str, rows: Rows, *, quick: bool) -> Topic:
    """Run a topic and write down what was going on around it."""
    began, load, busy = datetime.now(UTC), circumstances.load(), circumstances.busy_share()
    clock = time.monotonic()
    found = rows(quick)
    if inspect.isawaitable(found):
        found = asyncio.run(_result(found))
    return Topic(
        name,
        f"{began:%Y-%m-%d %H:%M}",
        round(time.monotonic() - clock, 1),
        circumstances.machine(),
        circumstances.versions(),
        (load, circumstances.load()),
        busy,
        tuple(found),
    )


async def _result(rows: Awaitable[list[Row]]) -> list[Row]:
    return await rows


def main(rows: Rows) -> None:
    """The program of a topic: measure, print the table (or JSON), end."""
    name = Path(sys.argv[0]).stem
    module = sys.modules["__main__"]
    parser = argparse.ArgumentParser(description=(module.__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer runs: to see that it works")
    parser.add_argument("-o", choices=("table", "json"), default="table", dest="output")
    options = parser.parse_args()
    # What was started is taken away again when somebody ends this, too.
    signal.signal(signal.SIGTERM, _interrupt)
    with _result_alone() as result:
        topic = measure(name, rows, quick=options.quick)
        if options.output == "json":
            print(json.dumps(topic.to_json(), ensure_ascii=False), file=result)
        else:
            print(table.terminal([topic]), file=result)


@contextlib.contextmanager
def _result_alone() -> Iterator[IO[str]]:
    """The standard output; what this process or its children print meanwhile goes elsewhere."""
    with os.fdopen(os.dup(1), "w") as result:
        os.dup2(2, 1)
        yield result


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
