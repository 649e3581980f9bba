"""The cluster that topics are measured on: a namespace of their own with the platform in it."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator

import topic
from kotatsu_node import Node
from report import ROOT

sys.path.append(str(topic.TESTS))
# isort: split
from e2e.conftest import built, helm_install
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
    was_up = _node_is_up()
    command = [sys.executable, "-m", "kotatsu_demo"]
    code = subprocess.run([*command, "images"], stdout=sys.stderr, check=False).returncode
    if code not in (0, 2):
        raise RuntimeError("the images could not be built; what was said is above")
    before = dict(os.environ)
    kind = ROOT / "build" / "demo" / "kubeconfig"
    if _node_is_up():
        os.environ.update(Node.open().environment())
    elif kind.exists():
        os.environ["KUBECONFIG"] = str(kind)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        if not was_up:
            subprocess.run([*command, "down"], stdout=sys.stderr, check=False)


def _node_is_up() -> bool:
    command = [sys.executable, "-m", "kotatsu_node", "status"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def namespace(purpose: str) -> Iterator[Kubectl]:
    """A namespace for the block. Raises NoClusterError when there is no throwaway cluster."""
    _check()
    kubectl = Kubectl(f"bench-{purpose}-{uuid.uuid4().hex[:5]}")
    kubectl("create", "namespace", kubectl.namespace)
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
        helm_install(
            kubectl, "kotatsu", "kotatsu", *built("image", "operator"), *settings, wait=True
        )
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
    if context != "kotatsu-node" and not context.startswith("kind-"):
        raise NoClusterError(f"context {context!r} is no throwaway cluster of ours")
    address = str(Kubectl("default").get("service", "kubernetes")["spec"]["clusterIP"])
    try:
        socket.create_connection((address, 443), timeout=3).close()
    except OSError:
        raise NoClusterError(
            "this machine cannot reach the cluster's Services and pods (it can on tools/node)"
        ) from None
