"""Which modules a change of a plain pool passes, and a request to a sleeping one.

    .venv/bin/python -m tests.operator.trace

A module counts if one of its functions calls a function of another module of the package. Those
that call no other are leaves: a name such as `key_of` or `Phase.is_asleep` says what they do. The
operator has the features that are installed, with the values of the chart.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any

from prometheus_client import CollectorRegistry

from kotatsu_operator.controller.app import Operator, Options
from kotatsu_operator.controller.election import Times
from kotatsu_operator.controller.feature import Setup, features_of
from kotatsu_operator.core.formats import stamp
from kotatsu_operator.kube.objects import Object
from kotatsu_operator.runtime.settings import OperatorSettings
from tests.operator.activator.in_process import ActivatorFixture
from tests.operator.cluster import (
    SCOPE,
    FakeKube,
    activator_pod,
    deployment,
    eventually,
    in_use,
    namespace,
    pod,
    record,
    service,
    warm_pool,
)

PACKAGE = "kotatsu_operator."

PAUSE = 0.2
"""Seconds for what follows a write: events, metrics, the next reconcile."""

ONE_TERM = Times(lease=3 * 3600.0, renew_deadline=2 * 3600.0, retry=3600.0)
"""The operator renews its Lease in an hour: on a busy machine an edit outlasts the usual 2 s."""

SHIPPED = OperatorSettings(pod_namespace="kotatsu", console_port=8080)


@dataclass
class Path:
    """The modules of the package in the order of their first call."""

    modules: dict[str, set[str]] = field(default_factory=dict)
    """With the modules that each has called."""

    def see(self, frame: FrameType, event: str, _: Any) -> None:
        """A profile function: note a call, and which module has made it."""
        called = str(frame.f_globals.get("__name__"))
        if event != "call" or not called.startswith(PACKAGE):
            return
        called = called.removeprefix(PACKAGE)
        self.modules.setdefault(called, set())
        caller = str(frame.f_back.f_globals.get("__name__")) if frame.f_back else ""
        if caller.startswith(PACKAGE) and caller != PACKAGE + called:
            self.modules.setdefault(caller.removeprefix(PACKAGE), set()).add(called)

    @property
    def passed(self) -> list[str]:
        """The modules that are no leaves."""
        return [name for name, called in self.modules.items() if called]


async def trace(act: Callable[[], Awaitable[object]]) -> Path:
    """What `act` passes, with everything that other tasks do meanwhile."""
    path = Path()
    sys.setprofile(path.see)
    try:
        await act()
    finally:
        sys.setprofile(None)
    return path


def edited(operator: Operator, changed: Object) -> Awaitable[None]:
    """Let the watch of WarmPools show a change."""
    return operator._pools.show("MODIFIED", changed)


async def an_edit() -> Path:
    """An awake pool of a Deployment with one pod gets a second replica by an edit."""
    objects = *record(), deployment(replicas=1), service(), pod(ready=True), activator_pod()
    kube = FakeKube(namespace(), *objects, warm_pool())
    registry = CollectorRegistry()
    features = features_of(Setup(SHIPPED, registry, lambda: datetime.now(UTC)))
    operator = Operator(kube, SCOPE, registry, Options(times=ONE_TERM, features=features))
    in_use(operator)

    def status() -> Object:
        found: Object = kube.stored("WarmPool", "voice").get("status", {})
        return found

    running = [asyncio.create_task(part) for part in (operator._informer.run(), operator._elect())]
    await edited(operator, kube.stored("WarmPool", "voice"))
    await eventually(lambda: status().get("conditions"))
    await asyncio.sleep(PAUSE)

    async def act() -> None:
        until = stamp(datetime.now(UTC) + timedelta(hours=1))
        override = {"mode": "Warm", "until": until, "replicas": 2}
        await edited(operator, kube.edit("WarmPool", "voice", spec={"override": override}))
        await eventually(lambda: kube.stored("Deployment", "voice")["spec"]["replicas"] == 2)
        await eventually(lambda: status().get("overrideEndsAt"))
        await asyncio.sleep(PAUSE)

    try:
        return await trace(act)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def a_cold_request() -> Path:
    """A request to a sleeping pool is answered by the pod that it has started."""
    activator = ActivatorFixture()
    await activator.start()
    await activator.starts_on_raise(ready=True)
    try:
        return await trace(activator.ask)
    finally:
        await activator.close()


def main() -> None:
    for made in (an_edit, a_cold_request):
        path = asyncio.run(made())
        title = made.__name__.replace("_", " ")
        sys.stdout.write(f"{title}: {len(path.passed)} modules of {len(path.modules)}\n")
        for name, called in path.modules.items():
            sys.stdout.write(f"  {name}{' → ' * bool(called)}{', '.join(sorted(called))}\n")


if __name__ == "__main__":
    main()
