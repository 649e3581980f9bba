"""The report as one self-contained HTML page: no script, nothing loaded, light and dark.

Everything that comes from a cluster is escaped. The picture has a text alternative, and the table
below it has the same figures.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from html import escape

from kotatsu_operator.core.report.past import Row

from .chart import ticks
from .past import HEADS, Report, cells, is_parked, notes, summary, title, why
from .terminal import plain
from .times import stamp

_WIDTH, _HEIGHT, _LEFT, _BASE = 960, 150, 30, 118
_COLORS = ("Window", "Override", "Request", "Parked", "Suspended", "Other")
_STYLE = """
:root { color-scheme: light dark; --paper: #fbf7f2; --ink: #2a211a; --soft: #665648;
  --line: #e2d6c9; --Window: #b3432c; --Override: #8a5a00; --Request: #35659a;
  --Parked: #7a4a8c; --Suspended: #665648; --Other: #665648; }
@media (prefers-color-scheme: dark) { :root { --paper: #171310; --ink: #f3e9de; --soft: #c2b1a0;
  --line: #3a302a; --Window: #f29b78; --Override: #f0c36a; --Request: #93bfea;
  --Parked: #d0a6e0; --Suspended: #c2b1a0; --Other: #c2b1a0; } }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.45 system-ui, "Hiragino Sans", "Noto Sans JP", sans-serif; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.15rem; margin-top: 2rem; overflow-wrap: anywhere; }
figure { margin: 0; } svg { display: block; width: 100%; min-width: 36rem; height: auto; }
svg text { font-size: 14px; fill: var(--soft); }
figcaption { color: var(--soft); font-size: .85rem; display: flex; flex-wrap: wrap; gap: 0 1rem; }
.key::before { content: ""; display: inline-block; width: .8rem; height: .8rem; margin-right: .4rem;
  background: var(--key); }
.scroll { overflow-x: auto; } .scroll:focus-visible { outline: 3px solid var(--Request); }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem 1rem .25rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
th { color: var(--soft); font-weight: 400; font-size: .85rem; } td { white-space: nowrap; }
td:nth-child(4) { white-space: normal; min-width: 8rem; overflow-wrap: anywhere; }
.number { text-align: right; }
dl { display: grid; grid-template-columns: auto 1fr; gap: .2rem 1rem; }
dt { color: var(--soft); } dd { margin: 0; font-variant-numeric: tabular-nums; }
.note, footer { color: var(--soft); font-size: .9rem; }
@media print { body { max-width: none; } section { break-inside: avoid; } }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; } }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(reports: Sequence[Report], now: datetime) -> str:
    """The page of these reports."""
    parts = "\n".join(line for report in reports for line in _section(report))
    if not reports:
        parts = "<p>No WarmPool found.</p>"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>Warm pools: report</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>What the pools were warm for</h1>
{parts}
</main>
<footer>Made by kubectl demo-mode report at {stamp(now)}. Costs are the requests of the pods at your
prices; they are not an invoice.</footer>
</body>
</html>
"""


def _text(value: str) -> str:
    return escape(plain(value))


def _section(report: Report) -> Iterator[str]:
    yield f"<section><h2>{_text(title(report))}</h2>"
    if report.past.rows:
        yield from _figure(report)
        yield from _table(report)
    else:
        yield "<p>The pool had no pods in this time.</p>"
    yield "<dl>"
    for name, value in summary(report):
        yield f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>"
    yield "</dl>"
    for note in notes(report):
        yield f'<p class="note">{_text(note)}</p>'
    yield "</section>"


def _table(report: Report) -> Iterator[str]:
    label = _text(f"Episodes of {report.pool.name}")
    yield f'<div class="scroll" tabindex="0" role="group" aria-label="{label}"><table>'
    yield "<thead><tr>"
    for at, head in enumerate(HEADS):
        yield f'<th scope="col"{_number(at)}>{_text(head.capitalize())}</th>'
    yield "</tr></thead><tbody>"
    for row in report.past.rows:
        shown = (f"<td{_number(at)}>{_text(c)}</td>" for at, c in enumerate(cells(report, row)))
        yield f"<tr>{''.join(shown)}</tr>"
    yield "</tbody></table></div>"


def _light(row: Row) -> str:
    """Parked pods are drawn lighter."""
    return ' fill-opacity="0.5"' if is_parked(row) else ""


def _number(column: int) -> str:
    return ' class="number"' if column >= HEADS.index("PODS") else ""


def _figure(report: Report) -> Iterator[str]:
    past = report.past
    most, span = max(past.peak, 1), (past.end - past.begin) / timedelta(seconds=1)

    def x(at: datetime) -> float:
        share = (at - past.begin) / timedelta(seconds=1) / span
        return _LEFT + (_WIDTH - _LEFT) * share

    what = f"{report.pool.name}: {len(past.rows)} times with pods, at most {past.peak} at a time."
    label = _text(f"Picture of {report.pool.name}")
    yield f'<figure><div class="scroll" tabindex="0" role="group" aria-label="{label}">'
    yield f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{_text(what)}">'
    yield f'<path d="M{_LEFT} {_BASE}H{_WIDTH}" stroke="var(--soft)" fill="none"/>'
    yield f'<text x="{_LEFT - 6}" y="22" text-anchor="end">{most}</text>'
    for row in past.rows:
        left, height = x(row.begin), 100 * row.episode.replicas / most
        width = max(x(row.end) - left, 2)
        kind = row.episode.cause.why.value
        place = f'x="{left:.1f}" y="{_BASE - height:.1f}" width="{width:.1f}" height="{height:.1f}"'
        yield (
            f'<rect {place} fill="var(--{kind})"{_light(row)}>'
            f"<title>{_text(why(row))}</title></rect>"
        )
    for at, label in ticks(past.begin, past.end, report.pool.spec.zone, 12):
        if not _LEFT + 16 < x(at) < _WIDTH - 20:
            continue
        yield f'<path d="M{x(at):.1f} {_BASE}v5" stroke="var(--soft)"/>'
        yield f'<text x="{x(at):.1f}" y="{_BASE + 20}" text-anchor="middle">{label}</text>'
    yield "</svg></div><figcaption>"
    there = {row.episode.cause.why.value for row in past.rows}
    for kind in _COLORS:
        if kind in there:
            yield f'<span class="key" style="--key: var(--{kind})">{kind}</span>'
    yield "</figcaption></figure>"
