"""The pages that people read: every Markdown file of the repository, and what they show."""

import re
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
"""A fenced block, also one that is indented because it belongs to a step of a list."""


@cache
def files() -> tuple[Path, ...]:
    """Every file of the checkout: all that git knows, or without git all that is not made."""
    if not (ROOT / ".git").exists():
        lines = (ROOT / ".gitignore").read_text().splitlines()
        return tuple(_not_ignored(ROOT, [line.rstrip("/") for line in lines]))
    listed = subprocess.run(
        ["git", "ls-files"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return tuple(path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file())


def _not_ignored(folder: Path, patterns: list[str]) -> Iterator[Path]:
    """The files of a folder that .gitignore does not name, and that are of no environment."""
    for path in sorted(folder.iterdir()):
        place = f"/{name(path)}"
        # A pattern with a slash names one place, any other one each file of that name.
        if any(fnmatch(place if "/" in one else path.name, one) for one in patterns):
            continue
        if path.is_file():
            yield path
        elif not (path / "pyvenv.cfg").exists():
            yield from _not_ignored(path, patterns)


def pages() -> list[Path]:
    """Every Markdown page."""
    return [path for path in files() if path.suffix == ".md"]


def name(path: Path) -> str:
    """A path as it is written in the pages: from the root of the repository."""
    return str(path.relative_to(ROOT))


def blocks(text: str, language: str | None = None) -> list[str]:
    """The fenced blocks of a page, or those in a language."""
    found = _BLOCK.findall(text)
    return [dedent(body) for _, written_in, body in found if language in (None, written_in)]


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return _BLOCK.sub("", text)


def section(page: str, heading: str) -> str:
    """What stands below a heading of the second level."""
    return (ROOT / page).read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """The cells of the lines of all tables."""
    lines = [line.strip("|").split(" | ") for line in text.splitlines() if line[:1] == "|"]
    return [[cell.strip() for cell in cells] for cells in lines]


def code(text: str) -> list[str]:
    """All that is set as code in a page: its blocks, and what stands between backticks."""
    return [*blocks(text), *re.findall(r"`([^`\n]+)`", prose(text))]


def anchors(text: str) -> set[str]:
    """What a link to a heading of the page ends in, as GitHub makes it."""
    heads = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
