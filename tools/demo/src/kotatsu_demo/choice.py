"""Which cluster to use: a decision from facts, without looking at the machine itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kotatsu_demo.errors import MissingError
from kotatsu_node.build import preflight

NODE_CONTEXT = "kotatsu-node"
KIND_CLUSTER = "kotatsu-demo"
_KIND_PREFIX = "kind-"


class Where(StrEnum):
    """The kinds of cluster there are."""

    GIVEN = "given"
    """A cluster of the user's: its context was named."""
    KIND = "kind"
    """A kind cluster of our own."""
    NODE = "node"
    """The throwaway node of tools/node."""


@dataclass(frozen=True)
class Facts:
    """What the machine has. `programs` are those found in PATH."""

    context: str = ""
    image_prefix: str = ""
    programs: frozenset[str] = frozenset()
    docker_runs: bool = False
    system: str = "linux"
    is_root: bool = False


@dataclass(frozen=True)
class Choice:
    """The cluster to use, and why in a sentence."""

    where: Where
    why: str
    context: str = ""
    kind_cluster: str = ""
    """Name of the kind cluster that images are loaded into; empty for other clusters."""


def choose(facts: Facts) -> Choice:
    """Pick the cluster. Raises MissingError with what is missing and what to do."""
    if facts.context == NODE_CONTEXT:
        return _node(facts, f"CONTEXT={NODE_CONTEXT} is the throwaway node of tools/node")
    if facts.context:
        return _given(facts)
    if facts.docker_runs and "kind" in facts.programs:
        _require(facts, "a kind cluster", "kubectl", "helm")
        why = "Docker runs and kind is installed"
        return Choice(Where.KIND, why, f"{_KIND_PREFIX}{KIND_CLUSTER}", KIND_CLUSTER)
    return _node(facts, f"{_no_kind(facts)}, so the throwaway node of tools/node")


def _given(facts: Facts) -> Choice:
    context = facts.context
    cluster = context.removeprefix(_KIND_PREFIX) if context.startswith(_KIND_PREFIX) else ""
    if facts.image_prefix:
        _require(facts, f"the context {context}", "kubectl", "helm")
        return Choice(Where.GIVEN, f"CONTEXT={context}, images from {facts.image_prefix}", context)
    if not cluster:
        raise MissingError(
            f"the cluster of context {context} must pull the images from a registry, and"
            " IMAGE_PREFIX does not say from which",
            hint="push them, and say where to: `make push IMAGE_PREFIX=registry.example/me`, then"
            f" make demo CONTEXT={context} IMAGE_PREFIX=registry.example/me",
        )
    _require(facts, f"the context {context}", "kubectl", "helm", "docker", "kind")
    if not facts.docker_runs:
        raise MissingError(
            f"the images for context {context} are built with Docker, and Docker does not run",
            hint="start it (`docker info` must work) and run the same again",
        )
    return Choice(Where.GIVEN, f"CONTEXT={context}", context, cluster)


def _node(facts: Facts, why: str) -> Choice:
    if facts.system != "linux":
        raise MissingError(
            f"there is no cluster to use: {_no_kind(facts)}, and the node without Docker"
            f" needs Linux (this is {facts.system})",
            hint="start Docker and install kind, or name a cluster of yours: make demo CONTEXT=…",
        )
    if not facts.is_root:
        raise MissingError(
            f"there is no cluster to use: {_no_kind(facts)}, and the node without Docker"
            " needs root (namespaces, mounts and cgroups)",
            hint="run it with sudo, or start Docker and install kind, or name a cluster of yours:"
            " make demo CONTEXT=…",
        )
    missing = [name for name in ("go", "apt-get") if name not in facts.programs]
    if missing:
        go = f"Go {preflight.go_minimum()} or newer (to build Kubernetes)"
        needs = {"go": go, "apt-get": "Debian's apt-get"}
        raise MissingError(
            f"there is no cluster to use: {_no_kind(facts)}, and the node without Docker"
            f" needs {' and '.join(needs[name] for name in missing)}",
            hint="install it, or start Docker and install kind, or name a cluster of yours:"
            " make demo CONTEXT=…",
        )
    return Choice(Where.NODE, why, NODE_CONTEXT)


def _no_kind(facts: Facts) -> str:
    if "docker" not in facts.programs:
        return "Docker is not installed"
    return "kind is not installed" if facts.docker_runs else "Docker does not run"


def _require(facts: Facts, what: str, *programs: str) -> None:
    missing = [name for name in programs if name not in facts.programs]
    if missing:
        raise MissingError(
            f"{what} needs {' and '.join(missing)}, not found in PATH",
            hint=f"install {' and '.join(missing)} and run the same again",
        )
