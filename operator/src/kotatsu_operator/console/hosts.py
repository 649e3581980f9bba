"""The host names that the console accepts, against DNS rebinding.

A web page can point its own name at 127.0.0.1 or at a pod, and a browser then lets its scripts read
everything. Such a request has the page's name in its Host header. IP addresses are accepted: DNS
cannot redirect them.
"""

import re
from collections.abc import Collection
from ipaddress import ip_address

from fastapi.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

SERVICE = "kotatsu-console"
_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]]+))(?::[0-9]*)?")


def own_names(namespace: str) -> frozenset[str]:
    """The names of the console's Service, as the pods of the cluster use them."""
    inside = f"{SERVICE}.{namespace}"
    return frozenset((SERVICE, inside, f"{inside}.svc", f"{inside}.svc.cluster.local"))


def name_of(host: str) -> str:
    """The name or address in a Host header without the port; empty if the header is invalid."""
    found = _AUTHORITY.fullmatch(host.strip().lower())
    return "" if found is None else (found[1] or found[2]).removesuffix(".")


def is_known(host: str, names: Collection[str]) -> bool:
    """Whether the console accepts a Host header: localhost, any IP address, or one of `names`."""
    name = name_of(host)
    return name == "localhost" or name in names or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


class KnownHosts:
    """Middleware that rejects requests for any other host with 421 and a sentence."""

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app, self._names = app, frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the Host header, then pass the request on."""
        if scope["type"] == "http":
            hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
            if len(hosts) != 1 or not is_known(hosts[0], self._names):
                await _refusal(hosts)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _refusal(hosts: list[str]) -> PlainTextResponse:
    name = name_of(hosts[0])[:253] if len(hosts) == 1 else ""
    asked = f"not {name!r}" if name else "and a request needs one Host header"
    return PlainTextResponse(
        f"The console accepts localhost, IP addresses and its Service's names, {asked}. "
        "For another name, add it to the chart value console.hosts.\n",
        421,
        {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"},
    )
