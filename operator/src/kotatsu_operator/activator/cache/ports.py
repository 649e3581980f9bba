"""This activator's own addresses, and the TCP ports of a Service. Pure.

A port keeps its identity when the Service is edited. The name may change: a Service with one port
need not name it, and must name it when a second port is added. Clients connect to the number.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kotatsu_operator.kube.objects import Object


@dataclass(frozen=True)
class Port:
    """A port of a Service: its name (may be empty), its number and the target port of the pods."""

    name: str = ""
    number: int = 0
    """0 if only the name is known."""
    target: str | int = ""


UNKNOWN = Port()


def ports_of(service: Object | None) -> list[Port]:
    return [
        Port(port.get("name", ""), port["port"], port.get("targetPort", port["port"]))
        for port in (service or {}).get("spec", {}).get("ports") or ()
        if port.get("protocol", "TCP") == "TCP"
    ]


def successor(port: Port, ports: Iterable[Port]) -> Port | None:
    """The current port with the same number, or else the same name; None if it is gone."""
    found = list(ports)
    numbered = (p for p in found if p.number == port.number)
    return next(numbered, None) or next((p for p in found if p.name == port.name), None)


def successors(known: Sequence[Port], ports: Sequence[Port]) -> Mapping[Port, Port]:
    """Which of the known ports becomes which current port, each at most once."""
    by_number = {p.number: p for p in known if p.number}
    found = {by_number[p.number]: p for p in ports if p.number in by_number}
    taken = set(found.values())
    by_name = {p.name: p for p in known if p not in found}
    return found | {by_name[p.name]: p for p in ports if p not in taken and p.name in by_name}


FAMILIES = ("IPv4", "IPv6")


def family_of(ip: str) -> str:
    """The address family of an address, as Services and EndpointSlices name it."""
    return "IPv6" if ":" in ip else "IPv4"


@dataclass(frozen=True)
class PodIdentity:
    """The activator's own pod."""

    namespace: str
    pod: str
    uid: str
    ips: tuple[str, ...]
    """The pod's addresses, at most one per family, the primary one first."""
    node: str

    def address(self, family: str) -> str | None:
        """The pod's address of a family (IPv4 or IPv6); None without one."""
        return next((ip for ip in self.ips if family_of(ip) == family), None)
