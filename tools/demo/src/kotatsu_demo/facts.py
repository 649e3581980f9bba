"""Look at the machine: which programs it has, what runs, and which cluster kubectl uses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping

from kotatsu_demo.choice import Facts
from kotatsu_node.cluster import lifecycle
from kotatsu_node.layout import Layout

_PROGRAMS = ("docker", "kind", "kubectl", "helm", "go", "apt-get")
_SECONDS = 10.0
"""How long `docker info` or kubectl may take."""


def look(environ: Mapping[str, str] = os.environ) -> Facts:
    """The facts that the choice of a cluster is made from."""
    programs = frozenset(name for name in _PROGRAMS if shutil.which(name))
    return Facts(
        context=environ.get("CONTEXT", ""),
        current_context=_said("kubectl", "config", "current-context") or "",
        image_prefix=environ.get("IMAGE_PREFIX", "").rstrip("/"),
        programs=programs,
        docker_runs=_said("docker", "info") is not None,
        node_runs="kube-apiserver" in lifecycle.alive(Layout.from_environment(environ)),
        system=sys.platform,
        is_root=hasattr(os, "geteuid") and os.geteuid() == 0,
    )


def _said(*command: str) -> str | None:
    """What a command says; None where it fails, is not there, or takes too long."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
