"""What a terminal shows over time: each line, and from when to when it reads so.

It knows what kubectl, helm and the plugin print: colors, and a line that is written again.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from recording import Event

_PART = re.compile(r"\x1b\[([\d;?]*)([A-Za-z])|([\r\n\b])|([^\x1b\r\n\b]+)|.", re.DOTALL)
_COLORS = {
    **{f"3{n}": name for n, name in enumerate(("", "red", "green", "yellow", "blue", "purple"))},
    "36": "cyan",
    "2": "dim",
    "1": "bold",
}

Cells = list[tuple[str, str]]
"""The characters of a line, each with its style."""


@dataclass(frozen=True)
class Run:
    """Characters of one style that appear together."""

    row: int
    column: int
    text: str
    style: str
    begin: float
    end: float | None = None
    """When it is written over; None: it stays."""


class Screen:
    """A terminal that never forgets a line."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._rows: list[Cells] = [[]]
        self._row = self._column = 0
        self._style = ""
        self._runs: dict[int, list[Run]] = {}
        self.heights: list[tuple[float, int]] = [(0.0, 1)]
        """How many lines there are from when on."""

    def play(self, events: Sequence[Event]) -> list[Run]:
        """All runs of a recording, as they appear."""
        for event in events:
            before = {self._row: list(self._rows[self._row])}
            for row in self._print(event.text):
                before.setdefault(row, list(self._rows[row]) if row < len(self._rows) else [])
            self._changed(event.at, before)
        return sorted((run for runs in self._runs.values() for run in runs), key=lambda r: r.begin)

    def _print(self, text: str) -> Iterator[int]:
        """Print; yields each row before it is written to."""
        for arguments, letter, control, plain in _PART.findall(text):
            if letter == "m":
                self._style = _COLORS.get(arguments.split(";")[-1], "")
            elif letter == "K":
                del self._rows[self._row][self._column :]
            elif control == "\r":
                self._column = 0
            elif control == "\b":
                self._column = max(0, self._column - 1)
            elif control == "\n":
                self._new_line()
                yield self._row
            for character in plain:
                if self._column == self._columns:
                    self._new_line()
                    self._column = 0
                    yield self._row
                if character == "\t":
                    self._column += 8 - self._column % 8
                    continue
                cells = self._rows[self._row]
                cells += [(" ", "")] * (self._column - len(cells))
                cells[self._column : self._column + 1] = [(character, self._style)]
                self._column += 1

    def _new_line(self) -> None:
        self._row += 1
        if self._row == len(self._rows):
            self._rows.append([])

    def _changed(self, at: float, before: dict[int, Cells]) -> None:
        """Note what reads otherwise now: what was only added to keeps its runs."""
        for row, old in before.items():
            new, start = self._rows[row], len(old)
            if new[:start] != old:
                runs = self._runs[row]
                runs[:] = [replace(r, end=at) if r.end is None else r for r in runs]
                start = 0
            self._runs.setdefault(row, []).extend(_runs(row, start, new[start:], at))
        if len(self._rows) != self.heights[-1][1]:
            self.heights.append((at, len(self._rows)))


def _runs(row: int, column: int, cells: Cells, at: float) -> Iterator[Run]:
    while cells:
        style = cells[0][1]
        length = next((n for n, cell in enumerate(cells) if cell[1] != style), len(cells))
        text = "".join(character for character, _ in cells[:length])
        if text.strip():
            yield Run(row, column, text, style, at)
        column, cells = column + length, cells[length:]
