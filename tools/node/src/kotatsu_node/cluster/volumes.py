"""Make released volumes usable again: with static PersistentVolumes nobody else does."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from kotatsu_node.cluster.api import Api
from kotatsu_node.cluster.manifests import STORAGE_CLASS, volume_name

_MERGE = "application/merge-patch+json"


def recycle(api: Api, volumes: Path) -> list[str]:
    """Empty each of our volumes whose claim is gone and offer it anew; their names."""
    listed = api.request("/api/v1/persistentvolumes")
    names = [volume["metadata"]["name"] for volume in listed["items"] if is_released(volume)]
    for name in names:
        _empty(volumes / name)
        api.request(
            f"/api/v1/persistentvolumes/{name}",
            method="PATCH",
            body={"spec": {"claimRef": None}},
            content=_MERGE,
        )
    return names


def is_released(volume: dict[str, Any]) -> bool:
    """Whether this is a volume of ours that nobody claims any more."""
    name = str(volume["metadata"]["name"])
    return (
        volume.get("status", {}).get("phase") == "Released"
        and volume["spec"].get("storageClassName") == STORAGE_CLASS
        and name.startswith(volume_name(0)[:-1])
    )


def _empty(directory: Path) -> None:
    for path in directory.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
