"""The commit that is released, and a copy of its tree in which the version is written."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from kotatsu_demo.images import IMAGES
from kotatsu_node import shell
from kotatsu_release.addresses import Addresses
from kotatsu_release.errors import ReleaseError

CHARTS = ("kotatsu", "pet")
REVISION = "org.opencontainers.image.revision"
"""The label with the commit that an image was made from."""
BASE = "org.opencontainers.image.base"
"""What the labels with its base image's name and digest begin with."""
PACKAGES = ("operator", "operator/plugin")
"""Folders of the Python packages that are released as wheels; the second depends on the first."""
_MANY = 5
_BASE_IMAGE = r"^ARG BASE_IMAGE=(\S+)$"


def clean_commit(root: Path) -> str:
    """The commit of a checkout; ReleaseError if files in it are not committed."""
    changed = _git(root, "status", "--porcelain").splitlines()
    if changed:
        more = f"\nand {len(changed) - _MANY} more" if len(changed) > _MANY else ""
        raise ReleaseError(
            "the checkout has changes that are in no commit",
            log="\n".join(changed[:_MANY]) + more,
            hint="commit them, or put them aside with `git stash --include-untracked`",
        )
    return _git(root, "rev-parse", "HEAD").strip()


def commit_seconds(root: Path, commit: str) -> int:
    """When a commit was made, in seconds since 1970."""
    return int(_git(root, "show", "--no-patch", "--format=%ct", commit))


def stage(root: Path, commit: str, version: str, where: Path, source: str = "") -> Path:
    """Unpack a commit into an empty folder and write the version into it; the folder.

    `source` is the address of the repository, which the charts' addresses are made from.
    """
    if where.exists():
        shutil.rmtree(where)
    where.mkdir(parents=True)
    packed = subprocess.run(
        ["git", "archive", commit], cwd=root, capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        unpack(tar, where)
    for chart in CHARTS:
        _rewrite(where / "charts" / chart / "Chart.yaml", chart_with(version))
    Addresses(where, source, version).write(CHARTS)
    for package in PACKAGES:
        _rewrite(where / package / "pyproject.toml", project_with(version))
    for dockerfile in _dockerfiles(where):
        with dockerfile.open("a") as file:
            file.write(labels(version, commit))
    return where


def unpack(archive: tarfile.TarFile, where: Path) -> None:
    """Extract an archive that git or this program has made into a folder.

    Members that lead out of the folder are refused where Python can: since 3.11.4.
    """
    archive.extraction_filter = getattr(tarfile, "data_filter", None)
    archive.extractall(where)  # noqa: S202 - of our own making, see above


def labels(version: str, commit: str) -> str:
    """The last line of a released image's Dockerfile.

    Never build arguments: buildah takes a LABEL with one from its cache, whatever its value.
    """
    return f'LABEL org.opencontainers.image.version="{version}" {REVISION}="{commit}"\n'


def base_image(tree: Path) -> str:
    """The name of the image that the Dockerfiles of a tree start from."""
    (name,) = {
        name
        for dockerfile in _dockerfiles(tree)
        for name in re.findall(_BASE_IMAGE, dockerfile.read_text(), re.MULTILINE)
    }
    return str(name)


def pin(tree: Path, base: str) -> None:
    """Write into each Dockerfile from which image it is built: `base` is NAME@DIGEST."""
    name, _, digest = base.partition("@")
    for dockerfile in _dockerfiles(tree):
        _rewrite(dockerfile, {_BASE_IMAGE: f"ARG BASE_IMAGE={base}"})
        with dockerfile.open("a") as file:
            file.write(f'LABEL {BASE}.name="{name}" {BASE}.digest="{digest}"\n')


def chart_with(version: str) -> dict[str, str]:
    """What changes in a Chart.yaml: patterns, and what takes their place."""
    return {
        r"^version: .*$": f"version: {version}",
        r"^appVersion: .*$": f"appVersion: {version}",
    }


def project_with(version: str) -> dict[str, str]:
    """What changes in a pyproject.toml; a package of ours is needed in exactly this version."""
    return {
        r'^version = ".*"$': f'version = "{version}"',
        r'^  "kotatsu-operator",$': f'  "kotatsu-operator=={version}",',
    }


def _dockerfiles(tree: Path) -> set[Path]:
    return {tree / image.dockerfile for image in IMAGES}


def _rewrite(file: Path, changes: dict[str, str]) -> None:
    text = file.read_text()
    for pattern, replacement in changes.items():
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    file.write_text(text)


def _git(root: Path, *arguments: str) -> str:
    return shell.call(["git", "-C", root, *arguments]).stdout
