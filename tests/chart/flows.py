"""NetworkPolicies evaluated: whether one pod's connection reaches another, by the API's own rules.

The throwaway node's CNI ignores policies, so they are judged here: a connection passes when every
policy that selects its source for egress, and its destination for ingress, has a rule for it. What
a node's own kubelet opens always passes, and so does what no policy selects. A real agent decides
about the same connections in tests/e2e/test_network_policies.py.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from chart.kit import Object

from kotatsu_operator.core.objects import selects

NAME_LABEL = "kubernetes.io/metadata.name"


@dataclass(frozen=True)
class Peer:
    """One end of a connection: a pod, or without a namespace something outside of the cluster."""

    name: str
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    ip: str = "10.244.0.7"

    @property
    def is_pod(self) -> bool:
        """Whether selectors can match it."""
        return bool(self.namespace)


class Policies:
    """All NetworkPolicies of a cluster."""

    def __init__(self, policies: Iterable[Object]) -> None:
        self._policies = list(policies)

    def passes(self, source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
        """Whether a connection from `source` to `target` (after any Service) is let through."""
        return all(
            self._is_let(mine, other, direction, port, protocol)
            for mine, other, direction in (
                (source, target, "Egress"),
                (target, source, "Ingress"),
            )
        )

    def selecting(self, pod: Peer, direction: str) -> list[Object]:
        """The policies that a pod is subject to."""
        return [
            policy
            for policy in self._policies
            if pod.is_pod
            and policy["metadata"]["namespace"] == pod.namespace
            and direction in policy["spec"]["policyTypes"]
            and selects(policy["spec"]["podSelector"], pod.labels)
        ]

    def _is_let(self, pod: Peer, other: Peer, direction: str, port: int, protocol: str) -> bool:
        subject = self.selecting(pod, direction)
        key, peers = ("egress", "to") if direction == "Egress" else ("ingress", "from")
        return not subject or any(
            _has_port(rule.get("ports"), port, protocol)
            and _has_peer(rule.get(peers), other, pod.namespace)
            for policy in subject
            for rule in policy["spec"].get(key) or ()
        )


def _has_port(ports: list[Object] | None, port: int, protocol: str) -> bool:
    return not ports or any(
        entry.get("protocol", "TCP") == protocol
        and ("port" not in entry or entry["port"] <= port <= entry.get("endPort", entry["port"]))
        for entry in ports
    )


def _has_peer(peers: list[Object] | None, other: Peer, home: str) -> bool:
    return not peers or any(_is_peer(peer, other, home) for peer in peers)


def _is_peer(peer: Object, other: Peer, home: str) -> bool:
    if "ipBlock" in peer:
        block, ip = peer["ipBlock"], ipaddress.ip_address(other.ip)
        return ip in ipaddress.ip_network(block["cidr"]) and not any(
            ip in ipaddress.ip_network(cut) for cut in block.get("except", ())
        )
    if not other.is_pod:
        return False
    namespaces = peer.get("namespaceSelector")
    if namespaces is None:
        is_there = other.namespace == home
    else:
        is_there = selects(namespaces, {NAME_LABEL: other.namespace})
    return is_there and selects(peer.get("podSelector") or {}, other.labels)
