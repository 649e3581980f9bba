"""The container runtime: its configuration, and questions to it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from kotatsu_node import shell
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import PAUSE_IMAGE, REGISTRY, Layout

NAMESPACE = "k8s.io"


def configuration(layout: Layout, programs: Path) -> str:
    """The text of config.toml. `programs` holds the shim and the CNI plugins."""
    return f"""\
version = 3
root = "{layout.containerd}"
state = "{layout.run / "containerd"}"
imports = []
# No lowering of OOM scores where the machine itself runs in a sandbox.
oom_score = 0

[grpc]
  address = "{layout.containerd_socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{layout.containerd / "opt"}"

[plugins."io.containerd.image-verifier.v1.bindir"]
  bin_dir = "{layout.containerd / "image-verifiers"}"

[plugins."io.containerd.nri.v1.nri"]
  disable = true

[plugins."io.containerd.metadata.v1.bolt"]
  # What it holds can be made again, so it need not survive a power cut.
  no_sync = true

[plugins."io.containerd.shim.v1.manager"]
  socket_dir = "{layout.shim_sockets}"

[plugins."io.containerd.cri.v1.images"]
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{PAUSE_IMAGE}"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "{layout.registries}"

[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  cdi_spec_dirs = []

  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{layout.cni_plugins}", "{programs}"]
    conf_dir = "{layout.cni_configuration}"
    use_internal_loopback = true

  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    runtime_path = "{programs / "containerd-shim-runc-v2"}"

    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      Root = "{layout.run / "runc"}"

[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
"""


def write(layout: Layout, programs: Path) -> None:
    """Write config.toml, and how to reach the one registry that it may ask over plain HTTP."""
    (layout.config / "containerd.toml").write_text(configuration(layout, programs))
    registry = layout.registries / REGISTRY
    registry.mkdir(parents=True, exist_ok=True)
    (registry / "hosts.toml").write_text(f'server = "http://{REGISTRY}"\n')


def ctr(layout: Layout, *arguments: str | Path, check: bool = True) -> str:
    """Run `ctr` in the Kubernetes namespace and return what it printed."""
    command = ["ctr", "--address", layout.containerd_socket, "--namespace", NAMESPACE, *arguments]
    # The one that came with the containerd that runs.
    path = os.pathsep.join([str(layout.bin), os.environ.get("PATH", os.defpath)])
    return shell.call(command, check=check, timeout=300, env={"PATH": path}).stdout


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
