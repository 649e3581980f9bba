"""Write the files that the components read: kubeconfigs and component configurations."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from kotatsu_node import components, containerd
from kotatsu_node.layout import API_PORT, NODE_IP, Layout

CONTEXT = "kotatsu-node"
API_URL = f"https://{NODE_IP}:{API_PORT}"
_CLIENTS = ("admin", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet")


def write(layout: Layout, kube: Path) -> None:
    """Write every configuration file; the certificates must be there."""
    layout.config.mkdir(parents=True, exist_ok=True)
    layout.config.chmod(0o700)
    setting = components.Setting(layout, kube)
    for client in _CLIENTS:
        _write_private(
            layout.config / f"{client}.kubeconfig", json.dumps(kubeconfig(layout.pki, client))
        )
    for name, content in (
        ("kube-proxy.json", components.proxy_configuration(setting)),
        ("kubelet.json", components.kubelet_configuration(setting)),
    ):
        (layout.config / name).write_text(json.dumps(content, indent=2))
    containerd.write_configuration(layout)


def kubeconfig(pki: Path, client: str) -> dict[str, object]:
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
                    "server": API_URL,
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


def _write_private(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)
