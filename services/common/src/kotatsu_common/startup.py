"""Starting quickly: a pod that wakes has somebody waiting for it."""

import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def quickly() -> Iterator[None]:
    """Import and build in this block: nothing of that is garbage, so nobody looks for any.

    Looking for it takes a tenth of the time. What the block has made is not looked at later either.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def import_fastapi() -> None:
    """Import FastAPI without building the validators of its OpenAPI models.

    That is a tenth of a start, and only GET /openapi.json uses them: pydantic builds them then.
    """
    from pydantic import BaseModel

    BaseModel.model_config["defer_build"] = True
    try:
        import fastapi  # noqa: F401
    finally:
        del BaseModel.model_config["defer_build"]


def age() -> float:
    """Seconds since this process began, to the hundredth; 0 where the system does not tell."""
    try:
        began = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began / os.sysconf("SC_CLK_TCK")
