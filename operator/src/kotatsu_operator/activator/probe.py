"""A pod's own readiness probe, run by the activator: the kubelet's period is a second or more."""

import asyncio
from collections.abc import Mapping
from typing import Any

from kotatsu_operator.views import PodView

TIMEOUT = 1.0
_OK = (b"HTTP/1.1 2", b"HTTP/1.0 2", b"HTTP/1.1 3", b"HTTP/1.0 3")


async def is_ready(pod: PodView, service_port: int | None) -> bool:
    """Whether the pod answers: its HTTP or TCP readiness probe, else the kubelet's word for it.

    A pod without a readiness probe counts as ready when its Service port accepts, as Kubernetes
    sends it traffic from its start. Probes that only the kubelet can run (exec, gRPC, TLS) are its
    to judge.
    """
    if pod.ready:
        return True
    probe = pod.probe
    if probe is None:
        return service_port is not None and await _accepts(pod.ip, service_port)
    http, tcp = probe.get("httpGet"), probe.get("tcpSocket")
    if http is not None and http.get("scheme", "HTTP") == "HTTP":
        port = pod.port(http["port"])
        return port is not None and await _answers(pod.ip, port, http)
    if tcp is not None:
        port = pod.port(tcp["port"])
        return port is not None and await _accepts(pod.ip, port)
    return False


async def _accepts(ip: str, port: int) -> bool:
    try:
        async with asyncio.timeout(TIMEOUT):
            _, writer = await asyncio.open_connection(ip, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _answers(ip: str, port: int, http: Mapping[str, Any]) -> bool:
    if (http.get("host") or ip) != ip:
        return False  # another host is the kubelet's to ask: here it would be asked from this pod
    headers = {"Host": ip, "User-Agent": "kotatsu-activator"}
    headers |= {h["name"].title(): h["value"] for h in http.get("httpHeaders") or ()}
    lines = [f"{name}: {value}" for name, value in (headers | {"Connection": "close"}).items()]
    request = "\r\n".join([f"GET {http.get('path', '/')} HTTP/1.1", *lines, "", ""])
    writer = None
    try:
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await asyncio.open_connection(ip, port)
            writer.write(request.encode("latin-1", "replace"))
            return (await reader.readline()).startswith(_OK)
    except (OSError, TimeoutError, ValueError):
        return False
    finally:
        if writer is not None:
            writer.close()
