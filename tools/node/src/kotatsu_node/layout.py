"""Where everything is: one place that knows paths, names and addresses."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kotatsu_node.errors import NodeError

NODE_NAME = "kotatsu"
NETNS = "kotatsu-node"
LINK_HOST, LINK_NODE = "kotatsu-host", "kotatsu-peer"
LINK_CIDR = "10.243.255.0/30"
HOST_IP, NODE_IP = "10.243.255.1", "10.243.255.2"
SECOND_NAME = SECOND_NETNS = "kotatsu-second"
SECOND_LINK_CIDR = "10.243.255.4/30"
SECOND_GATEWAY, SECOND_IP = "10.243.255.5", "10.243.255.6"
SERVICE_CIDR, API_SERVICE_IP, DNS_IP = "10.96.0.0/16", "10.96.0.1", "10.96.0.10"
POD_CIDR = "10.244.0.0/16"
# The second address family: every pod has both, and Services that ask for both.
LINK_CIDR_V6, HOST_IP_V6, NODE_IP_V6 = "fd0a:243:255::/64", "fd0a:243:255::1", "fd0a:243:255::2"
SERVICE_CIDR_V6, POD_CIDR_V6 = "fd0a:96::/112", "fd0a:244::/64"
CLUSTER_DOMAIN = "cluster.local"
API_PORT = 6443

REGISTRY = f"{HOST_IP}:5000"
"""An image registry on the machine, from which the node pulls over plain HTTP where one runs."""

DEBIAN = "trixie"
"""The release of Debian that images are built on: that of the base which the Dockerfiles name."""
BASE_IMAGE = f"localhost/kotatsu-base:{DEBIAN}"
PAUSE_IMAGE = "localhost/kotatsu-pause:1"

DEFAULT_STATE = Path("/var/lib/kotatsu-node")
KUBERNETES = "KOTATSU_NODE_KUBERNETES"
"""The variable that chooses another release of Kubernetes than the newest, such as 1.34."""

# A unix socket's path holds 107 bytes, and containerd wants 65 of them for the name of a shim's.
_SHIM_SOCKETS = "run/s"
_SHIM_SOCKETS_LIMIT = 42


@dataclass(frozen=True)
class Layout:
    """Paths of one node. `state` goes with the cluster, `cache` outlives it.

    `kubernetes` is the release that was asked for, such as 1.34; empty when none was.
    """

    state: Path
    cache: Path
    kubernetes: str = ""

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] = os.environ, state_dir: str | None = None
    ) -> Layout:
        """Layout from --state-dir, KOTATSU_NODE_DIR, KOTATSU_CACHE, or the defaults.

        Raises NodeError when the state directory's name is too long for the sockets in it.
        """
        chosen = state_dir or environ.get("KOTATSU_NODE_DIR") or str(DEFAULT_STATE)
        state = Path(chosen).expanduser().absolute()
        if len(str(state / _SHIM_SOCKETS)) > _SHIM_SOCKETS_LIMIT:
            raise NodeError(
                f"the state directory {state} is too long for the unix sockets kept in it",
                hint="choose a shorter one with --state-dir or KOTATSU_NODE_DIR",
            )
        if environ.get("KOTATSU_CACHE"):
            cache = Path(environ["KOTATSU_CACHE"])
        else:
            home = environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
            cache = Path(home) / "kotatsu"
        return cls(state, cache.expanduser().absolute(), environ.get(KUBERNETES, ""))

    # --- state: what belongs to the running cluster ---
    @property
    def logs(self) -> Path:
        """One file per component, and one per image."""
        return self.state / "logs"

    @property
    def run(self) -> Path:
        """Process records, sockets, containerd's and runc's runtime state."""
        return self.state / "run"

    @property
    def processes(self) -> Path:
        """One JSON record per started component."""
        return self.run / "processes"

    @property
    def pki(self) -> Path:
        """Certificates and keys; kept over `down`, so an exported KUBECONFIG stays valid."""
        return self.state / "pki"

    @property
    def config(self) -> Path:
        """Generated configuration files and kubeconfigs."""
        return self.state / "config"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.config / "admin.kubeconfig"

    @property
    def bin(self) -> Path:
        """Links to what a user calls (kubectl, helm, ctr); goes first in PATH."""
        return self.state / "bin"

    @property
    def volumes(self) -> Path:
        """Directories behind the hostPath PersistentVolumes."""
        return self.state / "volumes"

    @property
    def etcd(self) -> Path:
        """The cluster's data."""
        return self.state / "etcd"

    @property
    def kubelet(self) -> Path:
        """The kubelet's root directory (pod volumes are mounted below it)."""
        return self.state / "kubelet"

    @property
    def containerd(self) -> Path:
        """The root of containerd: loaded images; kept over `down`.

        Each major version has its own: the next one upgrades it, and there is no way back.
        """
        return self.state / "containerd-2"

    @property
    def containerd_socket(self) -> Path:
        """Where containerd listens."""
        return self.run / "containerd" / "containerd.sock"

    @property
    def cni_configuration(self) -> Path:
        """The description of the pod network."""
        return self.config / "cni"

    @property
    def cni_plugins(self) -> Path:
        """Our own CNI plugins; the others are with the built programs."""
        return self.config / "cni-plugins"

    @property
    def registries(self) -> Path:
        """How containerd reaches image registries."""
        return self.config / "registries"

    @property
    def shim_sockets(self) -> Path:
        """Where the shims listen; containerd's own default is shared by all of a machine."""
        return self.state / _SHIM_SOCKETS

    @property
    def loaded(self) -> Path:
        """Which images were loaded, so that the same one is not loaded twice."""
        return self.containerd / "loaded.json"

    @property
    def lock(self) -> Path:
        """Held while `up` or `down` changes the node."""
        return self.state / "lock"

    # --- cache: slow to make, keyed by what it is made from ---
    @property
    def binaries(self) -> Path:
        """Built binaries, one directory per key."""
        return self.cache / "bin"

    @property
    def build_logs(self) -> Path:
        """One file per build of a program; where no root is needed, as for the build."""
        return self.cache / "logs"

    @property
    def buildah(self) -> Path:
        """Image storage of buildah, apart from the machine's own."""
        return self.cache / "buildah"

    @property
    def times(self) -> Path:
        """How long each step took the last time."""
        return self.cache / "times.json"


def sources() -> Path:
    """The directory with the Go sources (kube/, pause/): the checkout's, or the installed copy."""
    package = Path(__file__).resolve().parent
    checkout = package.parents[1]
    return checkout if (checkout / "kube" / "main.go").is_file() else package
