"""NetworkPolicies: whose clients they limit, and why a pool cannot have shared activators then."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kotatsu_operator.core.decide.refusal import Refusal
from kotatsu_operator.core.formats import table, tables
from kotatsu_operator.core.objects import port_number, selector_view, selects
from kotatsu_operator.core.pool.spec import PoolSpec
from kotatsu_operator.core.protocol import SHARED_ANNOTATION

Port = str | int
"""The port of a pod, by name or number."""


@dataclass(frozen=True)
class OpenPorts:
    """Ports to which a NetworkPolicy admits every client."""

    first: Port | None = None
    """A port, or the first of a range; None: all of them."""
    last: int | None = None
    """The last port of the range; None: the first is the only one."""

    def has(self, port: Port, numbers: Mapping[str, int]) -> bool:
        """Whether a port is one of them. `numbers` are those of the pod's named ports."""
        if self.first is None:
            return True
        first, wanted = _number(self.first, numbers), _number(port, numbers)
        if self.last is None or not (isinstance(first, int) and isinstance(wanted, int)):
            return first == wanted
        return first <= wanted <= self.last


def _number(port: Port, numbers: Mapping[str, int]) -> Port:
    """The number of a port, or its name if no container has it."""
    found = port_number(numbers, port)
    return port if found is None else found


@dataclass(frozen=True)
class IngressPolicy:
    """The relevant fields of a NetworkPolicy that limits which clients reach pods."""

    namespace: str
    name: str
    pods: Mapping[str, Any]
    """The label selector of the pods."""
    open_at: Sequence[OpenPorts] = ()
    """TCP ports to which it admits every client."""
    namespaces: Sequence[Mapping[str, Any]] = ()
    """Label selectors of the namespaces from which it admits pods, if not all of them."""
    admits_own: bool = False
    """Whether it admits pods of its own namespace."""
    admits_addresses: bool = False
    """Whether it admits a range of addresses: which pods have them is unknown."""

    @property
    def admits_all(self) -> bool:
        """Whether it admits every client to more than single ports."""
        return any(ports.first is None or ports.last is not None for ports in self.open_at)


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
        open_at=tuple(OpenPorts(port.get("port"), port.get("endPort")) for port in ports),
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
    """Activators that namespaces share, from one of them."""

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
    numbers: Mapping[str, int],
    shared: Shared,
) -> Refusal | None:
    """Reject a pool whose pods not every client may reach: through shared activators, all could.

    `policies` are those that limit the clients of its pods, whose TCP ports `service` leads to;
    `numbers` are those of their named ports. Policies add up: what one admits is admitted.
    """
    given = tables(table(table(service).get("spec")).get("ports"))
    ports = [p.get("targetPort") or p["port"] for p in given if p.get("protocol", "TCP") == "TCP"]
    opened = [one for policy in policies for one in policy.open_at]
    if not policies or all(any(one.has(port, numbers) for one in opened) for port in ports):
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
        f'`activator.own`), or accept it (annotation {SHARED_ANNOTATION}: "true" of Namespace '
        f"{namespace}){also}",
    )


def _may_admit(policy: IngressPolicy, shared: Shared) -> bool:
    """Whether a policy may admit the activators: not if it admits no pod of their namespace."""
    if policy.admits_addresses or (policy.admits_own and policy.namespace == shared.home):
        return True
    return any(selects(of, shared.labels) for of in policy.namespaces)
