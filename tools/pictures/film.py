"""A recorded terminal as an animated SVG: it plays once, and its last frame stays.

Each text is in the file once and appears at its time; the lines scroll by steps. There is no
script. A browser that passes on the reader's wish for no motion shows the last frame only.

As a program it draws docs/images/terminal.svg again from the recording that is there.
"""

from html import escape
from pathlib import Path

from recording import HEAD, LONGEST, TAIL, Cast, Cut, filmed, read
from screen import Run, Screen
from shown import IMAGES

CAST = Path(__file__).parent / "terminal.cast"
FILM = IMAGES / "terminal.svg"

ROWS = 26
_ADVANCE, _LINE = 8.4, 19
_LEFT, _TOP = 18, 62
_STYLE = """\
.page { fill: #0d1117; stroke: #3d444d }
.t { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  fill: #e6edf3; white-space: pre }
.bar { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  fill: #9198a1 }
.dim { fill: #9198a1 } .prompt { fill: #3fb950 } .bold { font-weight: 600 }
.red { fill: #ff7b72 } .green { fill: #3fb950 } .yellow { fill: #d29922 } .blue { fill: #79c0ff }
.purple { fill: #d2a8ff } .cyan { fill: #56d4dd } .cut { fill: #d29922 }
@keyframes appear { from { visibility: hidden } }
@keyframes vanish { to { visibility: hidden } }
.a { animation: appear 1ms backwards }
.v { animation: appear 1ms backwards, vanish 1ms forwards }
"""
_STILL = """\
@media (prefers-reduced-motion: reduce) {
  .a, .v, .lines { animation: none }
  .v { visibility: hidden }
}
"""


def draw(cast: Cast) -> str:
    """The film as an SVG document."""
    events, cuts = filmed(cast)
    screen = Screen(cast.columns)
    runs = screen.play(events)
    length = events[-1].at + 1
    width = round(2 * _LEFT + cast.columns * _ADVANCE)
    seen = ROWS * _LINE + 8
    height = _TOP + seen + 32
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    note = (
        f"Waits of more than {LONGEST:.0f} s are shortened to that, and outputs of more than"
        f" {HEAD + TAIL + 1} lines are folded."
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} xml:space="preserve" role="img">',
        f"<title>{escape(cast.title)}</title>",
        f"<desc>{escape('; '.join(command.line for command in cast.commands))}</desc>",
        f"<style>{_STYLE}{_scrolling(screen.heights, length)}{_STILL}</style>",
        f'<rect class="page" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="10"/>',
        f'<text class="bar" x="{_LEFT}" y="27">{escape(cast.title)}</text>',
        f'<path d="M0 42H{width}M0 {height - 34}H{width}" stroke="#3d444d"/>',
        f'<text class="bar" x="{_LEFT}" y="{height - 13}">{note}</text>',
        *(_cut(cut, width) for cut in cuts),
        f'<clipPath id="window"><path d="M0 {_TOP - 15}h{width}v{seen}h-{width}z"/></clipPath>',
        '<g clip-path="url(#window)"><g class="lines">',
        *(_text(run) for run in runs),
        "</g></g></svg>",
    ]
    return "\n".join(parts) + "\n"


def _text(run: Run) -> str:
    text = run.text.rstrip()
    x, y = _LEFT + run.column * _ADVANCE, _TOP + run.row * _LINE
    delay = f"{run.begin:.2f}s" + ("" if run.end is None else f",{run.end:.2f}s")
    kind = "a" if run.end is None else "v"
    return (
        f'<text class="t {kind}{" " * bool(run.style)}{run.style}" x="{x:.0f}" y="{y}"'
        f' textLength="{len(text) * _ADVANCE:.0f}" style="animation-delay:{delay}">'
        f"{escape(text, quote=False)}</text>"
    )


def _cut(cut: Cut, width: int) -> str:
    """A note in the bar while a wait is shortened."""
    begin, end = cut.at, cut.at + LONGEST
    return (
        f'<text class="bar cut v" x="{width - _LEFT}" y="27" text-anchor="end"'
        f' style="animation-delay:{begin:.2f}s,{end:.2f}s">'
        f"{cut.left_out + LONGEST:.0f} s of waiting</text>"
    )


def _scrolling(heights: list[tuple[float, int]], length: float) -> str:
    """Keyframes that keep the last line in sight; what is at rest is the last frame."""
    steps = ["0% { transform: none }"]
    last = 0
    for at, number in heights:
        over = max(0, number - ROWS)
        if over != last:
            steps.append(f"{100 * at / length:.3f}% {{ transform: translateY({-over * _LINE}px) }}")
            last = over
    return (
        f".lines {{ transform: translateY({-last * _LINE}px);"
        f" animation: scroll {length:.2f}s step-end }}\n"
        f"@keyframes scroll {{ {' '.join(steps)} }}\n"
    )


if __name__ == "__main__":
    FILM.write_text(draw(read(CAST)))
