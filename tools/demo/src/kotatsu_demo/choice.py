"""Which cluster to use: a decision from facts, without looking at the machine itself.

The one place where that is decided, for images, demo, tests and benchmarks:

- `own` is a cluster that Kotatsu makes and may break. Demo, tests and benchmarks use it, and
  touch another one only where CONTEXT names it.
- `for_images` is the cluster that kubectl and helm talk to, so that what is built is where
  `helm install` looks for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kotatsu_demo.errors import MissingError
from kotatsu_node.build import preflight

NODE_CONTEXT = "kotatsu-node"
KIND_CLUSTER = "kotatsu-demo"
_KIND_PREFIX = "kind-"
KIND_CONTEXT = f"{_KIND_PREFIX}{KIND_CLUSTER}"
OWN_CONTEXTS = (NODE_CONTEXT, KIND_CONTEXT)
"""The contexts of the clusters that Kotatsu makes."""


class Where(StrEnum):
    """The kinds of cluster there are."""

    GIVEN = "given"
    """A cluster of the user's: its context was named, or is the current one."""
    KIND = "kind"
    """A kind cluster of our own."""
    NODE = "node"
    """The throwaway node of tools/node."""


@dataclass(frozen=True)
class Facts:
    """What the machine has. `programs` are those found in PATH."""

    context: str = ""
    """CONTEXT: the context that the user names."""
    current_context: str = ""
    """The context that kubectl and helm use by themselves."""
    image_prefix: str = ""
    programs: frozenset[str] = frozenset()
    docker_runs: bool = False
    node_runs: bool = False
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


def is_allowed(context: str, named: str) -> bool:
    """Whether tests and benchmarks may use a context: one of ours, or the `named` one."""
    return context in OWN_CONTEXTS or (context != "" and context == named)


def for_demo(facts: Facts) -> Choice:
    """The cluster of CONTEXT, or else our own. Raises MissingError with what to do."""
    return _named(facts) if facts.context else own(facts)


def for_images(facts: Facts) -> Choice:
    """The cluster of CONTEXT, or else the current context's, or else our own.

    Raises MissingError with what to do, also where the current context's cluster has to pull.
    """
    current = facts.current_context
    if facts.context or not current or current in OWN_CONTEXTS:
        return for_demo(facts)
    if current.startswith(_KIND_PREFIX):
        return _kind_of_user(facts, current, f"{current}, the current context")
    raise MissingError(
        f"images can't be loaded into the cluster of your current context, {current}:"
        " it has to pull them",
        hint=f"`make push IMAGE_PREFIX=registry.example/me` for {current}; or name a kind cluster:"
        " make images CONTEXT=kind-NAME",
    )


def own(facts: Facts) -> Choice:
    """The cluster that Kotatsu makes: the node while it runs, else kind, else the node."""
    if facts.node_runs and facts.is_root:
        return Choice(Where.NODE, "the throwaway node, which runs", NODE_CONTEXT)
    if facts.docker_runs and "kind" in facts.programs:
        return _own_kind(facts)
    return _node(facts, f"the throwaway node ({_no_kind(facts)})")


def is_nothing_up(facts: Facts) -> bool:
    """Whether no cluster of Kotatsu's runs, and this machine or user can have none."""
    try:
        own(facts)
    except MissingError:
        return not (facts.node_runs or facts.context)
    return False


def _named(facts: Facts) -> Choice:
    context, why = facts.context, f"{facts.context}, which CONTEXT names"
    if context == NODE_CONTEXT:
        return _node(facts, why)
    if context == KIND_CONTEXT:
        return _own_kind(facts)
    if facts.image_prefix:
        _require(facts, f"the context {context}", "kubectl", "helm")
        return Choice(Where.GIVEN, f"{why}; it pulls from {facts.image_prefix}", context)
    if context.startswith(_KIND_PREFIX):
        return _kind_of_user(facts, context, why)
    raise MissingError(
        f"the cluster of context {context} must pull the images from a registry, and"
        " IMAGE_PREFIX does not say from which",
        hint="push them, and say where to: `make push IMAGE_PREFIX=registry.example/me`, then"
        f" make demo CONTEXT={context} IMAGE_PREFIX=registry.example/me",
    )


def _own_kind(facts: Facts) -> Choice:
    _require(facts, "a kind cluster", "docker", "kind", "kubectl", "helm")
    _require_docker(facts, KIND_CONTEXT)
    why = f"the kind cluster {KIND_CLUSTER}, which is Kotatsu's own"
    return Choice(Where.KIND, why, KIND_CONTEXT, KIND_CLUSTER)


def _kind_of_user(facts: Facts, context: str, why: str) -> Choice:
    _require(facts, f"the context {context}", "kubectl", "helm", "docker", "kind")
    _require_docker(facts, context)
    return Choice(Where.GIVEN, why, context, context.removeprefix(_KIND_PREFIX))


def _require_docker(facts: Facts, context: str) -> None:
    if not facts.docker_runs:
        raise MissingError(
            f"the images for context {context} are built with Docker, and Docker does not run",
            hint="start it (`docker info` must work) and run the same again",
        )


def _node(facts: Facts, why: str) -> Choice:
    lacks: dict[str, str] = {}
    if facts.system != "linux":
        lacks[f"Linux (this is {facts.system})"] = ""
    else:
        if "go" not in facts.programs:
            lacks[f"Go {preflight.go_minimum()} or newer"] = "install Go"
        if not facts.is_root:
            lacks["root"] = "run it with sudo"
        if "apt-get" not in facts.programs:
            lacks["Debian's apt-get"] = ""
    if lacks:
        by_node = " and ".join(lacks.values()) if all(lacks.values()) else ""
        ways = filter(None, (by_node, _to_kind(facts), "name a cluster of yours with CONTEXT=name"))
        raise MissingError(
            f"there is no cluster to use, since {_no_kind(facts)} and the node without Docker needs"
            f" {' and '.join(lacks)}: {', or '.join(ways)}"
        )
    return Choice(Where.NODE, why, NODE_CONTEXT)


def _no_kind(facts: Facts) -> str:
    if "docker" not in facts.programs:
        return "Docker is not installed"
    return "kind is not installed" if facts.docker_runs else "Docker does not run"


def _to_kind(facts: Facts) -> str:
    if "docker" not in facts.programs:
        return "install Docker and kind"
    return "install kind" if facts.docker_runs else "start Docker and install kind"


def _require(facts: Facts, what: str, *programs: str) -> None:
    missing = [name for name in programs if name not in facts.programs]
    if missing:
        raise MissingError(
            f"{what} needs {' and '.join(missing)}, not found in PATH",
            hint=f"install {' and '.join(missing)} and run the same again",
        )
