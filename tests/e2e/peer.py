"""Programs of other projects, as processes beside the tests."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import needs
import yaml

from kotatsu_node.build import peers
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import Layout

START = 180.0
"""Seconds that one may take until it answers."""


def built(name: str, folder: Path) -> Path:
    """Path of a program; built the first time, which takes minutes. Skips where it can't be."""
    try:
        return peers.build(name, Layout.from_environment(), folder / f"build-{name}.log")
    except NodeError as error:
        needs.missing(name, str(error))


@contextmanager
def running(
    program: Path, *arguments: str, folder: Path, ready: str, **environment: str
) -> Iterator[None]:
    """Run a program in a folder, which gets its log, from when `ready` (an address) answers 200."""
    file = folder / f"{program.name}.log"
    with file.open("w") as log:
        process = subprocess.Popen(
            # Ends with this process, also when it is killed.
            ["setpriv", "--pdeathsig", "KILL", program, *arguments],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
        )
    try:
        _wait(process, ready, file)
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    end = time.monotonic() + START
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(address, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"{log.stem} did not get ready: {log.read_text()}")


@contextmanager
def registry(folder: Path, address: str) -> Iterator[None]:
    """Run a registry of the distribution project that is empty at first, over plain HTTP."""
    config = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(folder / "blobs")}},
        "http": {"addr": address},
        "log": {"level": "warn"},
    }
    (folder / "registry.yaml").write_text(yaml.safe_dump(config))
    program, ready = built("registry", folder), f"http://{address}/v2/"
    with running(program, "serve", "registry.yaml", folder=folder, ready=ready):
        yield
