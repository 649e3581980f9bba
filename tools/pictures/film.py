"""A recorded terminal as an animated SVG: it begins with its last frame, and plays again and again.

Each text is in the file once and appears at its time; the lines scroll by steps. There is no
script. What shows no motion, or a browser whose reader wishes none, shows the last frame only.

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
STILL = 4.0
"""Seconds for which the last frame is shown before the film, and again after it."""
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
.v { visibility: hidden }
"""
_STILL = """\
@media (prefers-reduced-motion: reduce) {
  .a, .v, .lines { animation: none }
}
"""


def draw(cast: Cast) -> str:
    """The film as an SVG document."""
    events, cuts = filmed(cast)
    screen = Screen(cast.columns)
    runs = screen.play(events)
    clock = _Clock(events[-1].at)
    width = round(2 * _LEFT + cast.columns * _ADVANCE)
    seen = ROWS * _LINE + 8
    height = _TOP + seen + 32
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    note = (
        f"Waits of more than {LONGEST:.0f} s are shortened to that, and outputs of more than"
        f" {HEAD + TAIL + 1} lines are folded."
    )
    texts = [
        *(_cut(cut, width, clock) for cut in cuts),
        f'<clipPath id="window"><path d="M0 {_TOP - 15}h{width}v{seen}h-{width}z"/></clipPath>',
        '<g clip-path="url(#window)"><g class="lines">',
        *(_text(run, clock) for run in runs),
    ]
    style = f"{_STYLE}{_scrolling(screen.heights, clock)}{clock.style()}{_STILL}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} xml:space="preserve" role="img">',
        f"<title>{escape(cast.title)}</title>",
        f"<desc>{escape('; '.join(command.line for command in cast.commands))}</desc>",
        f"<style>{style}</style>",
        f'<rect class="page" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="10"/>',
        f'<text class="bar" x="{_LEFT}" y="27">{escape(cast.title)}</text>',
        f'<path d="M0 42H{width}M0 {height - 34}H{width}" stroke="#3d444d"/>',
        f'<text class="bar" x="{_LEFT}" y="{height - 13}">{note}</text>',
        *texts,
        "</g></g></svg>",
    ]
    return "\n".join(parts) + "\n"


class _Clock:
    """When each thing is shown, as parts of a film that repeats."""

    def __init__(self, last: float) -> None:
        self._seconds = last + 2 * STILL
        self._shown: dict[tuple[float, float | None], str] = {}

    def at(self, seconds: float) -> str:
        """A time of the recording as a part of the film."""
        return f"{100 * (seconds + STILL) / self._seconds:.3f}%"

    def name(self, begin: float, end: float | None) -> str:
        """The keyframes of what is shown from and to these times of the recording."""
        return self._shown.setdefault((begin, end), f"k{len(self._shown)}")

    def style(self) -> str:
        """All keyframes that have a name."""
        lines = [f".a, .v, .lines {{ animation: {self._seconds:.2f}s step-end infinite }}"]
        for (begin, end), name in self._shown.items():
            still = "visible" if end is None else "hidden"
            steps = [f"0% {{ visibility: {still} }}", f"{self.at(0)} {{ visibility: hidden }}"]
            steps.append(f"{self.at(begin)} {{ visibility: visible }}")
            if end is not None:
                steps.append(f"{self.at(end)} {{ visibility: hidden }}")
            lines.append(f"@keyframes {name} {{ {' '.join(steps)} }}")
        return "\n".join(lines) + "\n.lines { animation-name: scroll }\n"


def _text(run: Run, clock: _Clock) -> str:
    text = run.text.rstrip()
    shown = clock.name(run.begin, run.end)
    x, y = _LEFT + run.column * _ADVANCE, _TOP + run.row * _LINE
    kind = "a" if run.end is None else "v"
    return (
        f'<text class="t {kind}{" " * bool(run.style)}{run.style}" x="{x:.0f}" y="{y}"'
        f' textLength="{len(text) * _ADVANCE:.0f}" style="animation-name:{shown}">'
        f"{escape(text, quote=False)}</text>"
    )


def _cut(cut: Cut, width: int, clock: _Clock) -> str:
    """A note in the bar while a wait is shortened."""
    return (
        f'<text class="bar cut v" x="{width - _LEFT}" y="27" text-anchor="end"'
        f' style="animation-name:{clock.name(cut.at, cut.at + LONGEST)}">'
        f"{cut.left_out + LONGEST:.0f} s of waiting</text>"
    )


def _scrolling(heights: list[tuple[float, int]], clock: _Clock) -> str:
    """Keyframes that keep the last line in sight; what is at rest is the last frame."""
    steps = [f"{clock.at(0)} {{ transform: none }}"]
    last = 0
    for at, number in heights:
        over = max(0, number - ROWS)
        if over != last:
            steps.append(f"{clock.at(at)} {{ transform: translateY({-over * _LINE}px) }}")
            last = over
    at_rest = f"transform: translateY({-last * _LINE}px)"
    return f".lines {{ {at_rest} }}\n@keyframes scroll {{ 0% {{ {at_rest} }} {' '.join(steps)} }}\n"


if __name__ == "__main__":
    FILM.write_text(draw(read(CAST)))
