"""A real Prometheus Operator, and a Prometheus that it makes as kube-prometheus-stack asks for it.

The Operator is a process beside the cluster. What it makes runs in the cluster, with nothing in it
changed: the Prometheus pod, the reloader of its configuration, its volumes and discovery. Only the
image is of our making, since none can be pulled: it holds the two programs as they were built here.
"""

import gzip
import shutil
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml
from e2e import peer
from e2e.kit import Kubectl, Object

from kotatsu_node import Node
from kotatsu_node.build import peers
from kotatsu_node.cluster.control_plane import free_ports

IMAGE = "localhost/e2e-prometheus:built"
DOCKERFILE = """\
FROM scratch
COPY prometheus prometheus-config-reloader /bin/
ENTRYPOINT ["/bin/prometheus"]
"""
ACCOUNT = "prometheus"


@dataclass(frozen=True)
class Operator:
    """Questions to a running Operator."""

    address: str

    def judge(self, rule: Object) -> Object:
        """What its admission webhook says of a PrometheusRule."""
        resource = {
            "group": "monitoring.coreos.com",
            "version": "v1",
            "resource": "prometheusrules",
        }
        review = {
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "1",
                "kind": {"group": resource["group"], "version": "v1", "kind": "PrometheusRule"},
                "resource": resource,
                "operation": "CREATE",
                "object": rule,
            },
        }
        url = f"{self.address}/admission-prometheusrules/validate"
        answer = httpx.post(url, json=review, trust_env=False)
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["response"])


@contextmanager
def operating(folder: Path) -> Iterator[Operator]:
    """Bring the Operator's API into the cluster, and run it; both go in the end.

    Nothing else may run beside this: every chart that is installed meanwhile notices the API.
    """
    program = peer.built("prometheus-operator", folder)
    _build_image(folder, program.with_name("prometheus-config-reloader"))
    # As they were published: the ones that the chart of kube-prometheus-stack brings too.
    published = peers.module_sources(
        "prometheus-operator", "github.com/prometheus-operator/prometheus-operator"
    )
    crds = ("-f", str(published / "example/prometheus-operator-crd"))
    kubectl = Kubectl("default")
    kubectl("apply", "--server-side", *crds)
    try:
        kubectl("wait", "--for=condition=Established", "--timeout=60s", *crds)
        (port,) = free_ports(1)
        address = f"127.0.0.1:{port}"
        arguments = (
            f"--web.listen-address={address}",
            f"--prometheus-config-reloader={IMAGE}",
            # As kube-prometheus-stack has it.
            "--config-reloader-cpu-limit=0",
        )
        with peer.running(program, *arguments, folder=folder, ready=f"http://{address}/healthz"):
            yield Operator(f"http://{address}")
    finally:
        kubectl("delete", "--ignore-not-found", *crds)


def _build_image(folder: Path, reloader: Path) -> None:
    context = folder / "image"
    context.mkdir()
    for program in (peer.built("prometheus", folder), reloader):
        shutil.copy(program, context)
    dockerfile = folder / "Dockerfile"
    dockerfile.write_text(DOCKERFILE)
    Node.open().build(IMAGE, dockerfile, context)


def prometheus(name: str, release: str, replicas: int = 1) -> Object:
    """A Prometheus whose selectors are the defaults of a kube-prometheus-stack of this release.

    Rules are evaluated more often than by default.
    """
    selectors: Object = {}
    for what in ("podMonitor", "serviceMonitor", "probe", "rule"):
        selectors[f"{what}NamespaceSelector"] = {}
        selectors[f"{what}Selector"] = {"matchLabels": {"release": release}}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "Prometheus",
        "metadata": {"name": name},
        "spec": selectors
        | {
            "image": IMAGE,
            "imagePullPolicy": "IfNotPresent",
            "replicas": replicas,
            "evaluationInterval": "5s",
            "serviceAccountName": ACCOUNT,
            "securityContext": {
                "runAsGroup": 2000,
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "fsGroup": 2000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        },
    }


def scrape_jobs(kubectl: Kubectl, name: str) -> set[str]:
    """The jobs in the configuration that the Operator has generated for a Prometheus."""
    secret = kubectl.get("secret", f"prometheus-{name}")
    text = gzip.decompress(b64decode(secret["data"]["prometheus.yaml.gz"]))
    return {job["job_name"] for job in yaml.safe_load(text)["scrape_configs"]}


def rule_groups(kubectl: Kubectl, name: str) -> set[str]:
    """The groups of rules that the Operator has generated for a Prometheus."""
    found = kubectl.items("configmaps", **{"prometheus-name": name})
    files = [text for one in found for text in (one.get("data") or {}).values()]
    return {group["name"] for text in files for group in yaml.safe_load(text)["groups"]}
