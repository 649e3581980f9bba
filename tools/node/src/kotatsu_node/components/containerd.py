"""The container runtime: its configuration, and questions to it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from kotatsu_node import shell
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import NETNS, PAUSE_IMAGE, POD_CIDR, POD_CIDR_V6, Layout
from kotatsu_node.network import netns

NAMESPACE = "k8s.io"
_CNI_BIN = "/usr/lib/cni"


def configuration(layout: Layout) -> str:
    """The text of config.toml."""
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


def cni_configuration(layout: Layout, subnets: Sequence[str]) -> str:
    """A routed (ptp) pod network: no bridge, so services work without br_netfilter.

    A pod gets one address of each subnet: IPv4's, and IPv6's where there is one.
    """
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
                    "ranges": [[{"subnet": subnet}] for subnet in subnets],
                    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}][: len(subnets)],
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
    subnets = (POD_CIDR, POD_CIDR_V6) if netns.has_ipv6() else (POD_CIDR,)
    cni.write_text(cni_configuration(layout, subnets))
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
