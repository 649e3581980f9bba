"""Know that an image need not be built again: nothing that goes into it has changed.

A build that finds all its layers in the cache still takes seconds; with six images that is half of
a repeated demo.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from kotatsu_demo.images import Image


def made_from(root: Path, image: Image) -> str:
    """What an image is built from: a digest of its files, and its build arguments."""
    return f"{context_digest(root, image.dockerfile)} {image.build_arguments}"


def context_digest(root: Path, dockerfile: str) -> str:
    """A digest of a Dockerfile and of all files that `.dockerignore` lets into the context."""
    digest = hashlib.sha256()
    for file in (root / dockerfile, root / ".dockerignore", *_context(root)):
        digest.update(f"{file.relative_to(root)}\0{file.stat().st_mode:o}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _context(root: Path) -> Iterator[Path]:
    """The files of the folders that `.dockerignore` takes back in, by name.

    Those left out again (`**/NAME`) are left out here too where NAME is a plain name; a pattern
    only makes the digest change more often than it must.
    """
    lines = (root / ".dockerignore").read_text().splitlines()
    left_out = {line.removeprefix("**/") for line in lines if line.startswith("**/")}
    for folder in (root / line[1:] for line in lines if line.startswith("!")):
        for file in sorted(folder.rglob("*")):
            inside = file.relative_to(root).parts
            if file.is_file() and not left_out.intersection(inside):
                yield file


class Memory:
    """What each image was built from, in a JSON file; forgetting is harmless."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def knows(self, image: str, made_from: str, image_id: str) -> bool:
        """Whether this very image was built from this."""
        return bool(image_id) and self._read().get(image) == [made_from, image_id]

    def remember(self, image: str, made_from: str, image_id: str) -> None:
        """Note what an image was built from."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        known = {**self._read(), image: [made_from, image_id]}
        self._file.write_text(json.dumps(known, indent=2))

    def _read(self) -> dict[str, list[str]]:
        try:
            known = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}
