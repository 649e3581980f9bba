"""This activator's own pod, and address families."""

from dataclasses import dataclass

FAMILIES = ("IPv4", "IPv6")


def family_of(ip: str) -> str:
    """The family of an address, as Services and EndpointSlices call it."""
    return "IPv6" if ":" in ip else "IPv4"


@dataclass(frozen=True)
class PodIdentity:
    """This activator's pod."""

    namespace: str
    pod: str
    uid: str
    ips: tuple[str, ...]
    """Addresses of the pod, at most one a family, the main one first."""
    node: str

    def address(self, family: str) -> str | None:
        """The address of a family (IPv4 or IPv6); None when the pod has none of it."""
        return next((ip for ip in self.ips if family_of(ip) == family), None)
