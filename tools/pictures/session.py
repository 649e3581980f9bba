"""Types commands into a terminal, one after the other, and records what it shows and when.

Only the speed of typing is invented.
"""

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from recording import Cast, Command, Event

COMMANDS = Path(__file__).parent / "commands.txt"
COLUMNS = 92
KEYS, KEY_SECONDS = 4, 0.09
"""Characters typed at once, and how long that takes."""
READ = 0.8
"""Seconds between the end of an output and the next command."""
REACT = 1.2
"""Seconds until an answer is typed, or a command that watches is ended with Ctrl-C."""
GIVE_UP = 420.0
_UNTIL = re.compile(r"\s+# until it is (\w+)$")
_QUESTION = "[y/N] "


class NotRecordedError(Exception):
    """A command failed, so there is no recording; the text says which."""


def record(title: str, lines: Sequence[str]) -> Cast:
    """Run the commands in a shell each; NotRecordedError if one fails."""
    commands, now = [], 0.5
    for line in lines:
        until = _UNTIL.search(line)
        command = _UNTIL.sub("", line)
        typed = list(_typed(command, now))
        began, start = typed[-1].at, time.monotonic()
        printed = [
            Event(round(began + time.monotonic() - start, 2), text)
            for text in _run(command, until[1] if until else "")
        ]
        now = began + time.monotonic() - start + READ
        commands.append(Command(tuple(typed), tuple(printed)))
    return Cast(title, COLUMNS, tuple(commands))


def _typed(line: str, begin: float) -> Iterator[Event]:
    yield Event(round(begin, 2), "\x1b[32m$\x1b[0m ")
    at = begin + 0.3
    for start in range(0, len(line), KEYS):
        at += KEY_SECONDS
        yield Event(round(at, 2), line[start : start + KEYS])
    yield Event(round(at + 0.3, 2), "\r\n")


def _run(line: str, until: str) -> Iterator[str]:
    """What a command prints to a terminal, as it comes; it is ended once it has printed `until`."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execvp("bash", ["bash", "--norc", "-c", line])  # noqa: S606
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    said, due, begin = "", [], time.monotonic()
    while time.monotonic() - begin < GIVE_UP:
        if due and due[0][0] < time.monotonic():
            os.write(terminal, due.pop(0)[1])
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
        text = decoder.decode(data)
        was_there, said = _has(said, until), said + text
        if said.endswith(_QUESTION):
            due.append((time.monotonic() + REACT, b"y\n"))
        if _has(said, until) and not was_there:
            due.append((time.monotonic() + REACT, b"\x03"))
        yield text
    else:
        os.kill(child, signal.SIGKILL)
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != 0 and not _has(said, until):
        raise NotRecordedError(f"failed, or not done after {GIVE_UP:.0f} s: {line}\n{said}")


def _has(said: str, word: str) -> bool:
    return bool(word and re.search(rf"\b{word}\b", said))
