"""A small copy of this checkout in a repository of its own, and a registry on loopback."""

import io
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import needs
import pytest
from chart.kit import find_helm
from demo.conftest import Programs, programs
from docs.pages import files, name
from e2e import peer

from kotatsu_demo.images import IMAGES, SHARED
from kotatsu_node.ports import free_ports
from kotatsu_node.progress import Progress

__all__ = ["Programs", "programs"]

VERSION = "7.1.0"
BASE = "python:3.13-slim-trixie"
SMALL = "COPY {folder}/small /name\n"


def git(root: Path, *arguments: str) -> str:
    """Run git in a checkout; what it printed."""
    who = {f"GIT_{role}_{what}": "t@example.org" for role in ("AUTHOR", "COMMITTER")
           for what in ("NAME", "EMAIL")}  # fmt: skip
    done = subprocess.run(
        ["git", "-C", root, *arguments],
        env=os.environ | who,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def commit(root: Path, message: str = "a change") -> str:
    """Commit everything in a checkout; the commit."""
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", message)
    return git(root, "rev-parse", "HEAD")


def small_copy(root: Path) -> Path:
    """What a release reads of this checkout, as it is on disk, with images of one file each."""
    for path in files():
        if not (place := name(path)).startswith(("tests/", "bench/")):
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, root / place)
    for image in IMAGES:
        content = image.folder or "charts/pet/gateway"
        (root / content / "small").write_text(image.name)
        shared = image.dockerfile == SHARED
        small = SMALL.format(folder="${FOLDER}" if shared else content)
        (root / image.dockerfile).write_text(
            f"ARG BASE_IMAGE={BASE}\nFROM scratch\n{'ARG FOLDER' if shared else ''}\n{small}"
        )
    (root / "CHANGELOG.md").write_text(f"# Changelog\n\n## [{VERSION}] - 2030-01-01\n")
    git(root, "init", "--quiet")
    commit(root, "first")
    return root


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small copy of this checkout that no test changes."""
    return small_copy(tmp_path_factory.mktemp("released") / "checkout")


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    """A small copy of this checkout."""
    git(root, "clone", "--quiet", "--shared", ".", str(tmp_path / "checkout"))
    return tmp_path / "checkout"


def silent() -> Progress:
    """One that says nothing."""
    return Progress(io.StringIO(), live=False)


@pytest.fixture(scope="session")
def helm() -> str:
    """Path of helm."""
    found = find_helm()
    if found is None:
        needs.missing("helm", "`make programs` builds it")
    return found


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a registry of the distribution project, which is empty at first."""
    folder = tmp_path_factory.mktemp("registry")
    address = f"127.0.0.1:{free_ports(1)[0]}"
    with peer.registry(folder, address):
        yield address
