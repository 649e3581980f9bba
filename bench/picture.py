"""Pictures of the rows, in light and in dark: how far each is from its goal; a race of systems."""

import re
from collections.abc import Sequence
from html import escape

from report import Row, Topic

WIDTH = 1040
_ROW = 34
_TOP = 74
_BAR_X, _BAR_WIDTH = 470, 270
_GOAL_AT = 0.6
"""Where the goal's line stands, as a share of the bar's width."""
_NAMESPACE = "http://www.w3.org/2000/svg"
_NUMBER = re.compile(r"^([≤≥])\s*([\d.,]+)")
RACED = {
    "cold": "A cold request ÷ the start of the pod alone: shorter is better",
    "burst": "500 requests from zero ÷ the pod alone: shorter is better",
    "warm": "Warm requests a second ÷ straight to the pod: longer is better",
    "memory": "Memory while all apps sleep, in MB: shorter is better",
}
"""What of a race is drawn, by the beginning of its rows."""
_RACE_ROW = 26
_RACE_X, _RACE_BAR_WIDTH = 420, 380

# GitHub shows the picture on its own page's background, and tells which by prefers-color-scheme.
_STYLE = """\
svg { font-family: -apple-system, BlinkMacSystemFont, "Segoe UI", "Noto Sans", Helvetica, Arial,
  sans-serif; font-size: 14px }
.card { fill: #ffffff; stroke: #d1d9e0 }
text { fill: #1f2328 }
.title { font-size: 18px; font-weight: 600 }
.quiet { fill: #59636e; font-size: 12px }
.track { fill: #eff2f5 }
.met { fill: #1a7f37 }
.unmet { fill: #bc4c00 }
.open { fill: #59636e }
.goal { stroke: #1f2328; stroke-width: 1.5; stroke-dasharray: 3 3 }
.rule { stroke: #d1d9e0 }
@media (prefers-color-scheme: dark) {
  .card { fill: #0d1117; stroke: #3d444d }
  text { fill: #f0f6fc }
  .quiet { fill: #9198a1 }
  .track { fill: #212830 }
  .met { fill: #3fb950 }
  .unmet { fill: #f0883e }
  .open { fill: #9198a1 }
  .goal { stroke: #f0f6fc }
  .rule { stroke: #3d444d }
}
"""


def distance(row: Row) -> float | None:
    """How far a row is from its goal: 1 is the goal itself, below is better. None without one."""
    goal = _NUMBER.match(row.goal)
    if goal is None or row.ratio is None:
        return None
    bound = float(goal[2].replace(",", ""))
    if goal[1] == "≤":
        return row.ratio / bound if bound else None
    return bound / row.ratio if row.ratio else float("inf")


def draw(topics: Sequence[Topic]) -> str:
    """The picture, as an SVG document."""
    rows = [row for topic in topics for row in topic.rows if row.goal]
    height = _TOP + _ROW * len(rows) + 24
    goal_x = _BAR_X + _BAR_WIDTH * _GOAL_AT
    bottom = _TOP + _ROW * len(rows)
    parts = [
        *_card(height, _summary(rows)),
        f'<text class="quiet" x="{goal_x}" y="60" text-anchor="middle">goal</text>',
        f'<text class="quiet" x="{_BAR_X}" y="60">better</text>',
    ]
    for number, row in enumerate(rows):
        parts += _row(row, _TOP + _ROW * number)
    parts += [
        f'<line class="goal" x1="{goal_x}" y1="66" x2="{goal_x}" y2="{bottom}"/>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def draw_race(rows: Sequence[Row]) -> str:
    """A race, one thing after the other, as an SVG document; ours in another color."""
    parts, top = [], 56
    for name, title in RACED.items():
        bars = [(row, _length(row)) for row in rows if row.what.startswith(f"{name}: ")]
        bars.sort(key=lambda bar: "Kotatsu" not in bar[0].what)
        longest = max((length for _, length in bars), default=0.0)
        if not longest:
            continue
        parts.append(f'<text class="quiet" x="24" y="{top + 24}">{escape(title)}</text>')
        top += _ROW
        for row, length in bars:
            who = row.what.removeprefix(f"{name}: ")
            said = row.median if row.ratio is None else f"{row.ratio:.3g}   ({row.median})"
            width, middle = _RACE_BAR_WIDTH * length / longest, top + _RACE_ROW / 2
            parts += [
                f'<text x="24" y="{middle + 5}">{escape(shortened(who, 50))}</text>',
                _bar("met" if who.startswith("Kotatsu") else "unmet", middle - 6, width, _RACE_X),
                f'<text x="{_RACE_X + width + 10:.1f}" y="{middle + 5}">{escape(said)}</text>',
            ]
            top += _RACE_ROW
    return "\n".join([*_card(top + 24, "The same app on the same node"), *parts, "</svg>"]) + "\n"


def _length(row: Row) -> float:
    """What of a row of a race is drawn: its ratio, or else its median; 0 without either."""
    number = re.match(r"[\d.,]+", row.median)
    return row.ratio or (float(number[0].replace(",", "")) if number else 0.0)


def _card(height: float, title: str) -> list[str]:
    return [
        f'<svg xmlns="{_NAMESPACE}" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="t">',
        f'<title id="t">{escape(title)}</title>',
        f"<style>{_STYLE}</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
        f'<text class="title" x="24" y="36">{escape(title)}</text>',
    ]


def _summary(rows: Sequence[Row]) -> str:
    judged = [row for row in rows if row.met is not None]
    return f"{sum(bool(row.met) for row in judged)} of {len(judged)} goals met"


def _row(row: Row, top: int) -> list[str]:
    state = {True: "met", False: "unmet", None: "open"}[row.met]
    mark = {True: "✓", False: "✗", None: "–"}[row.met]
    middle = top + _ROW / 2
    parts = [
        f'<line class="rule" x1="24" y1="{top}" x2="{WIDTH - 24}" y2="{top}"/>',
        f'<text class="{state}" x="24" y="{middle + 5}">{mark}</text>',
        f'<text x="46" y="{middle + 5}">{escape(shortened(row.what, 54))}</text>',
    ]
    far = distance(row)
    if far is not None:
        length = _BAR_WIDTH * min(1.0, far * _GOAL_AT)
        parts += [
            _bar("track", middle - 6, _BAR_WIDTH),
            _bar(state, middle - 6, max(2.0, length)),
        ]
    value = row.median if row.ratio is None else f"{row.ratio:.3g}"
    parts.append(
        f'<text class="{"quiet" if far is None else ""}" x="{_BAR_X + _BAR_WIDTH + 16}"'
        f' y="{middle + 5}">{escape(shortened(f"{value}   (goal {row.goal})", 36))}</text>'
    )
    return parts


def _bar(kind: str, top: float, width: float, left: float = _BAR_X) -> str:
    return f'<rect class="{kind}" x="{left}" y="{top}" width="{width:.1f}" height="12" rx="3"/>'


def shortened(text: str, characters: int) -> str:
    """A text that fits: its end gives way to an ellipsis."""
    return text if len(text) <= characters else text[: characters - 1].rstrip() + "…"
