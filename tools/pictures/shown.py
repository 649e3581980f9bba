"""Which sources decide how each picture looks, and whether a picture is older than they are.

A checkout has no times, so docs/images/pictures.json has a hash of these sources for each picture.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs/images"
MANIFEST = IMAGES / "pictures.json"
CRD = "charts/kotatsu/crds/warmpools.kotatsu.dev.yaml"

_FEATURES = "operator/src/kotatsu_operator/features"
_CONSOLE = (f"{_FEATURES}/console/web/*", f"{_FEATURES}/console/view.py")
SOURCES = {
    "console.png": _CONSOLE,
    "console-phone.png": _CONSOLE,
    "waiting-page.png": (f"{_FEATURES}/waiting_page/web/*", f"{_FEATURES}/waiting_page/page.py"),
    "pet.png": ("services/feed/src/kotatsu_feed/web/*",),
    "terminal.svg": (
        "tools/pictures/commands.txt",
        "examples/web.yaml",
        "operator/plugin/src/kotatsu_demo_mode/window.py",
        "operator/plugin/src/kotatsu_demo_mode/status.py",
        f"{CRD}#additionalPrinterColumns",
    ),
    "dashboard.svg": ("charts/kotatsu/dashboards/demo-day.json", "tools/pictures/board.py"),
}
"""Patterns of files for each picture. Of a file with #field only the lines of that list count."""


def digest(picture: str, root: Path = ROOT) -> str:
    """The hash of what a picture shows."""
    found = hashlib.sha256()
    for name, content in _contents(picture, root):
        found.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return found.hexdigest()


def _contents(picture: str, root: Path) -> Iterator[tuple[str, bytes]]:
    for source in SOURCES[picture]:
        pattern, _, field = source.partition("#")
        paths = sorted(path for path in root.glob(pattern) if path.is_file())
        if not paths:
            raise FileNotFoundError(f"{picture} shows {pattern}, and there is no such file")
        for path in paths:
            content = path.read_bytes()
            name = path.relative_to(root).as_posix()
            yield name, _items(content, field) if field else content


def _items(content: bytes, field: str) -> bytes:
    """The lines of the items of a YAML list: fast, and blind to the rest of a large file."""
    _, _, after = content.partition(f"{field}:\n".encode())
    lines = after.splitlines()
    indent = lines[0][: len(lines[0]) - len(lines[0].lstrip())]
    items = []
    for line in lines:
        if not line.startswith(indent + b"- "):
            break
        items.append(line.strip())
    return b"\n".join(items)


def stale(root: Path = ROOT) -> list[str]:
    """The pictures that are missing or show what has changed since."""
    known = _known(root)
    return [
        picture
        for picture in SOURCES
        if not (root / IMAGES.relative_to(ROOT) / picture).is_file()
        or known.get(picture) != digest(picture, root)
    ]


def note(picture: str) -> None:
    """Write down what a picture shows, now that it has been made."""
    known = {name: value for name, value in _known(ROOT).items() if name in SOURCES}
    known[picture] = digest(picture)
    MANIFEST.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")


def _known(root: Path) -> dict[str, str]:
    try:
        return dict(json.loads((root / MANIFEST.relative_to(ROOT)).read_text()))
    except FileNotFoundError:
        return {}
