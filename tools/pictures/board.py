"""A dashboard drawn as an SVG: lines, steps, states and numbers, in light and in dark."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

WIDTH, PANEL_HEIGHT, GAP = 1040, 168, 14
_TOP = 84
_COLORS = ("#e8590c", "#1c7ed6", "#2f9e44", "#9c36b5", "#c92a2a", "#0c8599")
_NAMED = {
    "blue": "#4dabf7",
    "light-blue": "#a5d8ff",
    "orange": "#ffa94d",
    "red": "#f03e3e",
    "yellow": "#ffd43b",
    "purple": "#9775fa",
}
_STYLE = """\
text { font: 12px -apple-system, BlinkMacSystemFont, "Segoe UI", "Noto Sans", Helvetica, Arial,
  sans-serif; fill: #1f2328 }
.page { fill: #ffffff; stroke: #d1d9e0 }
.panel { fill: #f6f8fa; stroke: #d1d9e0 }
.title { font-size: 18px; font-weight: 600 }
.name { font-weight: 600; font-size: 13px }
.quiet { fill: #59636e; font-size: 11px }
.number { font-size: 26px; font-weight: 600 }
.grid { stroke: #d1d9e0 }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round }
.on { fill: #1f2328; font-size: 11px }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .page { fill: #0d1117; stroke: #3d444d }
  .panel { fill: #151b23; stroke: #3d444d }
  .quiet { fill: #9198a1 }
  .grid { stroke: #3d444d }
}
"""


@dataclass(frozen=True)
class Series:
    """A line of a panel."""

    label: str
    points: tuple[tuple[float, float], ...]
    """Unix time and value."""


@dataclass(frozen=True)
class Panel:
    """A panel of a dashboard's file."""

    title: str
    kind: str
    unit: str
    targets: tuple[tuple[str, str], ...]
    """Query and legend of each line."""
    states: Mapping[str, tuple[str, str]]
    """Name and color by value."""
    is_stepped: bool


def panels(dashboard: Path) -> list[Panel]:
    """The panels of a Grafana dashboard of ours."""
    return [_panel(panel) for panel in json.loads(dashboard.read_text())["panels"]]


def _panel(panel: Mapping[str, Any]) -> Panel:
    defaults = panel["fieldConfig"]["defaults"]
    states = {
        value: (shown["text"], shown["color"])
        for mapping in defaults.get("mappings", ())
        for value, shown in mapping["options"].items()
    }
    return Panel(
        panel["title"],
        panel["type"],
        defaults["unit"],
        tuple((target["expr"], target["legendFormat"]) for target in panel["targets"]),
        states,
        defaults.get("custom", {}).get("lineInterpolation") == "stepAfter",
    )


def draw(
    title: str,
    note: str,
    shown: Sequence[tuple[Panel, Sequence[Series]]],
    span: tuple[float, float],
) -> str:
    """The dashboard as an SVG document, two panels in a row, over a span of Unix times."""
    rows = (len(shown) + 1) // 2
    height = _TOP + rows * (PANEL_HEIGHT + GAP) + 10
    width = (WIDTH - 3 * GAP) / 2
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<title>{escape(title)}: {escape(note)}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>',
        f'<text class="title" x="{GAP + 4}" y="36">{escape(title)}</text>',
        f'<text class="quiet" x="{GAP + 4}" y="60">{escape(note)}</text>',
    ]
    for number, (panel, series) in enumerate(shown):
        x = GAP + (number % 2) * (width + GAP)
        y = _TOP + (number // 2) * (PANEL_HEIGHT + GAP)
        parts.append(f'<g transform="translate({x:.0f} {y})">')
        parts.append(f'<rect class="panel" width="{width:.0f}" height="{PANEL_HEIGHT}" rx="4"/>')
        parts.append(f'<text class="name" x="12" y="22">{escape(panel.title)}</text>')
        parts += _content(panel, series, span, width)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


def _content(
    panel: Panel, series: Sequence[Series], span: tuple[float, float], width: float
) -> list[str]:
    if not series:
        return [
            f'<text class="quiet" x="{width / 2:.0f}" y="95" text-anchor="middle">No data</text>'
        ]
    if panel.kind == "stat":
        return _numbers(panel, series, width)
    if panel.kind == "state-timeline":
        return _states(panel, series, span, width)
    return _lines(panel, series, span, width)


def _numbers(panel: Panel, series: Sequence[Series], width: float) -> list[str]:
    each = (width - 24) / len(series)
    parts = []
    for number, one in enumerate(series):
        x = 12 + each * (number + 0.5)
        value = escape(amount(one.points[-1][1], panel.unit))
        parts.append(f'<text class="number" x="{x:.0f}" y="92" text-anchor="middle">{value}</text>')
        label = escape(one.label)
        parts.append(f'<text class="quiet" x="{x:.0f}" y="116" text-anchor="middle">{label}</text>')
    return parts


def _states(
    panel: Panel, series: Sequence[Series], span: tuple[float, float], width: float
) -> list[str]:
    left, right, top = 64.0, width - 12, 36.0
    bar = min(40.0, (PANEL_HEIGHT - top - 30) / len(series) - 6)
    parts = []
    for number, one in enumerate(series):
        y = top + number * (bar + 6)
        parts.append(
            f'<text class="quiet" x="12" y="{y + bar / 2 + 4:.0f}">{escape(one.label)}</text>'
        )
        for begin, end, value in _stretches(one.points):
            name, color = panel.states.get(f"{value:.0f}", ("", "blue"))
            a, b = (
                left + (at - span[0]) / (span[1] - span[0]) * (right - left) for at in (begin, end)
            )
            parts.append(
                f'<rect x="{a:.1f}" y="{y:.0f}" width="{max(1.0, b - a):.1f}" height="{bar:.0f}"'
                f' fill="{_NAMED[color]}"><title>{name}</title></rect>'
            )
            if b - a > 7 * len(name) + 4:
                parts.append(
                    f'<text class="on" style="fill:#1f2328" x="{(a + b) / 2:.0f}"'
                    f' y="{y + bar / 2 + 4:.0f}" text-anchor="middle">{name}</text>'
                )
    return [*parts, *_times(span, left, right)]


def _stretches(points: Sequence[tuple[float, float]]) -> list[tuple[float, float, float]]:
    """Where a value stays the same: from, to, value."""
    found: list[tuple[float, float, float]] = []
    for (begin, value), (end, _) in pairwise(points):
        if found and found[-1][2] == value and found[-1][1] == begin:
            found[-1] = (found[-1][0], end, value)
        else:
            found.append((begin, end, value))
    return found


def _lines(
    panel: Panel, series: Sequence[Series], span: tuple[float, float], width: float
) -> list[str]:
    left, right, top, bottom = 44.0, width - 12, 36.0, PANEL_HEIGHT - 44.0
    most = max(value for one in series for _, value in one.points)
    least = min(0.0, min(value for one in series for _, value in one.points))
    most = most if most > least else least + 1

    def place(at: float, value: float) -> tuple[str, str]:
        x = left + (at - span[0]) / (span[1] - span[0]) * (right - left)
        y = bottom - (value - least) / (most - least) * (bottom - top)
        return f"{x:.1f}", f"{y:.1f}"

    parts = []
    for value in (least, (least + most) / 2, most):
        _, y = place(span[0], value)
        parts.append(f'<path class="grid" d="M{left:.0f} {y}H{right:.0f}"/>')
        said, below = escape(amount(value, panel.unit)), f"{float(y) + 4:.0f}"
        parts.append(
            f'<text class="quiet" x="{left - 6:.0f}" y="{below}" text-anchor="end">{said}</text>'
        )
    x = left
    for number, one in enumerate(series):
        color = _COLORS[number % len(_COLORS)]
        path = ""
        for at, value in one.points:
            px, py = place(at, value)
            path += (
                f"M{px} {py}" if not path else f"H{px}V{py}" if panel.is_stepped else f"L{px} {py}"
            )
        parts.append(f'<path class="line" stroke="{color}" d="{path}"/>')
        parts.append(
            f'<rect x="{x:.0f}" y="{PANEL_HEIGHT - 15}" width="10" height="3" fill="{color}"/>'
        )
        label = escape(one.label)
        parts.append(f'<text class="quiet" x="{x + 14:.0f}" y="{PANEL_HEIGHT - 9}">{label}</text>')
        x += 26 + 6.2 * len(one.label)
    return [*parts, *_times(span, left, right)]


def _times(span: tuple[float, float], left: float, right: float) -> list[str]:
    """The beginning, the middle and the end."""
    parts = []
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        at = datetime.fromtimestamp(span[0] + share * (span[1] - span[0]), UTC)
        x = left + share * (right - left)
        parts.append(
            f'<text class="quiet" x="{x:.0f}" y="{PANEL_HEIGHT - 28}" text-anchor="{anchor}">'
            f"{at:%H:%M:%S}</text>"
        )
    return parts


def amount(value: float, unit: str) -> str:
    """A value with its unit, short."""
    number = f"{value:.0f}" if abs(value) >= 10 or value == round(value) else f"{value:.2g}"
    if unit == "s" and abs(value) >= 7200:
        return f"{value / 3600:.1f} h"
    return {"s": f"{number} s", "percentunit": f"{100 * value:.0f} %"}.get(unit, number)
