"""Archives as `docker image save` writes them, in both stores of Docker and without Docker.

Docker's own store up to 24 has a folder a layer and a manifest.json. From 25 on it writes an OCI
layout with the same manifest.json beside it. containerd's store, the default of 29, writes the
layout of what a tag names: an image, or an index.
"""

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_STATEMENT = "application/vnd.in-toto+json"

Descriptor = dict[str, Any]


def layer(name: str, text: str) -> bytes:
    """A layer with one file."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text.encode()))
    return raw.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


@dataclass
class Blobs:
    """The content of an OCI layout."""

    files: dict[str, bytes] = field(default_factory=dict)

    def add(self, media_type: str, data: bytes, **more: Any) -> Descriptor:
        digest = sha256(data)
        self.files[f"blobs/sha256/{digest}"] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data), **more}

    def image(self, architecture: str, content: bytes) -> Descriptor:
        """An image of one layer, with its platform."""
        config = self.add(_CONFIG, config_of(architecture, content))
        layers = [self.add(_LAYER, content)]
        manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": layers}
        platform = {"architecture": architecture, "os": "linux"}
        return self.add(_MANIFEST, encoded(manifest), platform=platform)

    def attestation(self, image: Descriptor) -> Descriptor:
        """What a build says of an image, as BuildKit adds it beside it."""
        config = self.add(_CONFIG, encoded({"architecture": "unknown", "os": "unknown"}))
        layers = [self.add(_STATEMENT, encoded({"subject": image["digest"]}))]
        manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": layers}
        return self.add(
            _MANIFEST,
            encoded(manifest),
            platform={"architecture": "unknown", "os": "unknown"},
            annotations={
                "vnd.docker.reference.digest": image["digest"],
                "vnd.docker.reference.type": "attestation-manifest",
            },
        )

    def index(self, *manifests: Descriptor) -> Descriptor:
        """An index, as the tag of a build with attestations or for several platforms names it."""
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": list(manifests)}
        return self.add(_INDEX, encoded(index))

    def forget(self, descriptor: Descriptor) -> None:
        """Content that an index names and that was never pulled or built."""
        del self.files[f"blobs/sha256/{descriptor['digest'].removeprefix('sha256:')}"]


def config_of(architecture: str, content: bytes) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{sha256(content)}"]}
    return encoded({"architecture": architecture, "os": "linux", "config": {}, "rootfs": rootfs})


def containerd_store(file: Path, tag: str, blobs: Blobs, target: Descriptor) -> Path:
    """Docker 29: the layout of what a tag names."""
    name, _, version = tag.rpartition(":")
    assert name
    annotations = {
        "io.containerd.image.name": tag,
        "org.opencontainers.image.ref.name": version,
    }
    index = {"schemaVersion": 2, "manifests": [{**target, "annotations": annotations}]}
    return packed(file, {**blobs.files, "index.json": encoded(index), **_LAYOUT})


def classic_store(file: Path, tag: str, architecture: str, content: bytes) -> Path:
    """Docker 25 to 28: a layout, and manifest.json beside it."""
    blobs = Blobs()
    image = blobs.image(architecture, content)
    config = f"blobs/sha256/{sha256(config_of(architecture, content))}"
    listed = [{"Config": config, "RepoTags": [tag], "Layers": [f"blobs/sha256/{sha256(content)}"]}]
    annotations = {
        "io.containerd.image.name": tag,
        "org.opencontainers.image.ref.name": tag.rpartition(":")[2],
    }
    index = {"schemaVersion": 2, "manifests": [{**image, "annotations": annotations}]}
    more = {"manifest.json": encoded(listed), "index.json": encoded(index), **_LAYOUT}
    return packed(file, {**blobs.files, **more})


def docker_24(file: Path, tag: str, architecture: str, content: bytes) -> Path:
    """Docker up to 24: a folder a layer."""
    config, name = config_of(architecture, content), sha256(content)
    listed = [{
        "Config": f"{sha256(config)}.json", "RepoTags": [tag], "Layers": [f"{name}/layer.tar"],
    }]  # fmt: skip
    files = {
        f"{sha256(config)}.json": config,
        f"{name}/VERSION": b"1.0",
        f"{name}/json": encoded({"id": name}),
        f"{name}/layer.tar": content,
        "manifest.json": encoded(listed),
    }
    return packed(file, files)


def packed(file: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(file, "w") as tar:
        for name, data in sorted(files.items()):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file


_LAYOUT = {"oci-layout": encoded({"imageLayoutVersion": "1.0.0"})}
