"""Images from Docker into kind: the one way that works on every Docker from 20.10 to 29.

Since 29 Docker keeps images in containerd's store. There a tag can be an index: of several
platforms, and of attestations that a build adds. `docker save` writes the whole index but only the
content that is there, and `ctr images import --all-platforms`, which kind runs on its nodes, wants
all of it: "content digest … not found". So images are built without attestations, and one platform
is saved.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kotatsu_demo.errors import DemoError, MissingError
from kotatsu_demo.images import Image
from kotatsu_node import shell

BUILDER = {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1", "DOCKER_BUILDKIT": "1"}
"""The environment of a build: BuildKit, which `RUN --mount` needs, and an image alone.

Not the flags --provenance=false --sbom=false: the BuildKit of clients before 23 knows none of them.
"""
_NEEDS_BUILDX = 23
"""From this version on Docker's client builds with the plugin buildx, before it by itself."""
_SAVES_ONE_PLATFORM = (1, 48)
"""The API of Docker 28, which knows `docker image save --platform`. The store that needs it is
older, but was off by default."""
_ENGINE = "{{.Client.APIVersion}} {{.Server.Os}}/{{.Server.Arch}}"

Run = Callable[..., None]
"""Runs a command with its output in a log; what follows is its words and `env`."""


@dataclass(frozen=True)
class Engine:
    """Docker, as far as its images go."""

    api: tuple[int, int]
    """The version that client and server have agreed on."""
    platform: str
    """As in linux/arm64: also of kind's nodes, which are its containers."""


def engine() -> Engine:
    """The Docker that runs. Raises NodeError."""
    said = shell.call(["docker", "version", "--format", _ENGINE]).stdout.strip()
    return read_engine(said)


def read_engine(said: str) -> Engine:
    """What `docker version` says in our format. Raises DemoError for anything else."""
    found = re.fullmatch(r"(\d+)\.(\d+) (\w+/\w+)", said)
    if found is None:
        raise DemoError(
            f"`docker version` says {said!r}, not the version of its API and its platform",
            hint="`docker version` must show a client and a server, of Docker 20.10 or newer",
        )
    return Engine((int(found[1]), int(found[2])), found[3])


def check_builder() -> None:
    """Raise MissingError where Docker's client can't build with BuildKit."""
    if shell.call(["docker", "buildx", "version"], check=False).returncode == 0:
        return
    said = shell.call(["docker", "version", "--format", "{{.Client.Version}}"]).stdout.strip()
    major = re.match(r"\d+", said)
    if major is None or int(major[0]) >= _NEEDS_BUILDX:
        raise MissingError(
            f"Docker {said} builds the images with its plugin buildx, which is not installed",
            hint="install the package docker-buildx (docker-buildx-plugin where Docker's own"
            " packages are used), and run the same again",
        )


def image_id(tag: str) -> str:
    """Docker's id of an image; empty when there is none of that name."""
    command = ["docker", "image", "inspect", "--format", "{{.Id}}", tag]
    return shell.call(command, check=False).stdout.strip()


def ids_in_kind(tag: str, cluster: str) -> str:
    """An image's ids on the nodes of a kind cluster; empty when one of them does not have it."""
    ids = []
    for node in shell.call(["kind", "get", "nodes", "--name", cluster]).stdout.split():
        template = ("--output", "go-template", "--template", "{{.status.id}}")
        command = ["docker", "exec", node, "crictl", "inspecti", *template, tag]
        done = shell.call(command, check=False)
        if done.returncode != 0:
            return ""
        ids.append(f"{node} {done.stdout.strip()}")
    return ", ".join(ids)


def build_command(image: Image, tag: str, root: Path) -> list[str]:
    """Builds an image of the checkout at `root`; to run with BUILDER."""
    file = str(root / image.dockerfile)
    return ["docker", "build", "--file", file, *image.build_flags, "--tag", tag, str(root)]


def save_command(tag: str, archive: Path, docker: Engine) -> list[str]:
    """Writes an image to a file that kind can load."""
    platform = ("--platform", docker.platform) if docker.api >= _SAVES_ONE_PLATFORM else ()
    return ["docker", "image", "save", *platform, "--output", str(archive), tag]


def load_command(archive: Path, cluster: str) -> list[str]:
    """Loads such a file into all nodes of a kind cluster."""
    return ["kind", "load", "image-archive", str(archive), "--name", cluster]


def load_into_kind(tag: str, cluster: str, archive: Path, run: Run) -> None:
    """Save an image to `archive`, load it into a kind cluster, and delete the file again."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    try:
        run(*save_command(tag, archive, engine()))
        run(*load_command(archive, cluster))
    finally:
        archive.unlink(missing_ok=True)
