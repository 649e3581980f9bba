"""Get ready what a node is made from: packages, binaries, images. Slow once, then cached."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from kotatsu_node import mounts
from kotatsu_node.build import base_image, debian, peers, preflight, published, releases
from kotatsu_node.build.binaries import Binaries
from kotatsu_node.build.buildah import Buildah
from kotatsu_node.errors import NodeError, UnsupportedError
from kotatsu_node.layout import DEBIAN, Layout
from kotatsu_node.progress import Progress

_COMPILE = "7 to 16 minutes on two cores"
_DOWNLOAD = "1 to 4 minutes"
_INSTALL = "half a minute"
_BASE = "a minute"


def packages(layout: Layout, progress: Progress) -> None:
    """Install the Debian packages that are missing."""
    if needed := debian.missing():
        preflight.require_debian()
        with progress.step(f"install {', '.join(needed)}", _INSTALL):
            debian.install(needed, layout.build_logs / "apt.log")


def base(layout: Layout, buildah: Buildah, progress: Progress) -> None:
    """Make the base image unless it is there."""
    if not base_image.is_current(buildah):
        with progress.step(f"make the base image (Debian {DEBIAN} with Python)", _BASE):
            base_image.ensure_base(buildah, layout.build_logs / "base-image.log")


def locate(layout: Layout, *, compiled: bool = False) -> Binaries:
    """Where the programs of the release that was asked for are, or will be.

    With `compiled` it is never where they were downloaded to. Raises UnsupportedError without Go,
    unless they can be downloaded.
    """
    release = releases.choose(layout.kubernetes)
    found = None if compiled else published.of(release)
    try:
        go = preflight.go_version()
    except UnsupportedError:
        if found is None:
            raise
        go = ""
    binaries = Binaries.locate(layout.binaries, go, release)
    if found is not None and not binaries.kube.is_dir():
        downloaded = found.directory(layout.binaries)
        return replace(binaries, kube=downloaded) if downloaded.is_dir() else binaries
    return binaries


def programs(layout: Layout, progress: Progress, *names: str, compiled: bool = False) -> Binaries:
    """Get the programs that are missing: those of these names, or all.

    Kubernetes is downloaded where that is possible, unless `compiled`; everything else is built.
    """
    for name, build in locate(layout, compiled=compiled).missing().items():
        if names and name not in names:
            continue
        is_kubernetes = name == "kubernetes"
        shown = f"Kubernetes {releases.choose(layout.kubernetes).minor}" if is_kubernetes else name
        if is_kubernetes and not compiled and _download(layout, progress, shown):
            continue
        preflight.go_version()
        with progress.step(f"build {shown}", _COMPILE if is_kubernetes else ""):
            build(layout.build_logs / f"build-{name}.log")
    return locate(layout, compiled=compiled)


def _download(layout: Layout, progress: Progress, shown: str) -> bool:
    """Download Kubernetes; False, and a line that says why, where that is not possible."""
    found = published.of(releases.choose(layout.kubernetes))
    if found is None:
        return False
    try:
        published.require_reachable(found)
        with progress.step(f"download {shown}", _DOWNLOAD):
            published.download(found, layout.binaries)
    except NodeError as error:
        progress.say(f"· {shown} is not downloaded: {error.what}")
        return False
    return True


def other_programs(layout: Layout, progress: Progress) -> None:
    """Build the programs of other projects that tests run, unless they are built already.

    Raises NodeError about the first that cannot be built, when all have been tried.
    """
    failures = []
    for name, peer in peers.PEERS.items():
        if not peer.for_tests:
            continue
        try:
            with progress.step(f"build {name}"):
                peers.build(name, layout, layout.build_logs / f"build-{name}.log")
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

    preflight.go_version()  # The pause container is built in any case.
    # The compiler wants both cores, packages and base image mostly the network.
    with ThreadPoolExecutor(max_workers=1) as pool:
        installing = pool.submit(install_all)
        binaries = programs(layout, progress)
    installing.result()
    base_image.ensure_pause(buildah, binaries.pause)
    return binaries


def forget(layout: Layout, buildah: Buildah) -> None:
    """Delete everything cached: binaries, images, keys, logs."""
    mounts.unmount(buildah.root)
    layout.times.unlink(missing_ok=True)
    caches = (buildah.root, buildah.runroot, layout.binaries, layout.build_logs)
    for directory in (*caches, layout.state):
        mounts.remove_tree(directory)
    for parent in (layout.cache, buildah.runroot.parent):
        mounts.remove_if_empty(parent)
