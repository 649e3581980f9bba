"""Free ports of loopback, each for one process alone."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

_RANGE = range(15_000, 30_000)
"""Below the ports of outgoing connections and of NodePorts: nothing else takes one by chance."""


def free_ports(count: int) -> list[int]:
    """Different ports that nothing listens on, reserved for this process until it ends.

    The locks are files, which are open until then. A port that the system picks could go to another
    process before it is bound again. OSError if there are too few.
    """
    folder = Path(tempfile.gettempdir()) / f"kotatsu-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found: list[int] = []
    for port in random.sample(_RANGE, len(_RANGE)):
        lock = os.open(folder / str(port), os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            os.close(lock)
            continue
        found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"fewer than {count} ports are free from {_RANGE[0]} to {_RANGE[-1]}")
