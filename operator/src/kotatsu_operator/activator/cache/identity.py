"""This activator's own pod, and address families."""

from dataclasses import dataclass

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
