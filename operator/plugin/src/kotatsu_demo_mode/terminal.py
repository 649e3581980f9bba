"""Where the words go: a terminal with colours and one line kept up to date, or a plain pipe."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TextIO

_COLORS = {"Warm": "32", "Warming": "33", "Draining": "33", "Sleeping": "36", "Asleep": "36"}
_GAP = "  "


@dataclass
class Terminal:
    """Output for a person or a pipe."""

    out: TextIO
    err: TextIO
    is_live: bool = False
    """Whether somebody looks at it: then progress is shown, and long lines are cut to fit."""
    width: int = 80
    has_color: bool = False
    has_blocks: bool = True
    """Whether the encoding can draw ▁▂▃."""

    def say(self, text: str) -> None:
        """A line of the answer."""
        self.out.write(f"{text}\n")
        self.out.flush()

    def complain(self, text: str) -> None:
        """A line on stderr, which carries nothing but what went wrong."""
        self.clear()
        self.err.write(f"{text}\n")

    def progress(self, text: str) -> None:
        """Keep one line up to date; a pipe gets nothing."""
        if self.is_live:
            self.out.write(f"\r\x1b[K{text[: self.width - 1]}")
            self.out.flush()

    def clear(self) -> None:
        """Take the progress line away."""
        if self.is_live:
            self.out.write("\r\x1b[K")
            self.out.flush()

    def phase(self, text: str) -> str:
        """A phase in its colour."""
        color = _COLORS.get(text.strip())
        return f"\x1b[{color}m{text}\x1b[0m" if self.has_color and color else text

    def dump(self, value: Any, form: str) -> None:
        """Print a value as JSON or YAML."""
        if form == "yaml":
            import yaml  # only who asks for YAML waits for it

            self.out.write(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))
        else:
            self.say(json.dumps(value, indent=2, ensure_ascii=False))


def columns(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Pad every column but the last to its widest cell."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)] + [row[-1]]
        for row in rows
    ]


def show_table(terminal: Terminal, rows: Sequence[Sequence[str]], phase: int | None = None) -> None:
    """Print rows as a table, the first as its head; `phase` is the column to colour."""
    for i, row in enumerate(columns(rows)):
        line = _GAP.join(row).rstrip()
        if terminal.is_live:
            line = line[: terminal.width]
        if i and phase is not None and terminal.has_color:
            begin = sum(len(cell) + len(_GAP) for cell in row[:phase])
            end = begin + len(row[phase])
            line = line[:begin] + terminal.phase(line[begin:end]) + line[end:]
        terminal.say(line)
