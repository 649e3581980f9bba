"""The pod network: how the CNI plugins are configured, and what they leave on the machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from kotatsu_node.layout import NETNS, POD_CIDR, POD_CIDR_V6, Layout
from kotatsu_node.network import netns

# libcni keeps its results here whatever the configuration says.
_RESULTS = Path("/var/lib/cni/results")
_PLUGIN = "kotatsu-ptp"
# The plugin waits until duplicate address detection has settled, and a namespace inherits no IPv6
# settings. Nobody else is on the link, so the kernel need not ask.
_SCRIPT = """\
#!/bin/sh
if [ "$CNI_COMMAND" = ADD ]; then
  nsenter --net="$CNI_NETNS" sh -c 'echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad' </dev/null
fi
exec {plugins}/ptp
"""


def subnets() -> tuple[str, ...]:
    """The networks that a pod gets an address of each: IPv4's, and IPv6's where there is one."""
    return (POD_CIDR, POD_CIDR_V6) if netns.has_ipv6() else (POD_CIDR,)


def configuration(layout: Layout, subnets: Sequence[str]) -> str:
    """A routed (ptp) pod network: no bridge, so services work without br_netfilter."""
    network = {
        # From 1.1.0 on containerd asks the plugins for their status and to collect garbage too.
        "cniVersion": "0.4.0",
        "name": NETNS,
        "plugins": [
            {
                "type": _PLUGIN if len(subnets) > 1 else "ptp",
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


def write(layout: Layout, plugins: Path) -> None:
    """Write the network's configuration, and our own plugin before the ones in `plugins`."""
    directory = layout.cni_configuration
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "10-kotatsu.conflist").write_text(configuration(layout, subnets()))
    layout.cni_plugins.mkdir(parents=True, exist_ok=True)
    script = layout.cni_plugins / _PLUGIN
    script.write_text(_SCRIPT.format(plugins=plugins))
    script.chmod(0o755)


def remove_results() -> None:
    """Forget the network results of our pods, which libcni keeps in a shared directory."""
    for file in _RESULTS.glob(f"{NETNS}-*-eth0"):
        file.unlink(missing_ok=True)
