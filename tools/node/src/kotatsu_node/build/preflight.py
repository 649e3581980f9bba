"""What this machine must have before anything is touched."""

from __future__ import annotations

import os
import re
import shutil
import sys

from kotatsu_node import shell
from kotatsu_node.errors import NodeError, UnsupportedError
from kotatsu_node.layout import sources


def require_root_on_linux() -> None:
    """Raise UnsupportedError, in one sentence, unless this is root on Linux."""
    if not sys.platform.startswith("linux"):
        raise UnsupportedError(
            f"a node needs Linux (this is {sys.platform}); with Docker, use kind instead"
        )
    if os.geteuid() != 0:
        raise UnsupportedError(
            "a node needs root (namespaces, mounts and cgroups); run it with sudo, or use kind"
        )


def require_debian() -> None:
    """Raise UnsupportedError where there is no apt-get to install the missing parts with."""
    if shutil.which("apt-get") is None:
        raise UnsupportedError("a node needs Debian or a relative of it (apt-get is missing)")


def go_version() -> str:
    """The Go release in PATH, like `go1.26.8`; raises UnsupportedError if none or too old."""
    wanted = go_minimum()
    if shutil.which("go") is None:
        raise UnsupportedError(f"a node needs Go {wanted} or newer to build Kubernetes; none found")
    try:
        # There, a Go that may download a newer one of itself does so. It takes a while.
        version = shell.call(
            ["go", "-C", sources() / "kube", "env", "GOVERSION"], timeout=600
        ).stdout.strip()
    except NodeError as error:
        raise UnsupportedError(f"Go is installed but does not run: {error.what}") from None
    if not is_new_enough(version, wanted):
        raise UnsupportedError(f"a node needs Go {wanted} or newer to build Kubernetes: {version}")
    return version


def go_minimum() -> str:
    """The oldest Go release that can build the programs, like `1.26.8`."""
    return needed_go((sources() / "kube" / "go.mod").read_text())


def needed_go(modfile: str) -> str:
    """The Go release that the text of a go.mod file asks for, like `1.26.8`."""
    found = re.search(r"^go (\S+)$", modfile, re.MULTILINE)
    return found[1] if found else "1.0"


def is_new_enough(version: str, wanted: str) -> bool:
    """Whether a version as `go env GOVERSION` prints it is at least the one wanted."""
    # A development build names no release ("devel go1.27-…"); it is newer than any we know.
    return not version.startswith("go1") or _numbers(version) >= _numbers(wanted)


def _numbers(version: str) -> list[int]:
    # All three count: Go refuses a module that asks for a later patch release than its own.
    found = re.match(r"(?:go)?(\d+)\.(\d+)(?:\.(\d+))?", version)
    return [int(number or 0) for number in found.groups()] if found else []
