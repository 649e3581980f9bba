"""An image registry on this machine: a release is pushed to it, and the node pulls from it."""

import fcntl
import io
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e import peer

from kotatsu_node import Node
from kotatsu_node.cluster.images import replaced_images
from kotatsu_node.components import containerd
from kotatsu_node.layout import REGISTRY, Layout
from kotatsu_node.progress import Progress


@dataclass(frozen=True)
class Registry:
    """A running registry; `folder` is for what its clients keep."""

    address: str
    folder: Path

    def helm(self, *arguments: str) -> str:
        """Run helm with homes of its own; what it printed."""
        homes = {
            f"HELM_{kind}_HOME": str(self.folder / kind) for kind in ("CACHE", "CONFIG", "DATA")
        }
        done = subprocess.run(
            ["helm", *arguments],
            env={**os.environ, **homes},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def quiet_node() -> Node:
    """The throwaway node, to build and push images with; it shows no progress."""
    return Node.open(progress=Progress(io.StringIO(), live=False))


@contextmanager
def running(folder: Path) -> Iterator[Registry]:
    """Run a registry where the node pulls from over plain HTTP; what it has pulled goes too.

    The node knows one address, so tests that run side by side wait for each other.
    """
    turn = Path(tempfile.gettempdir()) / "kotatsu-e2e-registry.lock"
    with turn.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield from _run(folder)


def _run(folder: Path) -> Iterator[Registry]:
    with peer.registry(folder, REGISTRY):
        try:
            yield Registry(REGISTRY, folder)
        finally:
            _forget_pulled(Layout.from_environment())


def _forget_pulled(layout: Layout) -> None:
    """Of containers that run nothing is taken away."""
    pulled = [name for name in containerd.images(layout) if name.startswith(f"{REGISTRY}/")]
    if pulled:
        containerd.ctr(layout, "images", "rm", *pulled)
    if left := replaced_images(containerd.images(layout)):
        containerd.ctr(layout, "images", "rm", *left, check=False)
