"""Parked pods from outside: what they request, their share of the CPU, and what is free."""

import json
import os
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

from e2e.kit import App, Kubectl, Object

from kotatsu_operator.core.formats import parse_quantity

FULL, SMALL = "50m", "5m"
"""What the app's template requests, and what a parked pod does by default."""


def requested(pod: Object) -> str:
    """The CPU that a pod requests."""
    return str(pod["spec"]["containers"][0]["resources"]["requests"]["cpu"])


def given(pod: Object) -> str:
    """The CPU that the kubelet has given a pod; empty before it says so."""
    for container in pod["status"].get("containerStatuses") or ():
        return str(((container.get("resources") or {}).get("requests") or {}).get("cpu", ""))
    return ""


def have(app: App, cpu: str, pods: int = 1) -> bool:
    """Whether so many pods are there, all Ready, and all request and have so much CPU."""
    return [(requested(p), given(p)) for p in app.ready_pods()] == [(cpu, cpu)] * pods


def restarts(pods: Iterable[Object]) -> dict[str, int]:
    """How often the container of each pod has been started again, by uid."""
    return {
        p["metadata"]["uid"]: sum(c["restartCount"] for c in p["status"]["containerStatuses"])
        for p in pods
    }


def weight(pod: Object) -> int:
    """The pod's share of a CPU that all want: cpu.weight, or cpu.shares with cgroup v1.

    Only where the pods' processes are this machine's own (tools/node).
    """
    uid = pod["metadata"]["uid"]
    # Unlike rglob, os.walk goes on where another pod's cgroup has just gone.
    for folder, _, files in os.walk("/sys/fs/cgroup"):
        if folder.endswith(f"/pod{uid}"):
            for name in {"cpu.weight", "cpu.shares"}.intersection(files):
                return int(Path(folder, name).read_text())
    raise AssertionError(f"no cgroup of pod {uid}")


def free_cpu(kubectl: Kubectl) -> Decimal:
    """The cores of the one node that no pod requests."""
    (node,) = kubectl.items("nodes")
    free = parse_quantity(node["status"]["allocatable"]["cpu"])
    for pod in json.loads(kubectl("get", "pods", "--all-namespaces", "-o", "json"))["items"]:
        if pod["status"].get("phase") not in ("Succeeded", "Failed"):
            for container in pod["spec"]["containers"]:
                asked = (container.get("resources") or {}).get("requests") or {}
                free -= parse_quantity(asked.get("cpu", "0"))
    return free
