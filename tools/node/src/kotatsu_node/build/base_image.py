"""The two images everything starts from: a small Debian with Python, and pause."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from kotatsu_node import mounts, shell
from kotatsu_node.build import debian
from kotatsu_node.build.binaries import key
from kotatsu_node.build.buildah import Buildah
from kotatsu_node.layout import BASE_IMAGE, DEBIAN, PAUSE_IMAGE

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_INCLUDE = ("python3", "python3-venv", "ca-certificates")
_LABEL = "kotatsu.recipe"
# Raise this when the recipe below changes, so that caches notice.
_RECIPE = "1"
# Documentation and translations: half of the image's files, read by nobody in a container.
_TRIM = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/lintian",
)
_EMPTY = ("var/lib/apt/lists", "var/cache/apt", "var/cache/debconf", "var/log", "tmp")
# The same for packages that a Dockerfile installs later; copyright files stay.
_DPKG_EXCLUDE = "".join(f"path-exclude=/{d}/*\n" for d in _TRIM) + (
    "path-include=/usr/share/doc/*/copyright\n"
)


def is_current(buildah: Buildah) -> bool:
    """Whether the storage has a base image made by this very recipe."""
    return buildah.label(BASE_IMAGE, _LABEL) == recipe()


def ensure_base(buildah: Buildah, log: Path) -> None:
    """Make the Debian base image unless the storage has the current one."""
    if is_current(buildah):
        return
    work = Path(tempfile.mkdtemp(prefix=".base-", dir=buildah.root))
    rootfs = work / "rootfs"
    try:
        mirror = _mirror()
        include = f"--include={','.join(_INCLUDE)}"
        shell.call_logged(
            [
                "mmdebstrap",
                "--mode=root",
                "--variant=minbase",
                include,
                DEBIAN,
                str(rootfs),
                *mirror,
            ],
            log,
            hint="check that the machine's Debian mirror is reachable (`apt-get update`), or name"
            " another in KOTATSU_DEBIAN_MIRROR",
        )
        trim(rootfs)
        _commit(
            buildah, rootfs, BASE_IMAGE, f"--env=PATH={PATH}", "--env=LANG=C.UTF-8", "--cmd=bash"
        )
    finally:
        mounts.unmount(work)
        shutil.rmtree(work, ignore_errors=True)


def ensure_pause(buildah: Buildah, pause: Path) -> None:
    """Make the image of the pod sandbox from its built directory unless it is there."""
    if buildah.label(PAUSE_IMAGE, _LABEL) == pause.name:
        return
    _commit(
        buildah, pause, PAUSE_IMAGE, '--entrypoint=["/pause"]', "--user=65535:65535",
        recipe_label=pause.name,
    )  # fmt: skip


def _mirror() -> list[str]:
    named = os.environ.get("KOTATSU_DEBIAN_MIRROR")
    mirror = named or debian.mirror_of(DEBIAN, debian.read_archives(DEBIAN))
    return [mirror] if mirror else []  # mmdebstrap knows a mirror itself


def recipe() -> str:
    """What the base image is made from, as one short word."""
    return key([], _RECIPE, DEBIAN, *_INCLUDE, *_TRIM, PATH)


def trim(rootfs: Path) -> None:
    """Take out of a fresh Debian tree what a container does not need, and this machine's mirror."""
    for name in _TRIM:
        for path in (rootfs / name).rglob("*"):
            if path.is_file() and path.name != "copyright":
                path.unlink()
    for name in _EMPTY:
        for path in (rootfs / name).iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    # apt refuses to work without this directory.
    (rootfs / "var/lib/apt/lists/partial").mkdir()
    (rootfs / "etc/dpkg/dpkg.cfg.d/kotatsu-trim").write_text(_DPKG_EXCLUDE)
    # Which mirror to use is this machine's matter; a build gets it mounted.
    (rootfs / "etc/apt/sources.list").unlink(missing_ok=True)
    # Dockerfiles for the official Python images call `python`.
    (rootfs / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    for name in ("etc/hostname", "etc/resolv.conf"):
        (rootfs / name).unlink(missing_ok=True)


def _commit(
    buildah: Buildah, tree: Path, name: str, *settings: str, recipe_label: str = ""
) -> None:
    with buildah.building():
        container = buildah.call("from", *buildah.policy_flag(), "scratch")
        try:
            buildah.call("add", "--quiet", container, tree, "/")
            label = f"--label={_LABEL}={recipe_label or recipe()}"
            buildah.call("config", label, *settings, container)
            buildah.call("commit", "--quiet", *buildah.policy_flag(), container, name)
        finally:
            buildah.call("rm", container, check=False)
