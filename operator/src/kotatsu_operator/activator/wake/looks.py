"""Style sheets for the waiting page, from ConfigMaps that the chart mounts."""

import logging
import re
from functools import lru_cache
from pathlib import Path

log = logging.getLogger(__name__)

DEFAULT = "default"
"""The name of the page's own look."""

FILE = "page.css"
"""The key of a ConfigMap that is used."""

LIMIT = 64 * 1024
"""Bytes of a style sheet."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


def look(folder: Path, name: str) -> str | None:
    """The style sheet of a look; None for the page's own, also if there is no usable one.

    The kubelet replaces a mounted file within about a minute, so each page checks its time.
    """
    if name == DEFAULT or _NAME.fullmatch(name) is None:
        return None
    file = folder / name / FILE
    try:
        changed = file.stat().st_mtime_ns
    except OSError:
        changed = 0
    return _read(file, changed)


@lru_cache(maxsize=64)
def _read(file: Path, _changed: int) -> str | None:
    """Read a style sheet; logs once for each version why it cannot be used."""
    try:
        with file.open("rb") as opened:
            data = opened.read(LIMIT + 1)
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        log.warning("%s: the waiting page keeps its own look: %s", file, error)
        return None
    if len(data) > LIMIT or "<" in text:
        why = "it has a <" if "<" in text else f"it is longer than {LIMIT} bytes"
        log.warning("%s: the waiting page keeps its own look: %s", file, why)
        return None
    return text.strip()
