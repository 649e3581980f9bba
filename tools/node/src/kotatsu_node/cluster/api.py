"""The few requests the tool itself makes to the API server and to the cluster's DNS."""

from __future__ import annotations

import http.client
import json
import secrets
import socket
import ssl
import struct
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from kotatsu_node.components.configuration import API_URL
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import API_SERVICE_IP, CLUSTER_DOMAIN, DNS_IP, NODE_NAME

_TIMEOUT_SECONDS = 5.0


class Api:
    """Requests as the administrator. Every failure is a NodeError."""

    def __init__(self, pki: Path) -> None:
        try:
            self._context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
            self._context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        except OSError as error:
            raise NodeError(f"the administrator's certificate cannot be read: {error}") from None

    def request(
        self, path: str, *, method: str = "GET", body: object = None, content: str = ""
    ) -> Any:
        """Send a request; the decoded JSON of the answer, or its text when it is no JSON."""
        request = urllib.request.Request(  # noqa: S310 - the URL is ours, https
            API_URL + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": content or "application/json"},
        )
        # The API server is next door; a proxy from the environment could not reach it.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._context)
        )
        try:
            with opener.open(request, timeout=_TIMEOUT_SECONDS) as answer:
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                said = error.read().decode(errors="replace")[:500]
            raise NodeError(f"{method} {path}: {error.code}", log=said) from None
        except (OSError, http.client.HTTPException) as error:
            raise NodeError(f"{method} {path}: {error}") from None
        try:
            return json.loads(text)
        except ValueError:
            return text

    def is_ready(self) -> bool:
        """Whether the API server says it is ready."""
        try:
            self.request("/readyz")
        except NodeError:
            return False
        return True

    def node_condition(self) -> str:
        """An empty string when the node is Ready, else the reason it is not."""
        try:
            node = self.request(f"/api/v1/nodes/{NODE_NAME}")
        except NodeError as error:
            return error.what
        return ready_reason(node)


def ready_reason(node: dict[str, Any]) -> str:
    """An empty string for a Node whose Ready condition is True, else why it is not."""
    for condition in node.get("status", {}).get("conditions", []):
        if condition["type"] == "Ready":
            return "" if condition["status"] == "True" else str(condition["message"])
    return "the kubelet has not reported yet"


def dns_answers(name: str = f"kubernetes.default.svc.{CLUSTER_DOMAIN}") -> bool:
    """Whether the cluster's DNS resolves the API's own Service, asked from outside the node."""
    query = dns_query(name, secrets.randbits(16))
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.settimeout(0.5)
            udp.connect((DNS_IP, 53))
            udp.send(query)
            answer = udp.recv(512)
    except OSError:
        return False
    return answer[:2] == query[:2] and answer.endswith(socket.inet_aton(API_SERVICE_IP))


def dns_query(name: str, number: int) -> bytes:
    """A DNS question for a name's IPv4 address (RFC 1035, section 4)."""
    header = struct.pack(">6H", number, 0x0100, 1, 0, 0, 0)
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return header + labels + b"\0" + struct.pack(">2H", 1, 1)
