"""How long a newcomer waits: make check and make demo in a fresh clone. Only when asked for."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from report import ROOT, Row
from topic import again, main, progress, unmeasured

ON_REQUEST = True
AGAIN = again("first_time")
DEMO = "make demo, first time"
DEMO_HOW = "fresh clone, nothing built or cached (Kubernetes is compiled); packages from the index"


def rows(quick: bool) -> list[Row]:
    """`make check` twice, and `make demo` once unless quick; the node must be down for that."""
    with tempfile.TemporaryDirectory(prefix="kotatsu-first-") as folder:
        clone = Path(folder) / "checkout"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        first, second = (_timed(clone, "check") for _ in range(2))
        found = [
            _row("make check, first time", "fresh clone, makes .venv", first, ""),
            _row("make check", "again in that clone", second, "about a minute"),
        ]
        return found if quick else [*found, _demo(clone, Path(folder))]


def _demo(clone: Path, folder: Path) -> Row:
    status = [sys.executable, "-m", "kotatsu_node", "status"]
    if subprocess.run(status, capture_output=True, check=False).returncode == 0:
        return unmeasured(DEMO, DEMO_HOW, "the node is up: `make down` first", "", "first_time")
    own = {"KOTATSU_CACHE": f"{folder}/cache"}
    try:
        seconds = _timed(clone, "demo", own)
    finally:
        subprocess.run(["make", "-C", clone, "down"], env=os.environ | own, check=False)
    return _row(DEMO, DEMO_HOW, seconds, "")


def _timed(clone: Path, target: str, more: Mapping[str, str] | None = None) -> float:
    with progress.step(f"make {target} in a fresh clone"):
        began = time.monotonic()
        done = subprocess.run(
            ["make", "-C", clone, target],
            env=os.environ | dict(more or {}),
            stdout=sys.stderr,
            check=False,
        )
    if done.returncode != 0:
        raise RuntimeError(f"make {target} failed; what it said is above")
    return time.monotonic() - began


def _row(what: str, how: str, seconds: float, goal: str) -> Row:
    minutes, rest = divmod(round(seconds), 60)
    return Row(what, how, f"{minutes} min {rest:02d} s", "once", 1, goal, None, None, AGAIN)


if __name__ == "__main__":
    main(rows)
