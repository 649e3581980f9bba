"""Output to a terminal, with colors and a progress line, or to a pipe."""

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TextIO

_COLORS = {
    "Warm": "32",
    "Parked": "35",
    "Warming": "33",
    "Draining": "33",
    "Sleeping": "36",
    "Asleep": "36",
}
_GAP = "  "


_NOT_PLAIN = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Categories of control characters and line breaks."""

_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change the direction of the text around them."""


def plain(text: str, keep: str = "") -> str:
    """A text without control characters: names and reasons are written by other people.

    An escape sequence could rewrite other lines or the clipboard. They are written as in JSON.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or _is_plain(c) else f"\\u{ord(c):04x}" for c in text)


def _is_plain(character: str) -> bool:
    return unicodedata.category(character) not in _NOT_PLAIN and character not in _DIRECTION


@dataclass
class Terminal:
    """Standard output and standard error."""

    out: TextIO
    err: TextIO
    is_live: bool = False
    """Whether it is a terminal: then progress is shown, and long lines are cut."""
    width: int = 80
    has_color: bool = False
    has_blocks: bool = True
    """Whether the encoding can draw ▁▂▃."""

    def say(self, text: str) -> None:
        self._write(f"{plain(text)}\n")

    def say_as_is(self, text: str) -> None:
        """Print lines that contain no foreign text."""
        self._write(f"{text}\n")

    def complain(self, text: str) -> None:
        """Print an error to stderr."""
        self.clear()
        self.err.write(f"{plain(text)}\n")

    def ask(self, text: str) -> None:
        """Print a question to stderr, and leave the cursor behind it."""
        self.err.write(plain(text))
        self.err.flush()

    def _write(self, text: str) -> None:
        self.out.write(text)
        self.out.flush()

    def progress(self, text: str) -> None:
        """Update the progress line; without a terminal, print nothing."""
        if self.is_live:
            self._write(f"\r\x1b[K{plain(text)[: self.width - 1]}")

    def clear(self) -> None:
        """Remove the progress line."""
        if self.is_live:
            self._write("\r\x1b[K")

    def dump_objects(self, objects: Sequence[Any], form: str) -> None:
        """Print objects as kubectl does: a single one as it is, several as a List."""
        many = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.dump(objects[0] if len(objects) == 1 else many, form)

    def dump(self, value: Any, form: str) -> None:
        """Print a value as JSON or YAML."""
        written = json.dumps(value, indent=2, ensure_ascii=False)
        said = plain(written, keep="\n")
        if form == "yaml":
            import yaml  # slow to import, and only needed here

            unicode = said == written
            self._write(yaml.safe_dump(value, sort_keys=False, allow_unicode=unicode))
        else:
            self.say_as_is(said)


def columns(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Pad all columns but the last to the width of their widest cell."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)] + [row[-1]]
        for row in rows
    ]


def paired(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Names and their values, as indented lines."""
    return [f"  {name}{_GAP}{value}" for name, value in columns(rows)]


def table_lines(
    terminal: Terminal, rows: Sequence[Sequence[str]], phase: int | None = None
) -> list[str]:
    """The lines of a table with a head; `phase` is the column to color."""
    lines = []
    for i, row in enumerate(columns([[plain(cell) for cell in row] for row in rows])):
        line = _GAP.join(row).rstrip()
        if terminal.is_live:
            line = line[: terminal.width]
        if i and phase is not None and terminal.has_color:
            begin = sum(len(cell) + len(_GAP) for cell in row[:phase])
            end = begin + len(row[phase])
            if color := _COLORS.get(line[begin:end].strip()):
                line = f"{line[:begin]}\x1b[{color}m{line[begin:end]}\x1b[0m{line[end:]}"
        lines.append(line)
    return lines
