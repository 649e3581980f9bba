"""Asks a registry through one of its clients."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from kotatsu_node import shell
from kotatsu_node.errors import NodeError


def ask(
    command: Sequence[str | Path],
    absent: Sequence[str],
    trouble: NodeError,
    *,
    seconds: float,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str] | None:
    """What a client answers; None if it prints one of `absent`: the registry has no such thing.

    Raises NodeError: `trouble`, with the end of what the client printed.
    """
    done = shell.call(command, check=False, timeout=seconds, env=env)
    if done.returncode == 0:
        return done
    if any(words in done.stderr.lower() for words in absent):
        return None
    trouble.log = "\n".join(done.stderr.strip().splitlines()[-5:])
    raise trouble
