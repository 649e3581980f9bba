"""The release to upgrade from: an earlier commit with its own chart and image.

Its image is built once, in seconds where its locked packages are those of this checkout. In a clone
without history the upgrade begins at this checkout itself, and a warning says so.

KOTATSU_SOAK_PREVIOUS   that commit (default: the newest release, else BEFORE_RELEASES)
"""

import logging
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e.conftest import ROOT, built
from e2e.kit import Kubectl

from kotatsu_demo import docker
from kotatsu_demo.images import IMAGES
from kotatsu_node import Node

log = logging.getLogger(__name__)

IMAGE = "localhost/kotatsu-operator"
OPERATOR = next(image for image in IMAGES if image.name == "operator")
BEFORE_RELEASES = "8cd67a80ef5024c8c8d1ccfcbf8a4e896038aa69"
"""What to upgrade from as long as there is no release: a commit whose pools this checkout reads."""
PARKED, SETTLE = "parked.enabled=true", "routeSettle=1s"
WITHOUT_HISTORY = (
    "this clone has no history, so the upgrade begins at this checkout itself: `git fetch"
    " --unshallow --tags` brings the release before it"
)


@dataclass(frozen=True)
class Release:
    """A chart, and the settings with which it is installed."""

    name: str
    chart: Path
    settings: tuple[str, ...]


def this_release() -> Release:
    """What is in this checkout."""
    return Release("this", ROOT / "charts/kotatsu", (*built("image", "operator"), PARKED, SETTLE))


def previous_release(context: str, scratch: Path) -> Release:
    """An earlier commit, unpacked into `scratch`; its image is built and loaded."""
    commit = previous_commit(ROOT)
    if not commit:
        log.warning(WITHOUT_HISTORY)
        return this_release()
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(scratch)], input=archive.stdout, check=True)
    # How an image is made is of this checkout: an older recipe does not fit the base of today.
    shutil.copytree(ROOT / "images", scratch / "images", dirs_exist_ok=True)
    tag = f"previous-{commit[:8]}"
    if context.startswith("kind-"):
        _into_kind(f"{IMAGE}:{tag}", context.removeprefix("kind-"), scratch)
    else:
        _into_the_node(f"{IMAGE}:{tag}", scratch)
    settings = (f"image.repository={IMAGE}", f"image.tag={tag}", PARKED, SETTLE)
    return Release(commit[:8], scratch / "charts/kotatsu", settings)


def install_crds(kubectl: Kubectl, release: Release) -> None:
    """Put a release's CRDs in place, without deleting others: their pools would go with them."""
    folder = str(release.chart / "crds")
    kubectl("apply", "--server-side", "--force-conflicts", "-f", folder)
    kubectl("wait", "--for=condition=Established", "-f", folder)


def previous_commit(checkout: Path) -> str:
    """The commit to upgrade from; empty in a shallow clone that lacks it.

    A whole history without it fails the test in a sentence.
    """
    release = _git(checkout, "describe", "--tags", "--abbrev=0", "--match=v*", "HEAD^")
    wanted = os.environ.get("KOTATSU_SOAK_PREVIOUS") or release or BEFORE_RELEASES
    found = _git(checkout, "rev-parse", "--verify", "--quiet", f"{wanted}^{{commit}}")
    if found or _git(checkout, "rev-parse", "--is-shallow-repository") == "true":
        return found
    pytest.fail(
        f"{checkout} has no commit {wanted} to upgrade from: fetch it (`git fetch --tags`), or set"
        " KOTATSU_SOAK_PREVIOUS to a commit that is there",
        pytrace=False,
    )


def _into_the_node(image: str, checkout: Path) -> None:
    node = Node.open()
    if node.buildah.image_id(image):
        node.load(image)
    else:
        node.build(image, checkout / OPERATOR.dockerfile, checkout, OPERATOR.build_arguments)


def _into_kind(image: str, cluster: str, checkout: Path) -> None:
    def run(*command: str, env: dict[str, str] | None = None) -> None:
        subprocess.run(command, env=os.environ | (env or {}), check=True)

    run(*docker.build_command(OPERATOR, image, checkout), env=docker.BUILDER)
    docker.load_into_kind(image, cluster, checkout / "image.tar", run)


def _git(checkout: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(checkout), *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""
