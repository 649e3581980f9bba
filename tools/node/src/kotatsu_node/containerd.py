"""containerd: its configuration, its containers and shims, and how to end them all."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterable
from pathlib import Path

from kotatsu_node import processes, shell
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import NETNS, PAUSE_IMAGE, POD_CIDR, Layout
from kotatsu_node.processes import Process

NAMESPACE = "k8s.io"
_CNI_BIN = "/usr/lib/cni"
# go-cni keeps its results here whatever the configuration says.
_CNI_RESULTS = Path("/var/lib/cni/results")


def configuration(layout: Layout) -> str:
    """containerd's config.toml."""
    return f"""\
version = 2
root = "{layout.containerd}"
state = "{layout.run / "containerd"}"
# No lowering of OOM scores where the machine itself runs in a sandbox.
oom_score = 0

[grpc]
  address = "{layout.containerd_socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{layout.containerd / "opt"}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{_CNI_BIN}"
    conf_dir = "{layout.config / "cni"}"

  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "{layout.run / "runc"}"
"""


def cni_configuration(layout: Layout) -> str:
    """A routed (ptp) pod network: no bridge, so services work without br_netfilter."""
    network = {
        "cniVersion": "0.4.0",
        "name": NETNS,
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,  # the machine has a route to every pod
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(layout.run / "cni"),
                    "ranges": [[{"subnet": POD_CIDR}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
    return json.dumps(network, indent=2)


def write_configuration(layout: Layout) -> Path:
    """Write both files; the path of config.toml."""
    cni = layout.config / "cni" / "10-kotatsu.conflist"
    cni.parent.mkdir(parents=True, exist_ok=True)
    cni.write_text(cni_configuration(layout))
    file = layout.config / "containerd.toml"
    file.write_text(configuration(layout))
    return file


def ctr(layout: Layout, *arguments: str | Path, check: bool = True) -> str:
    """Run `ctr` in the Kubernetes namespace and return what it printed."""
    command = ["ctr", "--address", layout.containerd_socket, "--namespace", NAMESPACE, *arguments]
    return shell.call(command, check=check, timeout=300).stdout


def is_answering(layout: Layout) -> bool:
    """Whether containerd and its CRI plugin answer."""
    if not layout.containerd_socket.exists():
        return False
    try:
        plugins = ctr(layout, "plugins", "ls", "id==cri")
    except NodeError:
        return False
    return re.search(r"\bcri\b.*\bok\b", plugins) is not None


def images(layout: Layout) -> dict[str, str]:
    """Digest of each image name in the node."""
    rows = ctr(layout, "images", "ls").splitlines()[1:]
    columns = [row.split() for row in rows]
    return {row[0]: row[2] for row in columns if len(row) > 2}


def forget_containers(layout: Layout) -> bool:
    """Delete what containerd remembers of containers; true if there was something."""
    ids = ctr(layout, "containers", "ls", "-q").split()
    if not ids:
        return False
    ctr(layout, "tasks", "delete", "--force", *ids, check=False)
    ctr(layout, "containers", "delete", *ids, check=False)
    return True


def kill_containers(layout: Layout) -> list[int]:
    """KILL the shims of this containerd and every process in its containers; their ids."""
    ids = container_ids(layout)
    victims = [*shims(layout), *_members(ids)]
    for victim in victims:
        victim.signal(signal.SIGKILL)
    processes.wait_gone(victims, 10.0)
    # A container's init takes its whole process namespace along; whoever forked meanwhile too.
    late = _members(ids)
    for victim in late:
        victim.signal(signal.SIGKILL)
    processes.wait_gone(late, 5.0)
    _remove_shim_sockets(layout)
    return [victim.pid for victim in victims]


def container_ids(layout: Layout) -> set[str]:
    """Ids of the containers that this containerd has running, by its runtime state."""
    bundles = layout.run / "containerd" / "io.containerd.runtime.v2.task" / NAMESPACE
    return {bundle.name for bundle in bundles.glob("*")} if bundles.is_dir() else set()


def shims(layout: Layout) -> list[Process]:
    """The containerd-shims that were started by this containerd."""
    address = str(layout.containerd_socket)
    return [
        found
        for pid, arguments in _command_lines()
        if is_shim_of(arguments, address) and (found := processes.identify(pid))
    ]


def is_shim_of(arguments: list[str], address: str) -> bool:
    """Whether a command line is a shim's that reports to the containerd at `address`."""
    if not arguments or not Path(arguments[0]).name.startswith("containerd-shim"):
        return False
    return address in arguments or f"{address}.ttrpc" in arguments


def _members(ids: set[str]) -> list[Process]:
    """Processes in the cgroups of these containers."""
    return [
        found
        for pid in _pids()
        if cgroup_ids(_read(f"/proc/{pid}/cgroup")) & ids and (found := processes.identify(pid))
    ]


def cgroup_ids(cgroup: str) -> set[str]:
    """The container ids in the text of /proc/PID/cgroup."""
    return set(re.findall(r"[0-9a-f]{64}", cgroup))


def _command_lines() -> Iterable[tuple[int, list[str]]]:
    for pid in _pids():
        yield pid, _read(f"/proc/{pid}/cmdline").split("\0")


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _remove_shim_sockets(layout: Layout) -> None:
    """A killed shim leaves its socket in a directory shared by all containerds."""
    state = layout.run / "containerd" / "io.containerd.runtime.v2.task" / NAMESPACE
    for file in state.glob("*/address"):
        address = _read(str(file)).strip()
        if address.startswith("unix:///run/containerd/s/"):
            Path(address.removeprefix("unix://")).unlink(missing_ok=True)


def remove_cni_results() -> None:
    """Forget the network results of our pods, which go-cni keeps in a shared directory."""
    for file in _CNI_RESULTS.glob(f"{NETNS}-*-eth0"):
        pod = file.name.removeprefix(f"{NETNS}-").removesuffix("-eth0")
        for name in (file.name, f"cni-loopback-{pod}-lo"):
            (_CNI_RESULTS / name).unlink(missing_ok=True)
