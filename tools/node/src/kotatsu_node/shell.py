"""Run other programs: output to a log, a failure as a NodeError with the log's last lines."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from kotatsu_node.errors import NodeError

_TAIL_LINES = 12


def tail(log: Path, lines: int = _TAIL_LINES) -> str:
    """The last lines of a file; empty when it does not exist."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 64 * 1024))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def call(
    command: Sequence[str | Path],
    *,
    stdin: str | None = None,
    check: bool = True,
    timeout: float = 60,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a short command and keep its output. `env` is added to the environment.

    Raises NodeError when it fails (unless `check` is false), is missing, or takes longer than
    `timeout` seconds.
    """
    arguments = [str(part) for part in command]
    try:
        done = subprocess.run(
            arguments,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env={**os.environ, **(env or {})},
            check=False,
        )
    except FileNotFoundError:
        raise NodeError(f"the program {arguments[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise NodeError(f"`{' '.join(arguments[:4])} …` took longer than {timeout:.0f} s") from None
    if check and done.returncode != 0:
        output = "\n".join((done.stdout + done.stderr).strip().splitlines()[-_TAIL_LINES:])
        raise NodeError(
            f"`{' '.join(arguments[:4])} …` ended with exit code {done.returncode}", log=output
        )
    return done


def call_logged(
    command: Sequence[str | Path],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    hint: str = "",
) -> None:
    """Run a long command with its output in `log`; raises NodeError with the log's tail."""
    arguments = [str(part) for part in command]
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("wb") as file:
            code = subprocess.run(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                check=False,
            ).returncode
    except FileNotFoundError:
        raise NodeError(f"the program {arguments[0]} is not installed", hint=hint) from None
    if code != 0:
        raise NodeError(
            f"`{' '.join(arguments[:3])} …` ended with exit code {code} (all of it: {log})",
            log=tail(log),
            hint=hint,
        )
