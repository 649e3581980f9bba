"""The Kubernetes releases that a node can be made from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kotatsu_node.errors import NodeError
from kotatsu_node.layout import KUBERNETES, sources


@dataclass(frozen=True)
class Release:
    """A release of Kubernetes: its version (v1.37.2), and the go.mod file that pins it."""

    version: str
    modfile: Path

    @property
    def minor(self) -> str:
        """The release as it is asked for: 1.37."""
        return ".".join(self.version.removeprefix("v").split(".")[:2])


def default() -> Release:
    """The newest release: the one that the module itself is written for."""
    return _read(sources() / "kube" / "go.mod")


def choose(minor: str) -> Release:
    """The release to build for 1.37, 1.34 or the like; the newest for an empty string.

    Raises NodeError for one that there is no go.mod file for.
    """
    newest = default()
    found = [newest, *map(_read, sorted((sources() / "kube").glob("1.*.mod")))]
    known = {release.minor: release for release in found}
    if minor and minor not in known:
        raise NodeError(
            f"there is no Kubernetes {minor} to make a node from",
            hint=f"set {KUBERNETES} to one of {', '.join(known)}",
        )
    return known.get(minor, newest)


def _read(modfile: Path) -> Release:
    found = re.search(r"^\s+k8s\.io/kubernetes (v\S+)$", modfile.read_text(), re.MULTILINE)
    if found is None:
        raise NodeError(f"{modfile} names no version of k8s.io/kubernetes")
    return Release(found[1], modfile)
