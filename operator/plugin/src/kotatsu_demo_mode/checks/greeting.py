"""Whether clients speak first: a server's greeting wakes no pool, and its client waits for it."""

import re
from collections.abc import Iterator
from dataclasses import replace

from kotatsu_demo_mode.api import Api
from kotatsu_demo_mode.errors import DemoModeError
from kotatsu_demo_mode.objects import name_of
from kotatsu_operator.core.decide.refusal import Refusal
from kotatsu_operator.core.formats import table
from kotatsu_operator.core.objects import (
    SERVER_FIRST,
    names_protocol,
    port_text,
    server_first_ports,
)

from .found import Case, Finding, Found, grace_of, note, ok, refused, target_port, unknown, warning

_MOST = 4
"""Ports that are listened to."""

_BOTH = re.compile(rb"SSH-|\0\0.\x04\0\0{4}", re.DOTALL)
"""Both sides begin in SSH (RFC 4253), and in HTTP/2 (RFC 9113, 3.4), where the server's first frame
is SETTINGS, as of gRPC. So their clients wake a pool."""


def listen(api: Api, case: Case) -> Found:
    """Listen to one Ready pod on the ports of which nothing says who speaks first."""
    found, ports = case.found, _unknown(case)
    if not ports or found.why_no_pod:
        return replace(found, greetings_unread=found.why_no_pod if ports else "")
    heard: dict[int, bytes | None] = {}
    for number in ports[:_MOST]:
        try:
            heard[number] = api.greeting(found.namespace, name_of(found.ready_pods[0]), number)
        except DemoModeError as error:
            return replace(found, greetings=heard, greetings_unread=str(error))
    return replace(found, greetings=heard)


def _unknown(case: Case) -> list[int]:
    """The numbers of the container ports of which nothing says who speaks first."""
    known = server_first_ports(case.service or {})
    open_ = [p for p in case.tcp_ports if p not in known and not names_protocol(p)]
    numbers = [case.found.number_of(target_port(port)) for port in open_]
    asked = {case.found.number_of(at) for at in _probed(case)}
    return [n for n in dict.fromkeys(numbers) if n is not None and n not in asked]


def _probed(case: Case) -> Iterator[str]:
    """The ports that the kubelet asks in HTTP or gRPC."""
    for container in case.found.containers:
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = table(container.get(kind))
            yield from (
                str(table(probe[by]).get("port")) for by in ("httpGet", "grpc") if by in probe
            )


def greeting(case: Case) -> Iterator[Finding]:
    """Whether the clients speak first, as a wake needs."""
    found, service = case.found, case.pool.spec.service
    if case.pool.spec.target.scales_itself or case.service is None:
        return
    known = ", ".join(map(port_text, server_first_ports(case.service)))
    if known:
        said = (
            f"on port {known} of Service {service} the server speaks first, so a client that waits "
            "for it wakes nothing: it is connected at once while a pod is Ready, and gets no byte "
            "while the pool sleeps. Add windows for its hours, or name this pool in the "
            "spec.dependsOn of those whose pods are its clients"
        )
        if _is_covered(case):
            yield note("ServerSpeaksFirst", said)
        else:
            yield warning("ServerSpeaksFirst", said)
    spoke = {n: said for n, said in found.greetings.items() if said and not _BOTH.match(said)}
    for number, heard in spoke.items():
        yield refused(
            Refusal(
                "GreetingNotNamed",
                f"pod {name_of(found.ready_pods[0])} speaks first on port {number} "
                f"({heard[:_SHOWN].decode('latin-1')!r}), and Service {service} does not say so: "
                "its clients would wait in vain, also while pods are Ready. Add `appProtocol: "
                f"{SERVER_FIRST}` to that port of the Service",
            )
        )
    if found.greetings_unread:
        yield unknown(f"whether its clients speak first: {found.greetings_unread}")
    elif not known and not spoke and not case.why_worker:
        yield ok("its clients speak first")


def worker(case: Case) -> Iterator[Finding]:
    """Whether any request wakes it."""
    found, why = case.found, case.why_worker
    if not why or case.pool.spec.target.scales_itself or not found.containers:
        return
    said = (
        f"{why}, so no request wakes it: only windows, overrides and pools that depend on it do. "
        f"Each sleep ends its job: SIGTERM, and SIGKILL {grace_of(found)} s later. Add windows for "
        "its hours"
    )
    is_covered = case.service is None or _is_covered(case)
    yield note("Worker", said) if is_covered else warning("Worker", said)


_SHOWN = 32
"""Bytes of a greeting that are shown."""


def _is_covered(case: Case) -> bool:
    """Whether the pool's spec, or another pool, says when its pods are needed."""
    spec, others = case.pool.raw["spec"], case.found.pools.items
    if spec.get("windows") or spec.get("calendars"):
        return True
    return any(case.pool.name in (pool["spec"].get("dependsOn") or ()) for pool in others)
