"""A recorded terminal: asciinema's format (version 2), and what the film leaves out of it."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LONGEST = 2.0
"""Seconds that a wait lasts in the film at most."""
HEAD, TAIL = 4, 2
"""Lines shown at the beginning and the end of a longer output."""


@dataclass(frozen=True)
class Event:
    """Something that the terminal received."""

    at: float
    """Seconds since the beginning."""
    text: str


@dataclass(frozen=True)
class Command:
    """A command: how it was typed, and what it printed."""

    typed: tuple[Event, ...]
    printed: tuple[Event, ...]

    @property
    def line(self) -> str:
        """The command itself, without prompt and colors."""
        text = "".join(event.text for event in self.typed)
        return re.sub(r"\x1b\[\d*m", "", text).removeprefix("$ ").rstrip()


@dataclass(frozen=True)
class Cast:
    """A recording."""

    title: str
    columns: int
    commands: tuple[Command, ...]


@dataclass(frozen=True)
class Cut:
    """A wait that the film shortens."""

    at: float
    """Where it begins in the film."""
    left_out: float
    """Seconds that are not shown."""


def write(cast: Cast, path: Path) -> None:
    """Write a recording; a marker (m) stands where a command begins and where it is all typed."""
    header = {"version": 2, "width": cast.columns, "height": 40, "title": cast.title}
    lines: list[object] = [header]
    for command in cast.commands:
        for label, events in (("command", command.typed), ("output", command.printed)):
            lines.append([events[0].at if events else command.typed[-1].at, "m", label])
            lines += [[round(event.at, 2), "o", event.text] for event in events]
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def read(path: Path) -> Cast:
    """Read a recording of ours."""
    header, *rows = (json.loads(line) for line in path.read_text().splitlines())
    parts: list[list[Event]] = []
    for at, kind, text in rows:
        if kind == "m":
            parts.append([])
        else:
            parts[-1].append(Event(at, text))
    pairs = zip(parts[::2], parts[1::2], strict=True)
    commands = tuple(Command(tuple(typed), tuple(printed)) for typed, printed in pairs)
    return Cast(header["title"], header["width"], commands)


def filmed(cast: Cast) -> tuple[list[Event], list[Cut]]:
    """The film's events and its cuts: long outputs are folded, long waits shortened."""
    events: list[Event] = []
    for command in cast.commands:
        events += [*command.typed, *folded(command.printed)]
        if not events[-1].text.endswith("\n"):  # after Ctrl-C the prompt begins a line of its own
            events.append(Event(events[-1].at, "\r\n"))
    return shortened(events)


def folded(printed: Sequence[Event]) -> list[Event]:
    """The same output with one line in place of its middle, if it is long."""
    pieces, line = [], 0
    for event in printed:
        for text in re.findall(r"[^\n]*\n|[^\n]+", event.text):
            pieces.append((line, Event(event.at, text)))
            line += text.endswith("\n")
    dropped = range(HEAD, line - TAIL)
    if len(dropped) < 2:
        return [event for _, event in pieces]
    made, is_said = [], False
    for number, event in pieces:
        if number not in dropped:
            made.append(event)
        elif not is_said:
            is_said = True
            made.append(Event(event.at, f"\x1b[2m… {len(dropped)} more lines …\x1b[0m\r\n"))
    return made


def shortened(events: Sequence[Event]) -> tuple[list[Event], list[Cut]]:
    """The same events without the waits that are longer than `LONGEST`."""
    made, cuts, saved, before = [], [], 0.0, 0.0
    for event in events:
        wait = event.at - before
        if wait > LONGEST:
            cuts.append(Cut(before - saved, wait - LONGEST))
            saved += wait - LONGEST
        made.append(Event(event.at - saved, event.text))
        before = event.at
    return made, cuts
