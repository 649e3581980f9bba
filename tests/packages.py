"""Debian packages that tests need beside Python's."""

import os
import shutil
import tempfile
from pathlib import Path

from kotatsu_node.build import debian
from kotatsu_node.errors import NodeError


class CannotInstallError(Exception):
    """The packages can't be had here; the text says why."""


def install(*packages: str) -> None:
    """Install packages; only root on Debian can. Raises CannotInstallError."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise CannotInstallError(f"only root on Debian can install {', '.join(packages)}")
    with tempfile.TemporaryDirectory() as folder:
        try:
            debian.install(packages, Path(folder) / "apt.log")
        except NodeError as error:
            raise CannotInstallError(str(error)) from None
