"""Get ready what a node is made from: packages, binaries, images. Slow once, then cached."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from kotatsu_node import mounts
from kotatsu_node.build import base_image, debian, peers, preflight, releases
from kotatsu_node.build.binaries import Binaries
from kotatsu_node.build.buildah import Buildah
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import Layout
from kotatsu_node.progress import Progress


def packages(layout: Layout, progress: Progress) -> None:
    """Install the Debian packages that are missing."""
    if needed := debian.missing():
        preflight.require_debian()
        with progress.step(f"install {', '.join(needed)}"):
            debian.install(needed, layout.logs / "apt.log")


def base(layout: Layout, buildah: Buildah, progress: Progress) -> None:
    """Make the base image unless it is there."""
    if not base_image.is_current(buildah):
        with progress.step(f"make the base image (Debian {base_image.RELEASE} with Python)"):
            base_image.ensure_base(buildah, layout.logs / "base-image.log")


def locate(layout: Layout) -> Binaries:
    """Where the programs of the release that was asked for are, or will be."""
    return Binaries.locate(
        layout.binaries, preflight.go_version(), releases.choose(layout.kubernetes)
    )


def programs(layout: Layout, progress: Progress, *names: str) -> Binaries:
    """Build the programs that are missing: those of these names, or all."""
    binaries = locate(layout)
    for name, build in binaries.missing().items():
        if not names or name in names:
            what = f"Kubernetes {binaries.release.minor}" if name == "kubernetes" else name
            with progress.step(f"build {what}"):
                build(layout.logs / f"build-{name}.log")
    return binaries


def other_programs(layout: Layout, progress: Progress) -> None:
    """Build the programs of other projects that tests run, unless they are built already.

    Raises NodeError about the first that cannot be built, when all have been tried.
    """
    failures = []
    for name in peers.PEERS:
        try:
            with progress.step(f"build {name}"):
                peers.build(name, layout, layout.logs / f"build-{name}.log")
        except NodeError as error:
            failures.append(error)
    if failures:
        raise failures[0]


def everything(
    layout: Layout, buildah: Buildah, progress: Progress, meanwhile: Callable[[], object]
) -> Binaries:
    """Packages, binaries and both images; the long builds run beside the downloads.

    `meanwhile` is called once images can be built, while the programs may still be compiled.
    """

    def install_all() -> None:
        packages(layout, progress)
        base(layout, buildah, progress)
        meanwhile()

    # The compiler wants both cores, packages and base image mostly the network.
    with ThreadPoolExecutor(max_workers=2) as pool:
        installing, building = pool.submit(install_all), pool.submit(programs, layout, progress)
    installing.result()
    binaries = building.result()
    base_image.ensure_pause(buildah, binaries.pause)
    return binaries


def forget(layout: Layout, buildah: Buildah) -> None:
    """Delete everything cached: binaries, images, keys, logs."""
    mounts.unmount(buildah.root)
    layout.times.unlink(missing_ok=True)
    for directory in (buildah.root, buildah.runroot, layout.binaries, layout.state):
        mounts.remove_tree(directory)
    for parent in (layout.cache, buildah.runroot.parent):
        mounts.remove_if_empty(parent)
