"""1,000 apps that are to be there at one minute: Kotatsu, and KEDA's cron scaler. When asked for.

Each has an API server of its own with pretended pods (see simulation/), which start at the same
pace. KEDA's operator runs as a process, as ours does. What happened when is in the audit log.
"""

import asyncio
import shutil
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from lightkube.generic_resource import create_namespaced_resource

from kotatsu_node.build import peers
from kotatsu_node.cluster.control_plane import ControlPlane
from kotatsu_node.errors import NodeError
from kotatsu_node.layout import Layout
from kotatsu_node.ports import free_ports
from kotatsu_operator.core.formats import conditions_of, is_true
from kotatsu_operator.kube.objects import Deployment
from report import Row
from samples import Samples
from simulation.measure import Request, cpu_seconds, read_audit
from simulation.run import (
    NAMESPACE,
    TAKE_ON,
    Simulation,
    deployment,
    opening,
    operator,
    running,
    standing,
)
from topic import again, main, progress, unmeasured

ON_REQUEST = True
SECONDS = 10800
AGAIN = again("schedules")
PACE = 5.0
"""Pods that the cluster starts a second; what our operator is told is the chart's default."""
LEAD = timedelta(seconds=90)
"""What a pool that has learned nothing is warmed up ahead, and a little more."""
AHEAD = 0.5
"""Seconds for each ScaledObject between its creation and the minute: KEDA has to take it on."""
LATEST = 1200.0
"""Seconds after the minute that an app may take."""
MODULE = "github.com/kedacore/keda/v2"
CRON: Mapping[str, tuple[Mapping[str, Any], tuple[str, ...], Mapping[str, str]]] = {
    "default": ({}, (), {}),
    # https://keda.sh/troubleshooting/2.18/api-server-throttling, and a look every 5 s, not 30.
    "tuned": (
        {"pollingInterval": 5},
        ("--kube-api-qps=40", "--kube-api-burst=60"),
        {"KEDA_SCALEDOBJECT_CTRL_MAX_RECONCILES": "10"},
    ),
}
"""More of a ScaledObject's spec, arguments and environment of the operator."""
ScaledObject: Any = create_namespaced_resource(
    "keda.sh", "v1alpha1", "ScaledObject", "scaledobjects"
)


@dataclass
class Opened:
    """What became of the apps, in seconds after the minute."""

    scaled: dict[str, float] = field(default_factory=dict)
    """When the scale of each was written first."""
    ready: dict[str, float] = field(default_factory=dict)
    """When its pod was Ready."""
    cpu: float = 0.0
    """Seconds of CPU of the operator since its start."""
    known: str = ""
    """How many the operator had taken on before."""


async def rows(quick: bool) -> list[Row]:
    """Ours first, then KEDA in both configurations."""
    number = 50 if quick else 1000
    found = []
    with progress.step(f"Kotatsu, {number:,} windows"):
        found.append(judged("Kotatsu, default", number, await _ours(number)))
    for name in CRON:
        title = f"KEDA 2.20.2 cron scaler, {name}"
        try:
            with progress.step(f"{title}, {number:,} ScaledObjects"):
                found.append(judged(title, number, await _keda(number, name)))
        except (NodeError, RuntimeError, TimeoutError) as error:
            found.append(unmeasured(_what(number, title), "", f"{error}", "", "schedules"))
    return found


async def _ours(number: int) -> Opened:
    async with standing(number, PACE, progress.say) as (it, port):
        await it.make(port)
        log, [told_at] = it.plane.audit_log.with_name("operator.log"), free_ports(1)
        with operator(it.plane, told_at, PACE, log) as it.operator:
            await it.until(lambda s: s.get("phase") == "Asleep", max(600.0, TAKE_ON * number))
            at = minute_after(datetime.now(UTC) + LEAD + timedelta(seconds=number * 1.5 / PACE))
            await it.edit(it.names, opening(at, 1))
            return await _opened(it, at, it.operator.pid)


async def _keda(number: int, name: str) -> Opened:
    more, arguments, environment = CRON[name]
    folder = Layout.from_environment().build_logs
    program = peers.build("keda", Layout.from_environment(), folder / "build-keda.log")
    async with standing(number, PACE, progress.say) as (it, port):
        await it.define(peers.module_sources("keda", MODULE) / "config/crd/bases")
        with ExitStack() as stack:
            log = it.plane.audit_log.with_name("operator.log")
            command = [str(program), *_arguments(it.plane), *arguments]
            variables = {
                "KUBECONFIG": str(it.plane.users["operator"]),
                "WATCH_NAMESPACE": "",
                "KEDA_CLUSTER_OBJECT_NAMESPACE": NAMESPACE,
                **environment,
            }
            it.operator = stack.enter_context(running(command, variables, log))
            at = minute_after(datetime.now(UTC) + timedelta(seconds=max(120, AHEAD * number)))
            progress.say(f"  the minute is {at:%H:%M}")
            await it.each(lambda app: it.create(Deployment, deployment(app, port)))
            await it.each(lambda app: it.create(ScaledObject, scaled_object(app, at, more)))
            await asyncio.sleep((at - datetime.now(UTC)).total_seconds() - 30)
            known = sum([_is_ready(obj) async for obj in _listed(it, ScaledObject)])
            found = await _opened(it, at, it.operator.pid)
            found.known = f"{known:,} of {number:,} ScaledObjects were Ready before"
            return found


def _arguments(plane: ControlPlane) -> list[str]:
    """Addresses of its own, and certificates for a service that has no client here."""
    pki, folder = plane.audit_log.with_name("pki"), plane.audit_log.with_name("keda")
    folder.mkdir()
    for theirs, ours in (
        ("ca.crt",) * 2,
        ("tls.crt", "apiserver.crt"),
        ("tls.key", "apiserver.key"),
    ):
        shutil.copy(pki / ours, folder / theirs)
    names = ("metrics", "health-probe", "metrics-service")
    addresses = zip(names, free_ports(len(names)), strict=True)
    listen = [f"--{name}-bind-address=127.0.0.1:{port}" for name, port in addresses]
    return [f"--cert-dir={folder}", *listen, "--zap-log-level=error"]


def _listed(it: Simulation, kind: Any) -> Any:
    return it.client.list(kind, namespace=NAMESPACE)


def _is_ready(obj: Mapping[str, Any]) -> bool:
    return is_true(conditions_of(obj.get("status") or {}).get("Ready"))


def scaled_object(app: str, at: datetime, more: Mapping[str, Any]) -> dict[str, Any]:
    """A ScaledObject whose cron trigger asks for one pod from a minute on, for half an hour."""
    end = at + timedelta(minutes=30)
    cron = {
        "timezone": "UTC",
        "start": f"{at.minute} {at.hour} * * *",
        "end": f"{end.minute} {end.hour} * * *",
        "desiredReplicas": "1",
    }
    spec = {
        "scaleTargetRef": {"name": app},
        "minReplicaCount": 0,
        "triggers": [{"type": "cron", "metadata": cron}],
        **more,
    }
    return {"metadata": {"name": app, "namespace": NAMESPACE}, "spec": spec}


def minute_after(moment: datetime) -> datetime:
    """The next whole minute."""
    return moment.replace(second=0, microsecond=0) + timedelta(minutes=1)


async def _opened(it: Simulation, at: datetime, pid: int) -> Opened:
    """Wait until all apps are Ready after the minute, or until it is too late."""
    await asyncio.sleep((at - datetime.now(UTC)).total_seconds())
    cpu = 0.0
    while it.operator is not None and it.operator.poll() is None:  # `running` tells why it ended
        ready = sum([_has_pod(app) async for app in _listed(it, Deployment)])
        progress.say(f"  {datetime.now(UTC):%H:%M:%S}: {ready:,} Ready")
        cpu = cpu_seconds(pid)
        if ready == it.pools or (datetime.now(UTC) - at).total_seconds() > LATEST:
            break
        await asyncio.sleep(10)
    # Once, at the end: to read it is work for the machine that is measured.
    found = opened(read_audit(it.plane.audit_log), at)
    found.cpu = cpu
    return found


def _has_pod(app: Mapping[str, Any]) -> bool:
    return bool((app.get("status") or {}).get("readyReplicas"))


def opened(requests: Iterable[Request], at: datetime) -> Opened:
    """When the audit log says that scales were written first, and pods became Ready."""
    found = Opened()
    for request in requests:
        after = (request.ended - at).total_seconds()
        if request.code >= 400 or request.verb not in ("patch", "update"):
            continue
        if request.user == "kubelet":
            found.ready.setdefault(request.name[: len("pool-0000")], after)
        elif request.user == "operator" and request.what == "deployments/scale":
            found.scaled.setdefault(request.name, after)
    return found


def _what(number: int, title: str) -> str:
    return f"{number:,} openings at one minute: {title}"


def judged(title: str, number: int, found: Opened) -> Row:
    """The row of one system."""
    on_time = sum(after <= 0 for after in found.ready.values())
    within = sum(after <= 60 for after in found.ready.values())
    said = [f"{within:,} within a minute", f"{number - len(found.ready):,} never"]
    for what, times in (("scale written", found.scaled), ("Ready", found.ready)):
        if times:
            first, last = min(times.values()), max(times.values())
            middle = Samples.of(times.values()).median
            said.append(f"{what} {first:+.1f} s to {last:+.1f} s, median {middle:+.1f} s")
    how = (
        f"a real API server, pretended pods, {PACE:g} started a second; seconds after the minute;"
        f" {found.cpu:.0f} s of the operator's CPU since its start"
    )
    how += f"; {found.known}" * bool(found.known)
    text, spread = f"{on_time:,} of {number:,} Ready at the minute", ", ".join(said)
    return Row(_what(number, title), how, text, spread, number, "", on_time / number, None, AGAIN)


if __name__ == "__main__":
    main(rows)
