"""The one table: for a terminal, and as the pages README.md and rows.md in docs/benchmarks."""

import textwrap
from collections.abc import Sequence

from report import Row, Topic

_MARKS = {True: "✓", False: "✗", None: "–"}

_PAGE = """\
# Benchmarks

![Each thing that has a goal, against it](benchmarks.svg)

What has a goal, and whether it is met: ✓ yes, ✗ no, – could not be measured. A ratio compares two
things measured in the same run, in turns, since times differ between machines.
[All rows](rows.md) say how, how often and with which load. What other systems do is on
[a page of its own](race.md).
"""

_ROWS = """\
# All rows of the benchmarks

Made by `make bench` from [results.json](results.json), as is [the page](README.md). The spread has
the least and the most.
"""

SECTIONS = {
    "A sleeping app wakes": ("wake", "first_sound", "burst", "flood"),
    "An app that is awake": ("warm_path", "splice"),
    "Windows": ("punctuality", "pools"),
    "Parked pods": ("parked", "full_node", "states"),
    "Many pools": ("namespaces", "sets", "listeners"),
    "Suggested settings": ("suggest",),
    "The pet": ("speech", "texts", "talk", "users", "authorize"),
    "Memory, images, the first time": ("footprint", "first_time"),
}
"""The topics of the page, by heading. The race has a page of its own."""


def terminal(topics: Sequence[Topic]) -> str:
    """The table in columns; under each row how it was measured and how to measure it again."""
    head = ("", "what", "median", "runs", "ratio", "goal")
    cells = [head, *((c := _cells(row))[:3] + c[4:] for topic in topics for row in topic.rows)]
    widths = [max(len(line[n]) for line in cells) for n in range(len(head))]
    lines = [_columns(head, widths)]
    columns = iter(cells[1:])
    for topic in topics:
        for row in topic.rows:
            lines.append(_columns(next(columns), widths))
            lines += [f"     {said}" for said in _wrapped(f"{row.spread}. {row.how}".strip(". "))]
            lines.append(f"     again: {row.command}{_doubt(topic)}")
    return "\n".join(lines)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 110, break_on_hyphens=False)


def markdown(topics: Sequence[Topic]) -> str:
    """The page: what has a goal."""
    lines = [_PAGE]
    for heading, names in SECTIONS.items():
        shown = [(topic, row) for topic in topics if topic.name in names for row in topic.rows]
        aimed = [_short(topic, row) for topic, row in shown if row.goal]
        if aimed:
            again = " ".join(dict.fromkeys(topic.name for topic, _ in shown))
            head = _head("", "what", "measured", "ratio", "goal")
            lines += [f"## {heading}", "", *head, *aimed, ""]
            lines += [f'Again: `make bench TOPICS="{again}"`', ""]
    return "\n".join(lines)


def _short(topic: Topic, row: Row) -> str:
    mark, _, median, _, _, ratio, goal = _cells(row)
    return _line((mark, _marked(topic, row), median, ratio, goal))


def every_row(topics: Sequence[Topic]) -> str:
    """The page of all that was measured, and how."""
    lines = _head("", "what", "median", "spread", "runs", "ratio", "goal", "how", "again")
    for topic in topics:
        for row in topic.rows:
            mark, _, *cells = _cells(row)
            lines.append(_line((mark, _marked(topic, row), *cells, row.how, f"`{row.command}`")))
    return "\n".join([_ROWS, *lines, "", "## When and on what", "", *_circumstances(topics), ""])


def _marked(topic: Topic, row: Row) -> str:
    return f"{row.what} *({_short_doubt(topic)})*" if topic.was_disturbed else row.what


def _circumstances(topics: Sequence[Topic]) -> list[str]:
    lines = _head("topic", "measured (UTC)", "took", "load, begin and end", "others used")
    for t in topics:
        load = f"{t.load[0]:.2f}, {t.load[1]:.2f}"
        lines.append(_line((t.name, t.at, f"{t.seconds:.0f} s", load, f"{t.busy:.0%}")))
    lines += ["", "Others used: the share of all cores in use just before the topic began."]
    for said in dict.fromkeys(f"{topic.machine}" for topic in topics):
        names = [topic.name for topic in topics if f"{topic.machine}" == said]
        lines += ["", f"Machine of {', '.join(names)}: {said}."]
    for versions in dict.fromkeys(_versions(topic) for topic in topics):
        names = [topic.name for topic in topics if _versions(topic) == versions]
        lines += ["", f"Versions of {', '.join(names)}: {versions}."]
    return lines


def _versions(topic: Topic) -> str:
    return ", ".join(f"{name} {version}" for name, version in topic.versions.items())


def _cells(row: Row) -> tuple[str, ...]:
    ratio = "" if row.ratio is None else f"{row.ratio:.3g}"
    mark = _MARKS[row.met]
    return (mark, row.what, row.median, row.spread, f"{row.runs}", ratio, row.goal)


def _columns(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(w) for cell, w in zip(cells, widths, strict=True)).rstrip()


def _head(*cells: str) -> list[str]:
    return [_line(cells), _line(["---"] * len(cells))]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '∣') for cell in cells)} |"


def _short_doubt(topic: Topic) -> str:
    return f"others used {topic.busy:.0%} of the machine"


def _doubt(topic: Topic) -> str:
    return f"   ({_short_doubt(topic)} as it began)" if topic.was_disturbed else ""
