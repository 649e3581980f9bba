"""The clusters the demo can run on: what differs between them, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from kotatsu_demo import docker
from kotatsu_demo.choice import Choice, Where
from kotatsu_demo.errors import DemoError
from kotatsu_demo.images import ROOT, TAG, Built, Image, local_name
from kotatsu_demo.kube import Kube
from kotatsu_demo.unchanged import Memory, made_from
from kotatsu_node import Node, shell
from kotatsu_node.layout import BASE_IMAGE
from kotatsu_node.progress import BUILD_OF_AN_IMAGE, Progress

WORK = ROOT / "build" / "demo"
"""Logs, the spoken mp3 and the kubeconfig of a kind cluster of ours."""


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


class Cluster(Protocol):
    """A cluster: how to start it, give it an image, and take away what of it is ours."""

    kube: Kube
    pull_policy: str
    shell_line: str
    """What to type so that kubectl finds this cluster."""
    is_ours: bool
    """Whether `remove` takes the whole cluster away."""
    builds: bool
    """Whether images are built here, which takes its time."""

    def is_up(self) -> bool:
        """Whether it is there and answers."""

    def environment(self) -> dict[str, str]:
        """What kubectl and helm need in their environment to use it by themselves."""

    def start(self, images: Sequence[Image] = ()) -> None:
        """Make it run; quick when it does. These images may be built while it is made."""

    def provide(self, image: Image) -> Built:
        """Build an image and load it; quick when nothing has changed."""

    def remove(self) -> None:
        """Take the cluster away, if it is ours."""


class NodeCluster:
    """The throwaway node of tools/node."""

    pull_policy = "IfNotPresent"
    shell_line = f'eval "$({_short(Path(sys.executable).with_name("kotatsu-node"))} env)"'
    is_ours = True
    builds = True

    def __init__(self, context: str, namespace: str, progress: Progress) -> None:
        self._node = Node.open(progress=progress)
        self._memory = Memory(WORK / "images.json")
        self.kube = Kube(context, self._node.environment(), namespace)

    def is_up(self) -> bool:
        """Whether all of it works."""
        return self._node.status().is_healthy

    def environment(self) -> dict[str, str]:
        """Its kubeconfig, and its kubectl and helm in PATH."""
        return self._node.environment()

    def start(self, images: Sequence[Image] = ()) -> None:
        """Bring the node up; the compiler leaves time for images."""
        self._node.up(meanwhile=lambda: [self._build(image) for image in images])

    def provide(self, image: Image) -> Built:
        """Build with buildah, unless nothing has changed, and load into containerd."""
        built = self._build(image)
        self._node.load(built.reference)
        return built

    def _build(self, image: Image) -> Built:
        name = local_name(image)
        tag, buildah = f"{name}:{TAG}", self._node.buildah
        sources = f"{made_from(ROOT, image)} on {buildah.image_id(BASE_IMAGE)}"
        if not self._memory.knows(tag, sources, buildah.image_id(tag)):
            file = ROOT / image.dockerfile
            self._node.build(tag, file, ROOT, image.build_arguments, load=False)
            self._memory.remember(tag, sources, buildah.image_id(tag))
        return Built(image, name, buildah.image_id(tag))

    def remove(self) -> None:
        """Take the node down."""
        self._node.down()


class DockerCluster:
    """A kind cluster: one of ours (made and deleted here), or one of the user's."""

    pull_policy = "IfNotPresent"
    builds = True

    def __init__(self, choice: Choice, namespace: str, progress: Progress) -> None:
        self._name, self._context = choice.kind_cluster, choice.context
        self._progress = progress
        self._memory = Memory(WORK / "images-of-docker.json")
        self.is_ours = choice.where is Where.KIND
        self._kubeconfig = WORK / "kubeconfig"
        environment = {"KUBECONFIG": str(self._kubeconfig)} if self.is_ours else {}
        self.kube = Kube(choice.context, environment, namespace)
        self.shell_line = (
            f"export KUBECONFIG={self._kubeconfig}"
            if self.is_ours
            else f"kubectl config use-context {choice.context}"
        )

    def is_up(self) -> bool:
        """Whether its API server answers."""
        return (not self.is_ours or self._exists()) and self.kube.answers()

    def environment(self) -> dict[str, str]:
        """A kubeconfig with this cluster alone."""
        if not self.is_ours:
            return _kubeconfig_of(self.kube)
        return {"KUBECONFIG": str(self._kubeconfig)}

    def start(self, images: Sequence[Image] = ()) -> None:  # noqa: ARG002 - Docker has both cores
        """Make our cluster, unless it is there; its kubeconfig stays apart from the user's."""
        if not self._exists():
            if not self.is_ours:
                raise DemoError(
                    f"there is no kind cluster {self._name}, which the context {self._context}"
                    " is of",
                    hint=f"kind create cluster --name {self._name}",
                )
            with self._progress.step(f"make the kind cluster {self._name}", "1 to 3 minutes"):
                self._logged("kind", "create", "cluster", *self._known_as(), "--wait", "180s")
        elif self.is_ours:
            shell.call(["kind", "export", "kubeconfig", *self._known_as()])

    def provide(self, image: Image) -> Built:
        """Build with Docker and load with kind, each unless nothing has changed."""
        name = local_name(image)
        tag, sources = f"{name}:{TAG}", made_from(ROOT, image)
        if not self._memory.knows(tag, sources, docker.image_id(tag)):
            docker.check_builder()
            with self._progress.step(f"build image {tag}", BUILD_OF_AN_IMAGE):
                command = docker.build_command(image, tag, ROOT)
                self._logged(*command, env=docker.BUILDER)
            self._memory.remember(tag, sources, docker.image_id(tag))
        self._load(image, tag)
        return Built(image, name, docker.image_id(tag))

    def _load(self, image: Image, tag: str) -> None:
        """Load an image, unless each node of the cluster has what was loaded from it."""
        loaded, from_image = f"{tag} in {self._context}", docker.image_id(tag)
        if self._memory.knows(loaded, from_image, docker.ids_in_kind(tag, self._name)):
            return
        with self._progress.step(f"load image {tag}"):
            archive = WORK / f"{image.name}.tar"
            docker.load_into_kind(tag, self._name, archive, self._logged)
        self._memory.remember(loaded, from_image, docker.ids_in_kind(tag, self._name))

    def remove(self) -> None:
        """Delete our cluster."""
        if self.is_ours:
            with self._progress.step(f"delete the kind cluster {self._name}"):
                self._logged("kind", "delete", "cluster", "--name", self._name)
            self._kubeconfig.unlink(missing_ok=True)

    def _exists(self) -> bool:
        return self._name in shell.call(["kind", "get", "clusters"]).stdout.split()

    def _known_as(self) -> tuple[str, ...]:
        WORK.mkdir(parents=True, exist_ok=True)
        return ("--name", self._name, "--kubeconfig", str(self._kubeconfig))

    def _logged(self, *command: str, env: Mapping[str, str] | None = None) -> None:
        log = WORK / f"{'-'.join(command[:2])}.log"
        shell.call_logged(command, log, env=env, hint=f"all that it said is in {_short(log)}")


class GivenCluster:
    """A cluster of the user's, which pulls images that were pushed before."""

    pull_policy = "Always"
    is_ours = False
    builds = False

    def __init__(self, context: str, namespace: str, image_prefix: str) -> None:
        self._prefix = image_prefix
        self.kube = Kube(context, {}, namespace)
        self.shell_line = f"kubectl config use-context {context}"

    def is_up(self) -> bool:
        """Whether its API server answers."""
        return self.kube.answers()

    def environment(self) -> dict[str, str]:
        """A kubeconfig with this cluster alone."""
        return _kubeconfig_of(self.kube)

    def start(self, images: Sequence[Image] = ()) -> None:
        """Nothing: it runs."""

    def provide(self, image: Image) -> Built:
        """Nothing to build: the name under which it was pushed."""
        return Built(image, f"{self._prefix}/kotatsu-{image.name}")

    def remove(self) -> None:
        """Nothing: it is not ours."""


def cluster_of(choice: Choice, namespace: str, image_prefix: str, progress: Progress) -> Cluster:
    """The cluster that was chosen."""
    if choice.where is Where.NODE:
        return NodeCluster(choice.context, namespace, progress)
    if choice.kind_cluster:
        return DockerCluster(choice, namespace, progress)
    return GivenCluster(choice.context, namespace, image_prefix)


def _kubeconfig_of(kube: Kube) -> dict[str, str]:
    """Make a kubeconfig with one context, so that nothing changes in the user's."""
    file = WORK / "given.kubeconfig"
    WORK.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(kube.kubectl("config", "view", "--raw", "--minify", "--flatten"))
    return {"KUBECONFIG": str(file)}
