"""ConfigMaps and Secrets that a pod mounts, as files of a temporary folder.

The kubelet takes up to a minute to show an edit in a volume. Here it is there at once.
"""

import asyncio
import base64
import contextlib
import logging
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

from e2e.kit import Object
from lightkube import ApiError
from lightkube.resources.core_v1 import ConfigMap, Secret

from kotatsu_operator.kube.errors import Unreachable

log = logging.getLogger(__name__)

LOOK_EVERY = 0.1
"""Seconds between two looks at what is mounted."""

_NOT_FOUND = 404


@contextlib.asynccontextmanager
async def mounted(client: Any, pod: Object) -> AsyncIterator[Path]:
    """A folder in the place of `/` of a pod's first container; the files follow their objects."""
    sources = list(_sources(pod))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        await _show(client, pod, sources, root)
        following = asyncio.create_task(_follow(client, pod, sources, root))
        try:
            yield root
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following


def _sources(pod: Object) -> Iterator[tuple[str, Object]]:
    """What is mounted: the path, and the source as a projected volume has it."""
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
    for mount in pod["spec"]["containers"][0].get("volumeMounts") or ():
        volume = volumes[mount["name"]]
        sources = (volume.get("projected") or {}).get("sources") or [volume]
        for source in sources:
            if "configMap" in source or "secret" in source:
                yield mount["mountPath"].lstrip("/"), source


async def _follow(client: Any, pod: Object, sources: list[tuple[str, Object]], root: Path) -> None:
    while sources:
        await asyncio.sleep(LOOK_EVERY)
        try:
            await _show(client, pod, sources, root)
        except Unreachable as error:  # as a kubelet, which tries again
            log.warning("the files of %s stay as they are: %r", pod["metadata"]["name"], error)


async def _show(client: Any, pod: Object, sources: list[tuple[str, Object]], root: Path) -> None:
    """Write the files as they are to be now."""
    for path, source in sources:
        data = await _data(client, pod["metadata"]["namespace"], source)
        given = source.get("configMap") or source["secret"]
        items = given.get("items") or [{"key": key, "path": key} for key in data]
        for item in items:
            file = root / path / item["path"]
            if item["key"] not in data:
                file.unlink(missing_ok=True)
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            written = file.with_name(f"{file.name}.new")
            written.write_bytes(data[item["key"]])
            written.replace(file)  # nothing reads half of it


async def _data(client: Any, namespace: str, source: Object) -> Mapping[str, bytes]:
    """The contents of a ConfigMap or Secret by their keys; empty if there is none."""
    kind = "configMap" if "configMap" in source else "secret"
    name = source[kind].get("name") or source[kind]["secretName"]
    try:
        found = await client.get(
            ConfigMap if kind == "configMap" else Secret, name, namespace=namespace
        )
    except ApiError as error:
        if error.status.code == _NOT_FOUND:
            return {}
        raise
    data = found.data or {}
    if kind == "configMap":
        return {key: text.encode() for key, text in data.items()}
    return {key: base64.b64decode(text) for key, text in data.items()}
