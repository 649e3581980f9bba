"""What this machine must have before anything is touched."""

from __future__ import annotations

import os
import re
import shutil
import sys

from kotatsu_node import shell
from kotatsu_node.errors import NodeError, UnsupportedError

GO_MINIMUM = (1, 24)


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
    """The Go release in PATH, like `go1.26.1`; raises UnsupportedError if none or too old."""
    wanted = ".".join(map(str, GO_MINIMUM))
    if shutil.which("go") is None:
        raise UnsupportedError(f"a node needs Go {wanted} or newer to build Kubernetes; none found")
    try:
        version = shell.call(["go", "env", "GOVERSION"]).stdout.strip()
    except NodeError as error:
        raise UnsupportedError(f"Go is installed but does not run: {error.what}") from None
    if not is_new_enough(version):
        raise UnsupportedError(f"a node needs Go {wanted} or newer to build Kubernetes: {version}")
    return version


def is_new_enough(version: str) -> bool:
    """Whether a version string as `go env GOVERSION` prints it is at least GO_MINIMUM."""
    found = re.match(r"go(\d+)\.(\d+)", version)
    # A development build names no release ("devel go1.27-…"); it is newer than any we know.
    return found is None or (int(found[1]), int(found[2])) >= GO_MINIMUM
