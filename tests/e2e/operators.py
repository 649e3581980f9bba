"""Operators as processes of the test's own: they can be killed as often as one likes.

In a pod Kubernetes would wait longer after each kill before it starts the container again.
"""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, Process
from dataclasses import dataclass, field
from pathlib import Path

_PROGRAM = Path(__file__).with_name("operator_process.py")


@dataclass
class Operators:
    """Starts operators for one namespace; `log` is a file for what they say."""

    namespace: str
    log: Path | None = None
    _started: list[Process] = field(default_factory=list)

    async def start(self, **environment: str) -> Process:
        """Start one; the environment has what is special about it (see operator_process.py)."""
        file = None if self.log is None else self.log.open("ab")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(_PROGRAM)),
            env={
                **os.environ,
                "KOTATSU_POD_NAMESPACE": self.namespace,
                "KOTATSU_SERVE_UNLABELED": "false",
                "KOTATSU_PARKED": "true",
                **environment,
            },
            stdout=DEVNULL,
            stderr=DEVNULL if file is None else file,
        )
        if file is not None:
            file.close()
        self._started.append(process)
        return process

    async def end(self) -> None:
        """Kill what runs."""
        for process in self._started:
            await killed(process)


def put_clock(file: Path, ahead: float) -> None:
    """Let the clock of KOTATSU_E2E_CLOCK be wrong by so many seconds.

    An operator never reads half a number.
    """
    written = file.with_suffix(".new")
    written.write_text(str(ahead))
    written.replace(file)


async def killed(process: Process) -> None:
    """kill -9, unless it is dead already, and wait for the end."""
    if process.returncode is None:
        process.kill()
    await process.wait()
