"""Mounts, and the removal of directories that may have some below them."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

from kotatsu_node import shell
from kotatsu_node.errors import NodeError


def below(directory: Path, mountinfo: str) -> list[str]:
    """Mount points at or below a directory, deepest and latest first."""
    points = [line.split()[4] for line in mountinfo.splitlines()]
    # Spaces and the like are octal escapes in mountinfo.
    plain = [re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), point) for point in points]
    inside = [p for p in plain if p == str(directory) or p.startswith(f"{directory}/")]
    return inside[::-1]


def of(directory: Path) -> list[str]:
    """The present mount points at or below a directory."""
    return below(directory.resolve(), Path("/proc/self/mountinfo").read_text())


def unmount(directory: Path) -> None:
    """Unmount everything at or below a directory; raises NodeError if something stays."""
    for point in of(directory):
        if shell.call(["umount", point], check=False).returncode != 0:
            shell.call(["umount", "--lazy", point], check=False)
    if left := of(directory):
        raise NodeError(
            f"{left[0]} cannot be unmounted",
            hint=f"look for its users with `fuser -vm {left[0]}`, end them, and run `down` again",
        )


def remove_tree(directory: Path) -> None:
    """Delete a directory with all in it; NodeError while something is mounted below it."""
    if of(directory):
        # rmtree would go into a mounted volume and delete what is not ours.
        raise NodeError(f"{directory} still has something mounted below it")
    shutil.rmtree(directory, ignore_errors=True)


def remove_if_empty(directory: Path) -> None:
    """Delete a directory that has nothing in it any more."""
    with contextlib.suppress(OSError):
        directory.rmdir()
