"""A pod's own probes, run by the activator: the kubelet's period is at least a second."""

import asyncio
from collections.abc import Mapping
from typing import Any

from kotatsu_operator.kube.objects import port_number
from kotatsu_operator.kube.pod import ContainerView, PodView

TIMEOUT = 1.0
_OK = (b"HTTP/1.1 2", b"HTTP/1.0 2", b"HTTP/1.1 3", b"HTTP/1.0 3")


async def is_ready(pod: PodView, service_port: int | None) -> bool:
    """Whether the pod is ready by the kubelet's rules, only detected sooner.

    If no container has a readiness probe, the port of the Service must accept connections too,
    because Kubernetes sends traffic to such a pod from its start.
    """
    if pod.ready:
        return True
    if not pod.gates_open:
        return False
    if len(pod.containers) == 1:
        ready = await _is_container_ready(pod.ip, pod.containers[0])
    else:
        ready = all(await asyncio.gather(*(_is_container_ready(pod.ip, c) for c in pod.containers)))
    if not ready or any(c.readiness is not None for c in pod.containers):
        return ready
    return service_port is not None and await _accepts(pod.ip, service_port)


async def _is_container_ready(ip: str, container: ContainerView) -> bool:
    """The kubelet's result, or else the container's own probes, the startup probe first."""
    if container.ready:
        return True
    if not container.running:
        return False
    if not container.started and not await _passes(ip, container, container.startup):
        return False
    return container.readiness is None or await _passes(ip, container, container.readiness)


async def _passes(ip: str, container: ContainerView, probe: Mapping[str, Any] | None) -> bool:
    """Whether a probe passes; False for probes that only the kubelet can run.

    These are exec, gRPC, HTTPS, a host other than the pod, and a successThreshold above 1, which
    needs answers over time. initialDelaySeconds is ignored: the answer itself decides.
    """
    if probe is None or probe.get("successThreshold", 1) > 1:
        return False
    http, tcp = probe.get("httpGet"), probe.get("tcpSocket")
    if ((http or tcp or {}).get("host") or ip) != ip:
        return False
    if http is not None and http.get("scheme", "HTTP") == "HTTP":
        port = port_number(container.ports, http["port"])
        return port is not None and await _answers(ip, port, http)
    if tcp is not None:
        port = port_number(container.ports, tcp["port"])
        return port is not None and await _accepts(ip, port)
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
