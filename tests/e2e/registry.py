"""An image registry on this machine: images and charts are pushed to it, and the node pulls."""

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from e2e import peer

from kotatsu_node import Node
from kotatsu_node.cluster.images import replaced_images
from kotatsu_node.components import containerd
from kotatsu_node.layout import REGISTRY, Layout


@dataclass(frozen=True)
class Pushed:
    """An image in a registry."""

    repository: str
    digest: str

    @property
    def reference(self) -> str:
        """The name of this image and no other."""
        return f"{self.repository}@{self.digest}"

    def settings(self, key: str) -> tuple[str, str]:
        """The values with which a chart takes it."""
        return f"{key}.repository={self.repository}", f"{key}.digest={self.digest}"


@dataclass(frozen=True)
class Registry:
    """A running registry; `folder` is for what its clients keep."""

    address: str
    folder: Path

    def push(self, image: str, name: str) -> Pushed:
        """Push an image that was built here, under a name without host and tag."""
        repository, digest = f"{self.address}/{name}", self.folder / "digest"
        how = ("--quiet", "--tls-verify=false", "--digestfile", digest)
        buildah("push", *how, image, f"docker://{repository}:dev")
        return Pushed(repository, digest.read_text().strip())

    def push_chart(self, chart: Path) -> str:
        """Package a chart and push it; its oci:// address."""
        version = yaml.safe_load((chart / "Chart.yaml").read_text())["version"]
        charts = f"oci://{self.address}/charts"
        self.helm("package", str(chart), "--destination", str(self.folder))
        self.helm("push", str(self.folder / f"{chart.name}-{version}.tgz"), charts, "--plain-http")
        return f"{charts}/{chart.name}"

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


@contextmanager
def unlike_any_other(image: str, word: str, folder: Path) -> Iterator[str]:
    """An image with one more file in it, so that whoever has the other does not have this one."""
    tag, file = f"localhost/unlike-any-other:{word}", folder / word
    file.write_text(word)
    container = buildah("from", "--pull-never", image)
    try:
        buildah("copy", "--quiet", container, file, "/word")
        buildah("commit", "--quiet", "--rm", container, tag)
        yield tag
    finally:
        Node.open().buildah.call("rm", container, check=False)
        Node.open().buildah.call("rmi", tag, check=False)


def buildah(command: str, *arguments: str | Path) -> str:
    """Run buildah on the images that were built here; what it printed."""
    it = Node.open().buildah
    return it.call(command, *it.policy_flag(), *arguments)


def _forget_pulled(layout: Layout) -> None:
    """Of containers that run nothing is taken away."""
    pulled = [name for name in containerd.images(layout) if name.startswith(f"{REGISTRY}/")]
    if pulled:
        containerd.ctr(layout, "images", "rm", *pulled)
    if left := replaced_images(containerd.images(layout)):
        containerd.ctr(layout, "images", "rm", *left, check=False)
