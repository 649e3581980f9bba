"""The release to upgrade from.

In `make soak` it is an earlier commit with its own chart and image. That takes a minute to build
and the repository's history, so `make test` upgrades from this checkout to itself, with every pod
replaced on the way.

KOTATSU_SOAK_PREVIOUS   that commit (default: the newest tag, or what is 50 commits old)
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e.conftest import ROOT, built

from kotatsu_demo.images import IMAGES
from kotatsu_node import Node

IMAGE = "localhost/kotatsu-operator"
OPERATOR = next(image for image in IMAGES if image.name == "operator")


@dataclass(frozen=True)
class Release:
    """A chart, and the settings with which it is installed."""

    name: str
    chart: Path
    settings: tuple[str, ...]


def this_release() -> Release:
    """What is in this checkout."""
    return Release("this", ROOT / "charts/kotatsu", built("image", "operator"))


def another_of_this() -> Release:
    """The same, of which no pod can stay when it is upgraded."""
    other = "podAnnotations.example\\.org/release=previous"
    settings = (*built("image", "operator"), f"operator.{other}", f"activator.{other}")
    return Release("itself", ROOT / "charts/kotatsu", settings)


def previous_release(scratch: Path) -> Release:
    """An earlier commit, unpacked into `scratch`; its image is built and loaded."""
    commit = os.environ.get("KOTATSU_SOAK_PREVIOUS") or _newest_tag() or "HEAD~50"
    found = _git("rev-parse", "--short", f"{commit}^{{commit}}")
    if not found:
        pytest.skip(f"no commit {commit} here to upgrade from: set KOTATSU_SOAK_PREVIOUS to one")
    archive = subprocess.run(["git", "archive", found], cwd=ROOT, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(scratch)], input=archive.stdout, check=True)
    tag = f"previous-{found}"
    own = scratch / "operator/Dockerfile"  # as it was before all images of pure Python shared one
    shared, arguments = scratch / OPERATOR.dockerfile, OPERATOR.build_arguments
    file, arguments = (own, ()) if own.is_file() else (shared, arguments)
    Node.open().build(f"{IMAGE}:{tag}", file, scratch, arguments)
    settings = (f"image.repository={IMAGE}", f"image.tag={tag}")
    return Release(found, scratch / "charts/kotatsu", settings)


def _newest_tag() -> str:
    return _git("describe", "--tags", "--abbrev=0", "HEAD^")


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""
