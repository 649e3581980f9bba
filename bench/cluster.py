"""The cluster that topics are measured on: a namespace of their own with the platform in it."""

import contextlib
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator

import topic
from kotatsu_demo import choice, facts, routes
from kotatsu_demo.cli import NAMESPACE
from kotatsu_demo.clusters import cluster_of
from kotatsu_demo.kube import Kube
from kotatsu_node.errors import NodeError
from kotatsu_node.progress import Progress
from kotatsu_operator.core.protocol import INSTALL_LABEL

# isort: split
from e2e.conftest import LABELED, built, helm_install
from e2e.kit import App, Kubectl, Object, asleep_override, eventually, pool, wall

__all__ = [
    "App",
    "Kubectl",
    "Object",
    "asleep_override",
    "built",
    "eventually",
    "helm_install",
    "pool",
    "wall",
]


class NoClusterError(Exception):
    """There is no cluster to measure on; the text says why."""


@contextlib.contextmanager
def provided() -> Iterator[None]:
    """A cluster with the images of this checkout, for the block; it is left as it was found.

    What the topics' processes need to find it stands in the environment. Where no cluster is
    possible nothing happens, and the topics say so.
    """
    was_up = _of_the_demo() is not None
    if _demo("images", "--own") not in (0, 2):
        raise RuntimeError("the images could not be built; what was said is above")
    before = dict(os.environ)
    os.environ.update(_of_the_demo() or {})
    try:
        _demo("reach")
        yield
    finally:
        _demo("reach", "--end")
        os.environ.clear()
        os.environ.update(before)
        if not was_up:
            _demo("down")


def _of_the_demo() -> dict[str, str] | None:
    """The environment of the cluster that the demo uses; None where it is not up."""
    found = facts.look()
    try:
        chosen = choice.for_demo(found)
    except NodeError:
        return None
    cluster = cluster_of(chosen, NAMESPACE, found.image_prefix, Progress(sys.stderr))
    return cluster.environment() if cluster.is_up() else None


def _demo(*arguments: str) -> int:
    """Run the demo's own command line; its exit code."""
    command = [sys.executable, "-m", "kotatsu_demo", *arguments]
    return subprocess.run(command, stdout=sys.stderr, check=False).returncode


@contextlib.contextmanager
def namespace(purpose: str) -> Iterator[Kubectl]:
    """A namespace for the block. Raises NoClusterError when there is no throwaway cluster."""
    _check()
    kubectl = Kubectl(f"bench-{purpose}-{uuid.uuid4().hex[:5]}")
    kubectl("create", "namespace", kubectl.namespace)
    kubectl("label", "namespace", kubectl.namespace, f"{INSTALL_LABEL}={kubectl.namespace}")
    try:
        yield kubectl
    finally:
        # Pools first: their operator is still there to let go of what they changed.
        kubectl("delete", "warmpools", "--all", "--wait=false", check=False)
        kubectl("delete", "pods", "--all", "--grace-period=1", "--wait=false", check=False)
        kubectl("delete", "namespace", kubectl.namespace, "--timeout=120s", check=False)


@contextlib.contextmanager
def platform(purpose: str, *settings: str) -> Iterator[Kubectl]:
    """A namespace with operator and activator, as the chart installs them."""
    with namespace(purpose) as kubectl:
        settings = (*built("image", "operator"), LABELED, *settings)
        with topic.progress.step("install the platform"):
            helm_install(kubectl, "kotatsu", "kotatsu", *settings, wait=True)
        try:
            yield kubectl
        finally:
            # What is not in the namespace, such as the admission policies, goes with the release.
            kubectl("delete", "warmpools", "--all", "--wait=false", check=False)
            release = ("kotatsu", "-n", kubectl.namespace)
            subprocess.run(["helm", "uninstall", *release, "--no-hooks"], check=False)


def service_ip(kubectl: Kubectl, name: str) -> str:
    """A Service's address."""
    return str(kubectl.get("service", name)["spec"]["clusterIP"])


def _check() -> None:
    if shutil.which("kubectl") is None or shutil.which("helm") is None:
        raise NoClusterError("no cluster: `make bench` brings one up where it can")
    command = ["kubectl", "config", "current-context"]
    context = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    if not choice.is_allowed(context, os.environ.get("CONTEXT", "")):
        raise NoClusterError(f"context {context!r} is not Kotatsu's, and CONTEXT does not name it")
    if routes.are_needed(Kube(context, {}, "default")):
        raise NoClusterError(
            "this machine cannot reach the cluster's Services and pods: `kotatsu-demo reach`"
        )
