"""NetworkPolicies: whose clients they limit, and why a pool cannot have shared activators then."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kotatsu_operator.core.decide.refusal import Refusal
from kotatsu_operator.core.formats import table, tables
from kotatsu_operator.core.objects import selector_view, selects
from kotatsu_operator.core.pool.spec import PoolSpec
from kotatsu_operator.core.protocol import SHARED_ANNOTATION

Port = str | int
"""The port of a pod, by name or number."""


@dataclass(frozen=True)
class IngressPolicy:
    """The relevant fields of a NetworkPolicy that limits which clients reach pods."""

    namespace: str
    name: str
    pods: Mapping[str, Any]
    """The label selector of the pods."""
    admits_all: bool
    """Whether it admits every client to more than some single ports."""
    open_at: frozenset[Port] = frozenset()
    """Single ports to which it admits every client."""
    namespaces: Sequence[Mapping[str, Any]] = ()
    """Label selectors of the namespaces from which it admits pods, if not all of them."""
    admits_own: bool = False
    """Whether it admits pods of its own namespace."""
    admits_addresses: bool = False
    """Whether it admits a range of addresses: which pods have them is unknown."""


def ingress_policy(obj: Mapping[str, Any]) -> IngressPolicy | None:
    """Read a NetworkPolicy; None if it limits no ingress."""
    spec = obj.get("spec") or {}
    if "Ingress" not in (spec.get("policyTypes") or ("Ingress",)):
        return None
    rules = spec.get("ingress") or ()
    peers = [peer for rule in rules for peer in rule.get("from") or ()]
    open_rules = [rule.get("ports") or [{}] for rule in rules if not rule.get("from")]
    ports = [p for some in open_rules for p in some if p.get("protocol", "TCP") == "TCP"]
    return IngressPolicy(
        namespace=obj["metadata"]["namespace"],
        name=obj["metadata"]["name"],
        pods=selector_view(spec.get("podSelector") or {}),
        admits_all=any("port" not in port or "endPort" in port for port in ports),
        open_at=frozenset(port["port"] for port in ports if "port" in port),
        namespaces=tuple(
            selector_view(peer["namespaceSelector"])
            for peer in peers
            if peer.get("namespaceSelector") is not None
        ),
        admits_own=any(peer.keys() == {"podSelector"} for peer in peers),
        admits_addresses=any("ipBlock" in peer for peer in peers),
    )


@dataclass(frozen=True)
class Shared:
    """The activators of an install for the whole cluster, from a namespace that it serves."""

    home: str
    """Their namespace."""
    labels: Mapping[str, str]
    """Of that namespace."""
    is_accepted: bool
    """Whether the owner of the pool's namespace accepts that they pass its policies by."""


def check_isolation(
    spec: PoolSpec,
    policies: Sequence[IngressPolicy],
    service: Mapping[str, Any] | None,
    shared: Shared,
) -> Refusal | None:
    """Reject a pool whose pods not every client may reach: through shared activators, all could.

    `policies` are those that limit the clients of its pods, whose TCP ports `service` leads to.
    Policies add up: what one of them admits is admitted.
    """
    given = tables(table(table(service).get("spec")).get("ports"))
    ports = [p.get("targetPort") or p["port"] for p in given if p.get("protocol", "TCP") == "TCP"]
    open_at = frozenset[Port]().union(*(policy.open_at for policy in policies))
    if any(policy.admits_all for policy in policies) or (ports and open_at.issuperset(ports)):
        return None
    if not policies:
        return None
    namespace, of, home = policies[0].namespace, f"NetworkPolicy {policies[0].name}", shared.home
    pods = f"the pods of {spec.target.kind} {spec.target.name}"
    admit = f"admit namespace {home} (kubernetes.io/metadata.name: {home})"
    is_reached = any(_may_admit(policy, shared) for policy in policies)
    if shared.is_accepted and is_reached:
        return None
    if shared.is_accepted:
        return Refusal(
            "Isolated",
            f"{of} keeps the activators in namespace {home} from {pods}, so they could not forward "
            f"the request that wakes the pool: {admit}",
        )
    also = "" if is_reached else f", which must then also {admit}"
    return Refusal(
        "Isolated",
        f"{of} limits the clients of {pods}, but while the pool sleeps every client in the cluster "
        f"would reach it through the activators in namespace {home}: admit every client to the "
        "ports of its Service, give this namespace activators of its own (chart value "
        f'`namespaces`), or accept it (annotation {SHARED_ANNOTATION}: "true" of Namespace '
        f"{namespace}){also}",
    )


def _may_admit(policy: IngressPolicy, shared: Shared) -> bool:
    """Whether a policy may admit the activators: not if it admits no pod of their namespace."""
    if policy.admits_addresses or (policy.admits_own and policy.namespace == shared.home):
        return True
    return any(selects(of, shared.labels) for of in policy.namespaces)
