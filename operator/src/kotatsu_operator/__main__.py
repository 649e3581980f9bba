"""The kotatsu-operator command: runs the operator, its health server and its console."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import uvloop
from prometheus_client import CollectorRegistry

from kotatsu_common import startup
from kotatsu_operator.controller.app import Operator, Options
from kotatsu_operator.controller.feature import Feature
from kotatsu_operator.core.pool.spec import Platform
from kotatsu_operator.core.protocol import OPERATOR
from kotatsu_operator.core.scope import Scope
from kotatsu_operator.features.calendars.feature import Calendars
from kotatsu_operator.features.capacity import CapacityAhead, CapacityOptions
from kotatsu_operator.features.console.app import ConsoleServer, create_console, own_names
from kotatsu_operator.features.console.board import Board
from kotatsu_operator.features.history import Histories
from kotatsu_operator.features.knative.feature import Knative
from kotatsu_operator.features.notices.feature import Notices, Notifier
from kotatsu_operator.features.parking.feature import ParkedPods
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.runtime import garbage
from kotatsu_operator.runtime.health import ApiMetrics, Checks, start_admin
from kotatsu_operator.runtime.settings import OperatorSettings, start

_STALLED = timedelta(seconds=30)


def now() -> datetime:
    return datetime.now(UTC)


def features_of(
    settings: OperatorSettings,
    registry: CollectorRegistry,
    board: Board,
    clock: Callable[[], datetime] = now,
) -> list[Feature]:
    """The optional features, in the order of their hooks."""
    notifier = Notifier(settings.notifications, registry, clock)
    capacity = CapacityOptions(settings.capacity_image, settings.capacity_priority_class)
    return [
        Knative(settings.runtime, settings.knative_namespace),
        Calendars(settings.calendar_folder, settings.calendars, registry, clock),
        Histories(time.monotonic, board.remember if settings.console_port else None),
        CapacityAhead(capacity),
        Notices(notifier),
        board,
        ParkedPods(is_enabled=settings.parked),
    ]


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
    return Options(
        name=settings.pod_name,
        starts_per_second=settings.starts_per_second,
        first_start=timedelta(seconds=settings.first_start),
        platform=Platform(
            timedelta(seconds=settings.route_settle), settings.parked_cpu, settings.prices
        ),
        features=features,
    )


async def _run(settings: OperatorSettings) -> None:
    registry = CollectorRegistry()
    kube = Kube.connect(OPERATOR, ApiMetrics(registry).error, settings.targets)
    board = Board(now)
    options = options_of(settings, features_of(settings, registry, board))
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
    console = None
    if settings.console_port:
        names = own_names(settings.pod_namespace)
        app = create_console(board, now, names.union(settings.console_hosts))
        console = ConsoleServer(app, settings.host, settings.console_port)
        console.start()
    stop = asyncio.Event()
    signals = asyncio.create_task(operator.stop_on_signals(stop))
    try:
        await operator.run(stop)
    finally:
        signals.cancel()
        await kube.close()
        if console is not None:
            console.stop()


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
