"""Archives as `docker image save` writes them, in both stores of Docker and without Docker.

Docker's own store up to 24 has a folder a layer and a manifest.json. From 25 on it writes an OCI
layout with the same manifest.json beside it. containerd's store, the default of 29, writes the
layout of what a tag names: an image, or an index. Each archive has one image of one layer.
"""

import hashlib
import io
import json
import platform
import tarfile
from typing import Any

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_STATEMENT = "application/vnd.in-toto+json"

MINE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "amd64")
OTHER = "arm64" if MINE == "amd64" else "amd64"

Descriptor = dict[str, Any]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def packed(files: dict[str, bytes]) -> bytes:
    """A tar archive."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, data in sorted(files.items()):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return raw.getvalue()


CONTENT = packed({"etc/word": "おはよう".encode()})
_LAYOUT = {"oci-layout": encoded({"imageLayoutVersion": "1.0.0"})}


def config_of(architecture: str) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{sha256(CONTENT)}"]}
    return encoded({"architecture": architecture, "os": "linux", "config": {}, "rootfs": rootfs})


class Blobs:
    """The content of an OCI layout."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def add(self, media_type: str, data: bytes) -> Descriptor:
        self.files[f"blobs/sha256/{sha256(data)}"] = data
        return {"mediaType": media_type, "digest": f"sha256:{sha256(data)}", "size": len(data)}

    def manifest(self, config: bytes, media_type: str, layer: bytes) -> Descriptor:
        made = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": self.add(_CONFIG, config)}
        return self.add(_MANIFEST, encoded(made | {"layers": [self.add(media_type, layer)]}))

    def image(self, architecture: str) -> Descriptor:
        """An image, with its platform."""
        found = self.manifest(config_of(architecture), _LAYER, CONTENT)
        return found | {"platform": {"architecture": architecture, "os": "linux"}}

    def attestation(self, image: Descriptor) -> Descriptor:
        """What a build says of an image, as BuildKit adds it beside it."""
        of_nothing = {"architecture": "unknown", "os": "unknown"}
        statement = encoded({"subject": image["digest"]})
        annotations = {
            "vnd.docker.reference.digest": image["digest"],
            "vnd.docker.reference.type": "attestation-manifest",
        }
        found = self.manifest(encoded(of_nothing), _STATEMENT, statement)
        return found | {"platform": of_nothing, "annotations": annotations}

    def index_without(self, missing: Descriptor, *there: Descriptor) -> Descriptor:
        """An index, of whose manifests one was never pulled or built."""
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": [*there, missing]}
        del self.files[f"blobs/sha256/{missing['digest'].removeprefix('sha256:')}"]
        return self.add(_INDEX, encoded(index))

    def saved(self, tag: str, target: Descriptor, **more: bytes) -> bytes:
        """The layout of what a tag names."""
        annotations = {
            "io.containerd.image.name": tag,
            "org.opencontainers.image.ref.name": tag.rpartition(":")[2],
        }
        index = {"schemaVersion": 2, "manifests": [{**target, "annotations": annotations}]}
        return packed({**self.files, "index.json": encoded(index), **_LAYOUT, **more})


def docker_24(tag: str) -> bytes:
    """Docker up to 24: a folder a layer."""
    config, layer = config_of(MINE), sha256(CONTENT)
    place = f"{sha256(config)}.json"
    listed = [{"Config": place, "RepoTags": [tag], "Layers": [f"{layer}/layer.tar"]}]
    files = {
        place: config,
        f"{layer}/VERSION": b"1.0",
        f"{layer}/json": encoded({"id": layer}),
        f"{layer}/layer.tar": CONTENT,
        "manifest.json": encoded(listed),
    }
    return packed(files)


def docker_25(tag: str) -> bytes:
    """Docker 25 to 28: a layout, and manifest.json beside it."""
    blobs = Blobs()
    image = blobs.image(MINE)
    config, layer = (f"blobs/sha256/{sha256(data)}" for data in (config_of(MINE), CONTENT))
    listed = [{"Config": config, "RepoTags": [tag], "Layers": [layer]}]
    return blobs.saved(tag, image, **{"manifest.json": encoded(listed)})


def docker_29(tag: str) -> bytes:
    """Docker 29, of a build without attestations."""
    blobs = Blobs()
    return blobs.saved(tag, blobs.image(MINE))


def docker_29_of_two_platforms(tag: str) -> bytes:
    """Docker 29, of an index of which one platform is there."""
    blobs = Blobs()
    return blobs.saved(tag, blobs.index_without(blobs.image(OTHER), blobs.image(MINE)))


def docker_29_attested(tag: str) -> bytes:
    """Docker 29, of an index whose attestation is not there."""
    blobs = Blobs()
    image = blobs.image(MINE)
    return blobs.saved(tag, blobs.index_without(blobs.attestation(image), image))
