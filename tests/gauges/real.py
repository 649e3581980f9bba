"""Metrics pages that real programs served, idle and with three requests in flight.

Each file says which program and version, and holds both pages, without the metrics of no concern.
"""

from pathlib import Path

_HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in _HERE.glob("*.txt"))
OWN_PAGE = [
    name for name in NAMES if name.startswith(("spring", "opentel", "fastapi", "starlette"))
]
"""The programs whose gauge counts the request for the page, if the app itself serves the page."""


def served(name: str) -> tuple[str, str]:
    """The page while idle, and the page with three requests in flight."""
    idle, busy = (_HERE / f"{name}.txt").read_text().split("# 3 requests in flight\n")
    return idle, busy
