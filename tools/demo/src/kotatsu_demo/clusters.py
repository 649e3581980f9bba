"""The clusters the demo can run on: what differs between them, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from kotatsu_demo import docker
from kotatsu_demo.choice import Choice, Where
from kotatsu_demo.images import ROOT, TAG, Built, Image, local_name
from kotatsu_demo.kube import Kube
from kotatsu_demo.unchanged import Memory, context_digest
from kotatsu_node import Node, shell
from kotatsu_node.layout import BASE_IMAGE
from kotatsu_node.progress import Progress

WORK = ROOT / "build" / "demo"
"""Logs, the spoken mp3 and the kubeconfig of a kind cluster of ours."""


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

    def start(self, images: Sequence[Image] = ()) -> None:
        """Make it run; quick when it does. These images may be built while it is made."""

    def provide(self, image: Image) -> Built:
        """Build an image and load it; quick when nothing has changed."""

    def remove(self) -> None:
        """Take the cluster away, if it is ours."""


class NodeCluster:
    """The throwaway node of tools/node."""

    pull_policy = "IfNotPresent"
    shell_line = 'eval "$(.venv/bin/kotatsu-node env)"'
    is_ours = True
    builds = True

    def __init__(self, context: str, namespace: str, progress: Progress) -> None:
        self._node = Node.open(progress=progress)
        self._memory = Memory(WORK / "images.json")
        self.kube = Kube(context, self._node.environment(), namespace)

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
        context = context_digest(ROOT, image.dockerfile)
        made_from = f"{context} {image.build_arguments} on {buildah.image_id(BASE_IMAGE)}"
        found = buildah.image_id(tag)
        if self._memory.knows(tag, made_from, found):
            return Built(image, name, found)
        file = ROOT / image.dockerfile
        self._node.build(tag, file, ROOT, image.build_arguments, load=False)
        built = buildah.image_id(tag)
        self._memory.remember(tag, made_from, built)
        return Built(image, name, built)

    def remove(self) -> None:
        """Take the node down."""
        self._node.down()


class DockerCluster:
    """A kind cluster: one of ours (made and deleted here), or one whose context was named."""

    pull_policy = "IfNotPresent"
    builds = True

    def __init__(self, choice: Choice, namespace: str, progress: Progress) -> None:
        self._name = choice.kind_cluster
        self._progress = progress
        self.is_ours = choice.where is Where.KIND
        self._kubeconfig = WORK / "kubeconfig"
        environment = {"KUBECONFIG": str(self._kubeconfig)} if self.is_ours else {}
        self.kube = Kube(choice.context, environment, namespace)
        self.shell_line = (
            f"export KUBECONFIG={self._kubeconfig}"
            if self.is_ours
            else f"kubectl config use-context {choice.context}"
        )

    def start(self, images: Sequence[Image] = ()) -> None:  # noqa: ARG002 - Docker has both cores
        """Make our cluster, unless it is there; its kubeconfig stays apart from the user's."""
        if not self.is_ours:
            return
        WORK.mkdir(parents=True, exist_ok=True)
        kubeconfig = ("--name", self._name, "--kubeconfig", str(self._kubeconfig))
        if self._name in shell.call(["kind", "get", "clusters"]).stdout.split():
            shell.call(["kind", "export", "kubeconfig", *kubeconfig])
            return
        with self._progress.step(f"make the kind cluster {self._name}"):
            self._logged("kind", "create", "cluster", *kubeconfig, "--wait", "180s")

    def provide(self, image: Image) -> Built:
        """Build with Docker and load with kind."""
        name = local_name(image)
        tag = f"{name}:{TAG}"
        with self._progress.step(f"build image {tag}"):
            command = docker.build_command(image, tag, ROOT)
            self._logged(*command, env=docker.NO_ATTESTATIONS)
        inspect = ["docker", "image", "inspect", "--format", "{{.Id}}", tag]
        with self._progress.step(f"load image {tag}"):
            archive = WORK / f"{image.name}.tar"
            docker.load_into_kind(tag, self._name, archive, self._logged)
        return Built(image, name, shell.call(inspect).stdout.strip())

    def remove(self) -> None:
        """Delete our cluster."""
        if self.is_ours:
            with self._progress.step(f"delete the kind cluster {self._name}"):
                self._logged("kind", "delete", "cluster", "--name", self._name)
            self._kubeconfig.unlink(missing_ok=True)

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


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT))
