"""Checks of how the pods start and end: probes, image, preStop and the grace period."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kotatsu_demo_mode.objects import name_of
from kotatsu_operator.core.formats import count, format_duration, table, tables, text
from kotatsu_operator.core.pool.spec import RouteMode

from .found import Case, Finding, Found, grace_of, note, ok, unknown, warning
from .gauges import longest_request, pod_of

_SLOW_DELAY, _SLOW_PERIOD = 10, 10
"""Seconds of a readiness probe from which on a start is worth a sentence."""


def probes(case: Case) -> Iterator[Finding]:
    """Whether Kubernetes knows when a pod can answer."""
    server = case.server
    if not server or not case.has_clients or case.pool.spec.target.scales_itself:
        return
    name, ready = name_of(server), table(server.get("readinessProbe"))
    if not ready:
        yield warning(
            "ReadinessMissing",
            f"container {name} has no readinessProbe, so its pods count as Ready before they can "
            "answer, and requests of a window or a wake fail: add one, with periodSeconds: 1",
        )
        return
    yield ok(f"container {name} has a readinessProbe")
    delay, period = count(ready.get("initialDelaySeconds")), count(ready.get("periodSeconds"), 10)
    if delay >= _SLOW_DELAY:
        yield note(
            "SlowReadiness",
            f"pods are Ready {delay} s after their start at the earliest (initialDelaySeconds), so "
            "windows need that lead: a startupProbe with periodSeconds: 1 waits no longer than "
            "needed",
        )
    elif period >= _SLOW_PERIOD:
        yield note(
            "SlowReadiness",
            f"the kubelet runs the readinessProbe every {period} s, so a start can take that much "
            "longer: periodSeconds: 1 is cheap for an HTTP or TCP probe",
        )
    kinds = {k for p in _probes(server) for k in ("exec", "grpc") if k in p}
    kinds |= {"https" for p in _probes(server) if table(p.get("httpGet")).get("scheme") == "HTTPS"}
    if kinds:
        yield note(
            "ProbeByKubelet",
            f"only the kubelet runs {' and '.join(sorted(kinds))} probes, once in periodSeconds "
            f"({period} s): HTTP and TCP probes are run by the activator within milliseconds",
        )


def _probes(container: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (table(container[k]) for k in ("startupProbe", "readinessProbe") if k in container)


def shutdown(case: Case) -> Iterator[Finding]:
    """Whether pods end without losing requests."""
    server, found = case.server, case.found
    if not server or not case.has_clients or case.pool.spec.target.scales_itself:
        return
    hook = table(table(server.get("lifecycle")).get("preStop"))
    settle = case.pool.spec.platform.route_settle.total_seconds()
    wait, grace = pause(hook), grace_of(found)
    advice = f"`preStop: {{sleep: {{seconds: {int(settle) + 1}}}}}`"
    name, shown = name_of(server), format_duration(case.pool.spec.platform.route_settle)
    if wait is not None and grace <= wait:
        yield warning(
            "GraceTooShort",
            f"terminationGracePeriodSeconds is {grace} s and the preStop of container {name} takes "
            f"{wait:g} s, so its requests are cut off: set it to preStop plus the longest request",
        )
    elif not hook and case.pool.spec.route is RouteMode.ACTIVATOR and _is_http2(case):
        yield ok("its pods end after their last connection")
    elif not hook:
        yield warning(
            "PreStopMissing",
            f"container {name} has no preStop, so connections that nodes still send to an ending "
            f"pod within the settle time ({shown}) are refused: add {advice}",
        )
    elif wait is not None and wait < settle and case.pool.spec.route is not RouteMode.ACTIVATOR:
        yield warning(
            "PreStopTooShort",
            f"the preStop of container {name} takes {wait:g} s, less than the settle time "
            f"({shown}) in which nodes may still send connections: use {advice}",
        )
    else:
        takes = "runs a command" if wait is None else f"takes {wait:g} s"
        yield ok(f"preStop {takes}, of {grace} s until a pod is killed")
    needed = (wait or 0) + longest_request(case)
    if (wait or 0) < grace <= needed:
        yield warning(
            "GraceTooShort",
            f"terminationGracePeriodSeconds is {grace} s, and {pod_of(found)} had a request of "
            f"{needed - (wait or 0):g} s or more, which the end of a pod cuts off: set it above "
            f"{needed:g} s, which is preStop plus that request",
        )


_SLEEP = re.compile(r"(?<![\w.-])sleep[\s\"',]+(\d{1,6}(?:\.\d{1,3})?)s?(?![\w.])")


def pause(hook: Mapping[str, Any]) -> float | None:
    """The seconds that a preStop takes at least; None if that is unknown."""
    if "sleep" in hook:
        return float(count(table(hook["sleep"]).get("seconds")))
    command = table(hook.get("exec")).get("command") or ()
    found = _SLEEP.findall(" ".join(map(str, command))[:4096])
    return sum(map(float, found)) if found else None


def _is_http2(case: Case) -> bool:
    """Whether the Service speaks HTTP/2, whose clients see the end of a connection."""
    protocols = {text(port.get("appProtocol")) for port in case.tcp_ports}
    names = {text(port.get("name")).partition("-")[0] for port in case.tcp_ports}
    return bool(
        protocols & {"kubernetes.io/h2c", "grpc", "http2"} or names & {"grpc", "http2", "h2c"}
    )


_PASSING = ("/tmp", "/var/tmp", "/run", "/var/run", "/var/cache", "/dev/shm")  # noqa: S108
"""Folders for files that nobody expects to stay."""


def files(case: Case) -> Iterator[Finding]:
    """Whether a sleep deletes files."""
    found = case.found
    if not found.containers or case.pool.spec.target.scales_itself:
        return
    lost = list(filter(None, (_written(found, container) for container in found.containers)))
    if not lost:
        yield ok("its containers write no files that a sleep would delete")
        return
    yield note(
        "FilesLost",
        f"each sleep deletes what is in {' and '.join(lost)}, as the end of any pod does: put what "
        "must stay on a volume claim, and set readOnlyRootFilesystem where nothing is written",
    )


def _written(found: Found, container: Mapping[str, Any]) -> str:
    """Where a container may write files that end with its pod, in words."""
    passing = {name_of(v) for v in tables(found.pod_spec.get("volumes")) if "emptyDir" in v}
    at = [
        text(m.get("mountPath"))
        for m in tables(container.get("volumeMounts"))
        if m.get("name") in passing
    ]
    at = [p for p in at if not any(f"{p}/".startswith(f"{folder}/") for folder in _PASSING)]
    security = table(container.get("securityContext"))
    own = [] if security.get("readOnlyRootFilesystem") is True else ["its own files"]
    places = [*own, *(f"the emptyDir {path}" for path in at)]
    return f"container {name_of(container)} ({', '.join(places)})" if places else ""


_LARGE = 10**9
"""Bytes of an image from which on its pull is worth a sentence."""


def image(case: Case) -> Iterator[Finding]:
    """Whether the image is there when a pod starts."""
    if case.found.containers:
        yield from list(_images(case)) or [ok("its images are pulled once per node")]


def _images(case: Case) -> Iterator[Finding]:
    for container in case.found.containers:
        name, of = text(container.get("image")), name_of(container)
        policy = text(container.get("imagePullPolicy")) or _default_policy(name)
        if policy == "Always":
            yield note(
                "PulledEachStart",
                f"container {of} has imagePullPolicy Always, so each start waits for the "
                "registry and fails without it: use a fixed tag with IfNotPresent",
            )
        elif policy == "Never":
            yield note(
                "NeverPulled",
                f"container {of} has imagePullPolicy Never: each node needs {name} already",
            )
        size = _size(case, name)
        if size >= _LARGE:
            yield note(
                "LargeImage",
                f"{name} has {size / 10**9:.1f} GB: on a node without it the first start waits "
                "for the pull, so keep it on the nodes or set a longer spec.lead",
            )
    if case.found.nodes.unread:
        yield unknown(f"the size of the image: {case.found.nodes.unread}")


def _default_policy(name: str) -> str:
    """The policy that the API server fills in: Always for the tag latest or none."""
    last = name.rpartition("/")[2]
    if "@" in last:
        return "IfNotPresent"
    return "Always" if last.partition(":")[2] in ("", "latest") else "IfNotPresent"


def _size(case: Case, name: str) -> int:
    """The bytes of an image on a node; 0 if none of the nodes that were read has it."""
    for node in case.found.nodes.items:
        for image in tables(table(node.get("status")).get("images")):
            names = image.get("names") or ()
            if any(str(n) == name or str(n).endswith(f"/{name}") for n in names):
                return count(image.get("sizeBytes"))
    return 0
