"""Build images and push them: with Docker for several platforms, with buildah for this one."""

from __future__ import annotations

import json
import platform
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from kotatsu_demo.images import Image
from kotatsu_node import Node, shell
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import BASE_IMAGE
from kotatsu_release.registry import ask
from kotatsu_release.tree import BASE, REVISION

_ABSENT = ("manifest unknown", "name unknown", "not known to registry", "not found")
"""What clients print when a registry answers that it has no such image."""
_SECONDS = 1800.0
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Published:
    """An image that a registry has."""

    digest: str
    revision: str
    """The commit it was made from; empty when it does not say."""
    base: str
    """The image it was built from, as NAME@DIGEST; empty when it does not say."""

    @classmethod
    def labeled(cls, digest: str, labels: Mapping[str, str]) -> Published:
        """An image with these labels."""
        name, base = (labels.get(f"{BASE}.{part}", "") for part in ("name", "digest"))
        return cls(digest, labels.get(REVISION, ""), f"{name}@{base}" if base else "")


@dataclass(frozen=True)
class Build:
    """An image to build: from which tree, and under which name."""

    image: Image
    tree: Path
    reference: str
    """Name and tag, as the registry will have them."""
    work: Path
    """A folder for logs and, without a push, for the image."""


class Builder(Protocol):
    """Makes images and knows the registry."""

    name: str
    platforms: Sequence[str]

    def published(self, reference: str) -> Published | None:
        """What the registry has under a name; None if nothing. Raises NodeError."""

    def base(self, name: str) -> str:
        """The image that Dockerfiles start from, as NAME@DIGEST. Raises NodeError."""

    def make(self, build: Build, *, push: bool) -> str:
        """Build an image, and push it; its digest. Raises NodeError."""


class Buildx:
    """Docker with buildx: one index for all platforms, with the login of `docker login`."""

    name = "docker buildx"

    def __init__(self, platforms: Sequence[str]) -> None:
        self.platforms: Sequence[str] = platforms

    def published(self, reference: str) -> Published | None:
        """Ask the registry."""
        found = _inspect(reference)
        if found is None:
            return None
        images = found["image"]
        # A single image stands there itself, several by their platforms.
        first = images if "config" in images else next(iter(images.values()))
        return Published.labeled(found["manifest"]["digest"], first["config"].get("Labels") or {})

    def base(self, name: str) -> str:
        """What the registry has under the name now: one digest for all platforms."""
        found = _inspect(name)
        if found is None:
            raise NodeError(f"the registry has no base image {name}")
        return f"{name}@{found['manifest']['digest']}"

    def make(self, build: Build, *, push: bool) -> str:
        """Build for every platform at once."""
        build.work.mkdir(parents=True, exist_ok=True)
        archive, said = (build.work / f"{build.image.name}.{kind}" for kind in ("tar", "json"))
        shell.call_logged(
            [
                *("docker", "buildx", "build", "--platform", ",".join(self.platforms)),
                # A release has its own provenance and bills of materials.
                *("--provenance=false", "--sbom=false"),
                *build.image.build_flags,
                *("--file", build.tree / build.image.dockerfile, "--tag", build.reference),
                *("--output", "type=registry" if push else f"type=oci,dest={archive}"),
                *("--metadata-file", said, build.tree),
            ],
            said.with_suffix(".log"),
            hint="to push, log in first: `docker login`. To build for another platform Docker needs"
            " a builder for it: `docker buildx create --use`, and on Linux `docker run"
            " --privileged --rm tonistiigi/binfmt --install all`; or PLATFORMS=linux/amd64",
        )
        return str(json.loads(said.read_text())["containerimage.digest"])


class Buildah:
    """The buildah of tools/node: images for this machine's platform alone."""

    name = "buildah"

    def __init__(self, node: Node, *, plain_http: bool) -> None:
        self._node, self._buildah = node, node.buildah
        self._tls = f"--tls-verify={str(not plain_http).lower()}"
        self.platforms: Sequence[str] = (this_platform(),)

    def published(self, reference: str) -> Published | None:
        """Make a list of it alone, which has its digest there, and pull it, for its labels.

        Here it may have another digest, with layers that are not compressed.
        """
        entry = f"localhost/kotatsu-release:{uuid.uuid4().hex}"
        create = ("manifest", "create", self._tls, entry, f"docker://{reference}")
        if _ask_for_image(self._buildah.command(*create), self._buildah.environment) is None:
            self._buildah.call("manifest", "rm", entry, check=False)
            return None
        found = json.loads(self._buildah.call("manifest", "inspect", entry))
        self._buildah.call("manifest", "rm", entry)
        pull = ("pull", "--quiet", self._tls, *self._policy, f"docker://{reference}")
        self._buildah.call(*pull, timeout=_SECONDS)
        (manifest,) = found["manifests"]
        return Published.labeled(manifest["digest"], self._buildah.labels(reference))

    def base(self, name: str) -> str:  # noqa: ARG002 - it has one of its own
        """The image of tools/node that takes its place."""
        self._node.prepare_base()
        return f"{BASE_IMAGE}@{self._buildah.digest(BASE_IMAGE)}"

    def make(self, build: Build, *, push: bool) -> str:
        """Build from a base image that this machine has made (see tools/node)."""
        build.work.mkdir(parents=True, exist_ok=True)
        file = build.tree / build.image.dockerfile
        arguments = build.image.build_arguments
        self._node.build(build.reference, file, build.tree, arguments, load=False)
        layout, digest = (build.work / f"{build.image.name}.{kind}" for kind in ("oci", "digest"))
        target = f"docker://{build.reference}" if push else f"oci:{layout}:release"
        self._buildah.call(
            *("push", "--quiet", self._tls, *self._policy, "--digestfile", digest),
            *(build.reference, target),
            timeout=_SECONDS,
        )
        return digest.read_text().strip()

    @property
    def _policy(self) -> tuple[str, Path]:
        return self._buildah.policy_flag()


def this_platform() -> str:
    """This machine's, as in linux/amd64."""
    machine = platform.machine()
    return f"linux/{_ARCHITECTURES.get(machine, machine)}"


def _inspect(reference: str) -> dict[str, Any] | None:
    """What Docker says of an image in a registry; None if the registry has none."""
    inspect = ("docker", "buildx", "imagetools", "inspect", reference, "--format", "{{json .}}")
    said = _ask_for_image(inspect)
    return None if said is None else dict(json.loads(said))


def _ask_for_image(
    command: Sequence[str | Path], env: Mapping[str, str] | None = None
) -> str | None:
    """What a client prints of an image in a registry; None if the registry has none."""
    trouble = NodeError(
        "the registry cannot be asked which images it has",
        hint="check REGISTRY and its login; a registry without TLS needs PLAIN_HTTP=1",
    )
    done = ask(command, _ABSENT, trouble, seconds=_SECONDS, env=env)
    return None if done is None else done.stdout
