"""Write the files that the components read: kubeconfigs and component configurations."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from kotatsu_node.components import cgroups, containerd
from kotatsu_node.components.commands import Setting, both_families
from kotatsu_node.layout import (
    API_PORT,
    CLUSTER_DOMAIN,
    DNS_IP,
    NODE_IP,
    NODE_NAME,
    POD_CIDR,
    POD_CIDR_V6,
    Layout,
)
from kotatsu_node.network import cni

CONTEXT = "kotatsu-node"
PROXY_MODES = ("iptables", "nftables")
API_URL = f"https://{NODE_IP}:{API_PORT}"
_CLIENTS = ("admin", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet")


def write(layout: Layout, kube: Path, proxy_mode: str = PROXY_MODES[0]) -> None:
    """Write every configuration file; the certificates must be there."""
    layout.config.mkdir(parents=True, exist_ok=True)
    layout.config.chmod(0o700)
    setting = Setting(layout, kube)
    for client in _CLIENTS:
        _write_private(
            layout.config / f"{client}.kubeconfig", json.dumps(kubeconfig(layout.pki, client))
        )
    write_proxy(setting, "kube-proxy", NODE_NAME, proxy_mode)
    kubelet = json.dumps(kubelet_configuration(setting), indent=2)
    (layout.config / "kubelet.json").write_text(kubelet)
    containerd.write(layout, kube)
    cni.write(layout, kube)


def kubeconfig(pki: Path, client: str, server: str = API_URL) -> dict[str, object]:
    """A self-contained kubeconfig (JSON is YAML) for one client certificate."""

    def inline(name: str) -> str:
        return base64.b64encode((pki / name).read_bytes()).decode()

    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": CONTEXT,
                "cluster": {
                    "server": server,
                    "certificate-authority-data": inline("ca.crt"),
                },
            }
        ],
        "users": [
            {
                "name": client,
                "user": {
                    "client-certificate-data": inline(f"{client}.crt"),
                    "client-key-data": inline(f"{client}.key"),
                },
            }
        ],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": client}}],
        "current-context": CONTEXT,
    }


def write_proxy(setting: Setting, name: str, node: str, mode: str) -> Path:
    """Write the configuration file of one kube-proxy; returns its path."""
    file = setting.layout.config / f"{name}.json"
    file.write_text(json.dumps(proxy_configuration(setting, node, mode), indent=2))
    return file


def proxy_mode(layout: Layout) -> str:
    """The mode the node's kube-proxy is configured for."""
    try:
        mode = json.loads((layout.config / "kube-proxy.json").read_text())["mode"]
    except (OSError, ValueError, KeyError):
        return PROXY_MODES[0]
    return mode if mode in PROXY_MODES else PROXY_MODES[0]


def proxy_configuration(setting: Setting, node: str, mode: str) -> dict[str, object]:
    """The configuration file of the kube-proxy of a node."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": setting.kubeconfig("kube-proxy")},
        "clusterCIDR": both_families(POD_CIDR, POD_CIDR_V6),
        "hostnameOverride": node,
        "mode": mode,
        # OOM scores and the machine's conntrack table are not ours to change.
        "oomScoreAdj": 0,
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    }


def kubelet_configuration(setting: Setting) -> dict[str, object]:
    """The kubelet's configuration file."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": setting.pki("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": setting.pki("kubelet.crt"),
        "tlsPrivateKeyFile": setting.pki("kubelet.key"),
        "containerRuntimeEndpoint": f"unix://{setting.layout.containerd_socket}",
        "cgroupDriver": "cgroupfs",
        # Without this it ends on a machine with cgroup v1.
        "failCgroupV1": False,
        "cgroupRoot": cgroups.ROOT,
        "clusterDNS": [DNS_IP],
        "clusterDomain": CLUSTER_DOMAIN,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "maxPods": 250,
        "syncFrequency": "10s",
        "serializeImagePulls": False,
        # Images come from this machine only: one that is collected cannot be pulled again.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "enforceNodeAllocatable": [],
        "evictionHard": {},
        "podLogsDir": str(setting.layout.logs / "pods"),
        "volumePluginDir": str(setting.layout.kubelet / "volume-plugins"),
    }


def _write_private(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)
