"""A real Traefik beside the cluster: Ingress controller, and Gateway API data plane."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e import peer
from e2e.foreign import account, applied, published, rule
from e2e.kit import Kubectl, Object
from e2e.prometheus import kubeconfig_for

from kotatsu_node.cluster.control_plane import free_ports

NAME = "traefik"
MODULE = "github.com/traefik/traefik/v3"
GATEWAY = "gateway.networking.k8s.io"


@dataclass(frozen=True)
class Traefik:
    """Where it listens, and what Ingresses and routes name to be served."""

    ingress: str
    """Address of what comes by an Ingress."""

    gateway: str
    """Address of what comes by a route of the Gateway."""

    guarded: str
    """Address of an entry point that an Ingress has to ask for (`guarded`)."""

    ingress_class: str
    gateway_name: str = "front"


@contextmanager
def traefik(kubectl: Kubectl, folder: Path) -> Iterator[Traefik]:
    """Run Traefik for the Ingresses, Middlewares and routes of one namespace."""
    program = peer.built(NAME, folder)
    web, gateway, guarded, ping = free_ports(4)
    made = Traefik(
        ingress=f"127.0.0.1:{web}",
        gateway=f"127.0.0.1:{gateway}",
        guarded=f"127.0.0.1:{guarded}",
        ingress_class=f"{kubectl.namespace}-{NAME}",
    )
    with ExitStack() as stack:
        stack.enter_context(applied(kubectl, definitions()))
        stack.enter_context(applied(kubectl, [*rights(kubectl), *classes(made)]))
        kubectl.apply(front(made, gateway))
        (folder / "traefik.kubeconfig").write_text(kubeconfig_for(kubectl, NAME))
        places = {"web": made.ingress, "gateway": made.gateway, "guarded": made.guarded,
                  "traefik": f"127.0.0.1:{ping}"}  # fmt: skip
        arguments = [
            *(f"--entrypoints.{name}.address={place}" for name, place in places.items()),
            "--entrypoints.web.asdefault=true",
            *(f"--providers.{name}.namespaces={kubectl.namespace}"
              for name in ("kubernetesingress", "kubernetescrd", "kubernetesgateway")),
            "--providers.kubernetescrd.disableclusterscoperesources=true",
            "--ping=true",
            "--accesslog=true",
            "--global.checknewversion=false",
            "--global.sendanonymoususage=false",
        ]  # fmt: skip
        ready = f"http://127.0.0.1:{ping}/ping"
        file = str(folder / "traefik.kubeconfig")
        stack.enter_context(
            peer.running(program, *arguments, folder=folder, ready=ready, KUBECONFIG=file)
        )
        yield made


def definitions() -> list[Object]:
    """The CRDs of Traefik and of the Gateway API."""
    traefiks = "docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml"
    found = published(NAME, MODULE, traefiks)
    found += published(NAME, "sigs.k8s.io/gateway-api", "config/crd/standard/*.yaml")
    return [obj for obj in found if obj["kind"] == "CustomResourceDefinition"]


def rights(kubectl: Kubectl) -> list[Object]:
    """The rights of Traefik's own documentation, without those that nothing here uses."""
    routes = ["gateways", "httproutes", "grpcroutes", "tlsroutes", "referencegrants",
              "backendtlspolicies"]  # fmt: skip
    in_namespace = [
        rule("", "services", "secrets", "configmaps"),
        rule("discovery.k8s.io", "endpointslices"),
        rule("networking.k8s.io", "ingresses"),
        rule("traefik.io", "*"),
        rule(GATEWAY, *routes),
        rule(GATEWAY, *(f"{kind}/status" for kind in routes), verbs=["update"]),
    ]
    in_cluster = [
        rule("", "namespaces", "nodes"),
        rule("networking.k8s.io", "ingressclasses"),
        rule(GATEWAY, "gatewayclasses"),
        rule(GATEWAY, "gatewayclasses/status", verbs=["update"]),
    ]
    return account(kubectl, NAME, in_namespace, in_cluster)


def classes(made: Traefik) -> list[Object]:
    """Its IngressClass and its GatewayClass."""
    name = made.ingress_class
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {"name": name},
            "spec": {"controller": "traefik.io/ingress-controller"},
        },
        {
            "apiVersion": f"{GATEWAY}/v1",
            "kind": "GatewayClass",
            "metadata": {"name": name},
            "spec": {"controllerName": "traefik.io/gateway-controller"},
        },
    ]


def front(made: Traefik, port: int) -> Object:
    """The Gateway. Traefik serves a listener at the entry point that has its port."""
    return {
        "apiVersion": f"{GATEWAY}/v1",
        "kind": "Gateway",
        "metadata": {"name": made.gateway_name},
        "spec": {
            "gatewayClassName": made.ingress_class,
            "listeners": [{"name": "http", "protocol": "HTTP", "port": port}],
        },
    }
