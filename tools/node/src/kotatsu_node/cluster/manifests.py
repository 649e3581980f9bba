"""What is installed into every new cluster: its DNS, a storage class and some volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kotatsu_node.layout import CLUSTER_DOMAIN, DNS_IP, PAUSE_IMAGE

VOLUMES = 8
STORAGE_CLASS = "standard"

Object = dict[str, Any]

# No forward plugin: a pod here has no way out, so a name of the outside fails at once
# instead of after a timeout.
# Not 53: the container runs as nobody, who may not listen there.
_DNS_PORT = 1053
_COREFILE = f"""\
.:{_DNS_PORT} {{
    errors
    health
    ready
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        pods insecure
        ttl 5
    }}
    cache 5
    loadbalance
    reload
}}
"""


def volume_name(number: int) -> str:
    """The name of one of the prepared volumes, and of its directory."""
    return f"volume-{number}"


def storage(volumes: Path) -> list[Object]:
    """The default StorageClass and its hostPath PersistentVolumes of 1Gi each."""
    storage_class: Object = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        # Nothing makes volumes on demand: the ones below are all there are.
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Retain",
    }
    return [
        storage_class,
        *(_volume(volume_name(number), volumes) for number in range(1, VOLUMES + 1)),
    ]


def _volume(name: str, volumes: Path) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "storageClassName": STORAGE_CLASS,
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(volumes / name), "type": "Directory"},
        },
    }


def dns(kube: Path) -> list[Object]:
    """CoreDNS: its account and rights, Corefile, Deployment and the Service at DNS_IP."""
    account = {"name": "coredns", "namespace": "kube-system"}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "system:coredns"},
            "rules": [
                {
                    "apiGroups": [""],
                    "resources": ["services", "pods", "namespaces"],
                    "verbs": ["list", "watch"],
                },
                {
                    "apiGroups": ["discovery.k8s.io"],
                    "resources": ["endpointslices"],
                    "verbs": ["list", "watch"],
                },
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "system:coredns"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "system:coredns",
            },
            "subjects": [{"kind": "ServiceAccount", **account}],
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": account,
            "data": {"Corefile": _COREFILE},
        },
        _dns_deployment(kube),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": "kube-dns",
                "namespace": "kube-system",
                "labels": {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"},
            },
            "spec": {
                "clusterIP": DNS_IP,
                "selector": {"k8s-app": "kube-dns"},
                "ports": [
                    {"name": "dns", "port": 53, "targetPort": "dns", "protocol": "UDP"},
                    {"name": "dns-tcp", "port": 53, "targetPort": "dns-tcp", "protocol": "TCP"},
                ],
            },
        },
    ]


def _dns_deployment(kube: Path) -> Object:
    container: Object = {
        "name": "coredns",
        # The program is the node's own, mounted: an image around it would weigh 145 MB more.
        "image": PAUSE_IMAGE,
        "imagePullPolicy": "Never",
        "command": ["/kube/coredns", "-conf", "/etc/coredns/Corefile"],
        "ports": [
            {"name": "dns", "containerPort": _DNS_PORT, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": _DNS_PORT, "protocol": "TCP"},
        ],
        # As kubeadm has it. Without a request it gets no CPU where pods use all of it.
        "resources": {"requests": {"cpu": "100m", "memory": "70Mi"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "kube", "mountPath": "/kube", "readOnly": True},
            {"name": "config", "mountPath": "/etc/coredns", "readOnly": True},
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "coredns", "namespace": "kube-system"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"k8s-app": "kube-dns"}},
            "template": {
                "metadata": {"labels": {"k8s-app": "kube-dns"}},
                "spec": {
                    "serviceAccountName": "coredns",
                    "priorityClassName": "system-cluster-critical",
                    "dnsPolicy": "Default",
                    "containers": [container],
                    "volumes": [
                        {"name": "kube", "hostPath": {"path": str(kube), "type": "Directory"}},
                        {"name": "config", "configMap": {"name": "coredns"}},
                    ],
                },
            },
        },
    }
