"""The kotatsu-operator command: runs the operator and its health server."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import uvloop
from prometheus_client import CollectorRegistry

from kotatsu_common import startup
from kotatsu_operator.controller.app import Operator, Options
from kotatsu_operator.controller.feature import Feature, Setup, features_of
from kotatsu_operator.core.pool.spec import Platform
from kotatsu_operator.core.protocol import OPERATOR
from kotatsu_operator.core.scope import Scope
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.retained import Retained
from kotatsu_operator.runtime import garbage
from kotatsu_operator.runtime.health import ApiMetrics, Checks, TooLarge, start_admin
from kotatsu_operator.runtime.settings import OperatorSettings, start

SHARE = 0.75
"""The share of its memory that the operator may use for the objects in its cache."""

_STALLED = timedelta(seconds=30)


def now() -> datetime:
    return datetime.now(UTC)


def scope_of(settings: OperatorSettings) -> Scope:
    """The namespaces that the settings name."""
    return Scope(
        settings.pod_namespace,
        settings.namespace_selector,
        settings.serve_unlabeled,
        settings.shards,
        frozenset(settings.own),
    )


def options_of(settings: OperatorSettings, features: Sequence[Feature] = ()) -> Options:
    """What the settings say of the operator itself."""
    home = settings.pod_namespace
    return Options(
        name=settings.pod_name,
        retained=Retained(
            SHARE * settings.memory, settings.namespace_memory, {home, *settings.own}
        ),
        starts_per_second=settings.starts_per_second,
        first_start=timedelta(seconds=settings.first_start),
        platform=Platform(
            timedelta(seconds=settings.route_settle),
            settings.parked_cpu,
            settings.prices,
            settings.patch_services,
            settings.pod_namespace,
            settings.mark_pods,
        ),
        features=features,
    )


async def _run(settings: OperatorSettings) -> None:
    registry = CollectorRegistry()
    api = ApiMetrics(registry)
    kube = Kube.connect(OPERATOR, api.error, settings.targets, api.restart)
    options = options_of(settings, features_of(Setup(settings, registry, now)))
    TooLarge(registry, options.retained.full)
    operator = Operator(kube, scope_of(settings), registry, options, clock=now)

    def live() -> str:
        if why := operator.heartbeat.why_not_alive():
            return why
        if operator.elector.stalled > _STALLED.total_seconds():
            return "the leader election has stopped"
        stalled = now() - operator.work_queue.beat_at > _STALLED
        return "the work queue has stopped" if operator.elector.leads and stalled else ""

    def ready() -> str:
        return live() or operator.why_not_ready

    checks = Checks(live, ready, remark=lambda: operator.left_out)
    start_admin(settings.host, settings.port, registry, checks)
    try:
        await operator.run()
    finally:
        await kube.close()


def main() -> None:
    """Read the settings from the environment and run until SIGTERM or SIGINT."""
    # Without this, a full garbage collection also scans what the libraries created at the start,
    # and all pools wait for it.
    with startup.quickly():
        what = "Keeps the warm pools of a cluster."
        settings = start(OperatorSettings, "kotatsu-operator", what)
    garbage.short_pauses()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(settings))


if __name__ == "__main__":
    main()
