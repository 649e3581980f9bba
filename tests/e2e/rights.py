"""The chart's accounts on a control plane of their own, whose audit log tells what each asked for.

Operator, activator and the Jobs of Helm's hooks run here as processes, with exactly the rights that
the chart gives them: the API server judges by the rendered Roles.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import needs
import yaml
from chart.kit import Rendered, crd, render
from e2e.kit import Kubectl, Object

from kotatsu_node.cluster.control_plane import ADMINISTRATORS, ControlPlane, free_ports
from kotatsu_operator.core.protocol import (
    ACTIVATOR_LABELS,
    MANAGED_BY_LABEL,
    NATIVE,
    SERVICE_LABEL,
    SHARD_LABEL,
    shared_set,
)

HERE, THERE = "here", "there"
"""Two namespaces; the release is in the first."""

KNATIVE = "knative-serving"
"""Where Knative would run, with its defaults."""

OPERATOR, ACTIVATOR, UNINSTALL, CRDS = (
    f"system:serviceaccount:{HERE}:kotatsu-{part}"
    for part in ("operator", "activator", "uninstall", "crds")
)
ACCOUNTS = (OPERATOR, ACTIVATOR, UNINSTALL, CRDS)
KUBELET = "kubelet"
USERS = {KUBELET: ADMINISTRATORS} | dict.fromkeys(ACCOUNTS, "system:serviceaccounts")

ACTIVATORS = "kotatsu-activators"
"""The Service with the addresses of shared activators."""

POLICIES = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")

_DENIED_BY_A_POLICY = 422

Right = tuple[str, str, str, str]
"""API group, resource (with its subresource), name of the object or empty for any, verb."""


def chart(*arguments: str) -> Rendered:
    """The platform as the accounts are given their rights by it; `arguments` are helm's."""
    on = ("parked.enabled=true", "sets.enabled=true", f"activator.own.{THERE}.replicas=1")
    given = ("--api-versions=serving.knative.dev/v1/Service", *(f"--set={value}" for value in on))
    return render("kotatsu", None, *given, *arguments)


def expand(rules: Iterable[Object]) -> set[Right]:
    """Rules as single rights."""
    return {
        (group, resource, name, verb)
        for rule in rules
        for group in rule.get("apiGroups", ())
        for resource in rule.get("resources", ())
        for name in rule.get("resourceNames") or ("",)
        for verb in rule["verbs"]
    }


def given(rendered: Rendered, account: str, namespace: str) -> set[Right]:
    """The rights that the chart gives an account in a namespace."""
    _, _, home, name = account.split(":")
    found: set[Right] = set()
    for binding in rendered.of("RoleBinding", "ClusterRoleBinding"):
        there = binding["metadata"].get("namespace", namespace)
        subjects = {(s["namespace"], s["name"]) for s in binding["subjects"]}
        if there == namespace and (home, name) in subjects:
            role = rendered.one(binding["roleRef"]["kind"], binding["roleRef"]["name"], there)
            found |= expand(role["rules"])
    return found


@dataclass(frozen=True)
class Asked:
    """One request of an account."""

    account: str
    right: Right
    namespace: str
    allowed: bool
    """Whether RBAC and the admission policies let it pass."""


def asked(log: Path) -> list[Asked]:
    """What the accounts have asked the API server for, of resources."""
    found = []
    for line in log.read_text().splitlines():
        event = json.loads(line)
        ref = event.get("objectRef")
        if ref is None or "resource" not in ref or event["user"]["username"] not in ACCOUNTS:
            continue
        resource = "/".join(x for x in (ref["resource"], ref.get("subresource")) if x)
        right = (ref.get("apiGroup", ""), resource, ref.get("name", ""), event["verb"])
        decision = (event.get("annotations") or {}).get("authorization.k8s.io/decision")
        namespace = ref.get("namespace", "")
        is_denied = (event.get("responseStatus") or {}).get("code") == _DENIED_BY_A_POLICY
        allowed = decision == "allow" and not is_denied
        found.append(Asked(event["user"]["username"], right, namespace, allowed))
    return found


def unused(rights: set[Right], requests: Iterable[Asked]) -> set[Right]:
    """Those of the rights that no request has needed."""
    used = {request.right for request in requests}
    anything = {(group, resource, "", verb) for group, resource, _, verb in used}
    return {right for right in rights if right not in used | anything}


def install(plane: ControlPlane, *arguments: str) -> Kubectl:
    """The CRD, the namespaces, and of the chart what gives rights, and what limits them.

    `arguments` are helm's.

    Returns kubectl in the first namespace.
    """
    program = (str(plane.kubectl), f"--kubeconfig={plane.admin}")
    kubectl = Kubectl(HERE, *program)
    kubectl("create", "namespace", HERE)
    kubectl("create", "namespace", THERE)
    kubectl("create", "namespace", KNATIVE)
    defaults = ("create", "configmap", "config-autoscaler", "--from-literal=min-scale=0")
    Kubectl(KNATIVE, *program)(*defaults)
    crds = (crd(), crd("warmpoolsets"))
    kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(crds))
    kinds = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "ConfigMap")
    rendered = chart(*arguments)
    activators = rendered.one("Service", ACTIVATORS)
    for obj in (activators, *rendered.of(*kinds, "PriorityClass", *POLICIES)):
        there = Kubectl(obj["metadata"].get("namespace", HERE), *program)
        there("apply", "--server-side", "-f", "-", stdin=json.dumps(obj))
    return kubectl


@contextlib.contextmanager
def process(
    plane: ControlPlane, account: str, *command: str, log: Path, **variables: object
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program of ours as an account; ends it with TERM and shows its log if it failed."""
    environment = os.environ | {
        "KUBECONFIG": str(plane.users[account]),
        "KOTATSU_HOST": "127.0.0.1",
        "KOTATSU_LOG_LEVEL": "debug",
        **{f"KOTATSU_{name.upper()}": str(value) for name, value in variables.items()},
    }
    program = Path(sys.executable).with_name(command[0])
    with log.open("wb") as output:
        child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", program, *command[1:]],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield child
        assert child.poll() in (None, 0), log.read_text()[-3000:]
    finally:
        child.terminate()
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextlib.contextmanager
def activator(
    plane: ControlPlane, kubectl: Kubectl, address: str, log: Path, node: str | None = None
) -> Iterator[str]:
    """Run an activator at an address, and make the pod that it takes itself for.

    The address of its metrics.
    """
    [port] = free_ports(1)
    container = {"name": "activator", "image": "none"}
    container |= {"ports": [{"name": "metrics", "containerPort": port}]}
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "activator-1", "labels": ACTIVATOR_LABELS | {SHARD_LABEL: "0"}},
            "spec": {"containers": [container], "nodeName": node, "hostNetwork": True},
        }
    )
    # In the place of Kubernetes' controller, which the control plane does not have.
    labels = {SERVICE_LABEL: ACTIVATORS, MANAGED_BY_LABEL: NATIVE}
    kubectl.apply(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"{ACTIVATORS}-1", "labels": labels},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address]}],
        }
    )
    variables = {
        "namespace": kubectl.namespace,
        "activators": shared_set(kubectl.namespace, 0),
        "pod_name": "activator-1",
        "pod_uid": kubectl.get("pod", "activator-1")["metadata"]["uid"],
        "pod_ips": address,
        "node_name": node or "node",
        "port": port,
        "drain_timeout": "5s",
    }
    with process(plane, ACTIVATOR, "kotatsu-activator", log=log, **variables):
        yield f"http://127.0.0.1:{port}/metrics"


def own_address() -> str:
    """An address of this machine for an EndpointSlice. Skips where there is only loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
        except OSError:
            needs.missing("an address but loopback", "EndpointSlices take none of that")
        return str(probe.getsockname()[0])


def review(kubectl: Kubectl, account: str, namespace: str) -> set[Right]:
    """Everything that the API server lets an account do in a namespace."""
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    asking = ("create", f"--as={account}", "--validate=false", "-o", "json", "-f", "-")
    said = kubectl(*asking, stdin=json.dumps(body))
    status: dict[str, Any] = json.loads(said)["status"]
    assert status["incomplete"] is False
    return expand(status["resourceRules"])


def may(kubectl: Kubectl, account: str, questions: Iterable[tuple[str, str, str]]) -> list[bool]:
    """Whether an account may do each (verb, group/resource/subresource, namespace)."""
    reviews = []
    for verb, what, namespace in questions:
        group, resource, subresource = (*what.split("/"), "")[:3]
        attributes = {"verb": verb, "group": group, "resource": resource, "namespace": namespace}
        if subresource:
            attributes["subresource"] = subresource
        reviews.append(
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {"user": account, "resourceAttributes": attributes},
            }
        )
    body = {"apiVersion": "v1", "kind": "List", "items": reviews}
    asking = ("create", "-o", "jsonpath={.status.allowed}{'\\n'}", "-f", "-")
    return [line == "true" for line in kubectl(*asking, stdin=json.dumps(body)).split()]
