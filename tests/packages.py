"""Debian packages that tests need beside Python's."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import needs

from kotatsu_node.build import debian
from kotatsu_node.errors import NodeError


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two of apt at once refuse each other, and tests run side by side."""
    with (Path(tempfile.gettempdir()) / "kotatsu-tests-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class CannotInstallError(Exception):
    """The packages can't be had here; the text says why."""


def install(*packages: str) -> None:
    """Install packages; only root on Debian can. Raises CannotInstallError."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise CannotInstallError(f"only root on Debian can install {', '.join(packages)}")
    with tempfile.TemporaryDirectory() as folder, _one_at_a_time():
        try:
            debian.install(packages, Path(folder) / "apt.log")
        except NodeError as error:
            raise CannotInstallError(str(error)) from None


def nginx() -> str:
    """Path of nginx; Debian's is installed where that is possible, else the test ends."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    found = os.environ.get("NGINX") or shutil.which("nginx", path=path)
    if found is None:
        try:
            install("nginx-light")
        except CannotInstallError as error:
            needs.missing("nginx", f"none here (NGINX=path names one), and {error}")
        found = shutil.which("nginx", path=path)
    assert found is not None
    return found
