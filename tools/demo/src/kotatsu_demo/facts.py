"""Look at the machine: which programs it has, and whether Docker runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping

from kotatsu_demo.choice import Facts

_PROGRAMS = ("docker", "kind", "kubectl", "helm", "go", "apt-get")
_DOCKER_SECONDS = 10.0


def look(environ: Mapping[str, str] = os.environ) -> Facts:
    """The facts that the choice of a cluster is made from."""
    programs = frozenset(name for name in _PROGRAMS if shutil.which(name))
    return Facts(
        context=environ.get("CONTEXT", ""),
        image_prefix=environ.get("IMAGE_PREFIX", "").rstrip("/"),
        programs=programs,
        docker_runs="docker" in programs and _docker_runs(),
        system=sys.platform,
        is_root=hasattr(os, "geteuid") and os.geteuid() == 0,
    )


def _docker_runs() -> bool:
    try:
        done = subprocess.run(
            ["docker", "info"], capture_output=True, timeout=_DOCKER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
