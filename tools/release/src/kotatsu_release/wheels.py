"""The plugin as wheels, for pipx and `uv tool install`."""

from __future__ import annotations

import sys
from pathlib import Path

from kotatsu_node import shell
from kotatsu_release.tree import PACKAGES


def build(tree: Path, where: Path, seconds: int) -> list[Path]:
    """Build the wheels of a tree, with hatchling of this environment; their paths.

    Their files are dated `seconds` after 1970, so that the same tree makes the same wheels.
    """
    before = set(where.glob("*.whl"))
    for package in PACKAGES:
        shell.call_logged(
            [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", where],
            where / "work" / f"wheel-{package.replace('/', '-')}.log",
            env={"SOURCE_DATE_EPOCH": str(seconds)},
            cwd=tree / package,
            hint="hatchling is in the locked packages: run `make venv`",
        )
    return sorted(set(where.glob("*.whl")) | before)
