"""The command line of each component."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kotatsu_node.layout import (
    API_PORT,
    CLUSTER_DOMAIN,
    NODE_IP,
    NODE_IP_V6,
    NODE_NAME,
    SERVICE_CIDR,
    SERVICE_CIDR_V6,
    Layout,
)
from kotatsu_node.network import netns

# In the order of starting; ending goes the other way round.
ORDER = (
    "etcd",
    "containerd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
)

_ETCD = "http://127.0.0.1:2379"


def both_families(v4: str, v6: str) -> str:
    """What a component is told of both: the IPv4 one alone where there is no IPv6."""
    return f"{v4},{v6}" if netns.has_ipv6() else v4


@dataclass(frozen=True)
class Setting:
    """What the command lines are made from: where things are, and the directory of programs."""

    layout: Layout
    kube: Path

    def pki(self, name: str) -> str:
        """Path of a certificate or key."""
        return str(self.layout.pki / name)

    def kubeconfig(self, component: str) -> str:
        """Path of a component's kubeconfig."""
        return str(self.layout.config / f"{component}.kubeconfig")


def command(name: str, setting: Setting) -> list[str]:
    """The program and its arguments for a component; KeyError for an unknown name."""
    return [str(setting.kube / name), *_ARGUMENTS[name](setting)]


def _etcd(setting: Setting) -> list[str]:
    return [
        "--name=kotatsu",
        f"--data-dir={setting.layout.etcd}",
        f"--listen-client-urls={_ETCD}",
        f"--advertise-client-urls={_ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--initial-advertise-peer-urls=http://127.0.0.1:2380",
        "--initial-cluster=kotatsu=http://127.0.0.1:2380",
        # The data is thrown away with the node, so it need not survive a power cut.
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _containerd(setting: Setting) -> list[str]:
    return ["--config", str(setting.layout.config / "containerd.toml")]


def _apiserver(setting: Setting) -> list[str]:
    pki = setting.pki
    return [
        f"--etcd-servers={_ETCD}",
        f"--secure-port={API_PORT}",
        # Not loopback, or Service `kubernetes` gets no endpoint.
        f"--advertise-address={NODE_IP}",
        f"--service-cluster-ip-range={both_families(SERVICE_CIDR, SERVICE_CIDR_V6)}",
        "--allow-privileged=true",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--client-ca-file={pki('ca.crt')}",
        f"--tls-cert-file={pki('apiserver.crt')}",
        f"--tls-private-key-file={pki('apiserver.key')}",
        f"--service-account-issuer=https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
        f"--service-account-key-file={pki('service-account.pub')}",
        f"--service-account-signing-key-file={pki('service-account.key')}",
        f"--kubelet-certificate-authority={pki('ca.crt')}",
        f"--kubelet-client-certificate={pki('apiserver-kubelet-client.crt')}",
        f"--kubelet-client-key={pki('apiserver-kubelet-client.key')}",
        # By address: nothing resolves the node's name for exec and logs.
        "--kubelet-preferred-address-types=InternalIP",
        # Aggregated APIs (metrics adapters).
        f"--requestheader-client-ca-file={pki('front-proxy-ca.crt')}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={pki('front-proxy-client.crt')}",
        f"--proxy-client-key-file={pki('front-proxy-client.key')}",
        # Open watches would hold the end up for a minute.
        "--shutdown-watch-termination-grace-period=1s",
        f"--cert-dir={setting.layout.run / 'apiserver'}",
        "--profiling=false",
    ]


def _controller_manager(setting: Setting) -> list[str]:
    pki, kubeconfig = setting.pki, setting.kubeconfig("kube-controller-manager")
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={pki('service-account.key')}",
        f"--root-ca-file={pki('ca.crt')}",
        f"--cluster-signing-cert-file={pki('ca.crt')}",
        f"--cluster-signing-key-file={pki('ca.key')}",
        f"--cert-dir={setting.layout.run / 'controller-manager'}",
        "--leader-elect=false",
        # At the usual 20 requests a second its forty controllers take five seconds to start.
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        # Usually 50 s. After a longer outage of the API server it would call every pod of the only
        # node NotReady, and Services would lead nowhere, until it has heard of the kubelet again.
        "--node-monitor-grace-period=5m",
        "--profiling=false",
    ]


def _scheduler(setting: Setting) -> list[str]:
    kubeconfig = setting.kubeconfig("kube-scheduler")
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--cert-dir={setting.layout.run / 'scheduler'}",
        "--leader-elect=false",
        "--profiling=false",
    ]


def _proxy(setting: Setting) -> list[str]:
    return [f"--config={setting.layout.config / 'kube-proxy.json'}"]


def _kubelet(setting: Setting) -> list[str]:
    return [
        f"--config={setting.layout.config / 'kubelet.json'}",
        f"--kubeconfig={setting.kubeconfig('kubelet')}",
        f"--root-dir={setting.layout.kubelet}",
        f"--cert-dir={setting.layout.run / 'kubelet'}",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={both_families(NODE_IP, NODE_IP_V6)}",
    ]


_ARGUMENTS: Mapping[str, Callable[[Setting], list[str]]] = {
    "etcd": _etcd,
    "containerd": _containerd,
    "kube-apiserver": _apiserver,
    "kube-controller-manager": _controller_manager,
    "kube-scheduler": _scheduler,
    "kube-proxy": _proxy,
    "kubelet": _kubelet,
}
