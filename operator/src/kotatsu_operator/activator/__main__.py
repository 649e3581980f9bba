"""kotatsu-activator: holds requests to sleeping pools, wakes the pools and forwards bytes."""

import asyncio
import signal
from collections.abc import Callable
from functools import partial

import uvloop
from prometheus_client import CollectorRegistry

from kotatsu_common import startup
from kotatsu_operator.activator.app import Activator
from kotatsu_operator.activator.feature import FEATURES
from kotatsu_operator.activator.limits import ConnectionLimit, raise_file_limit
from kotatsu_operator.activator.metrics import ActivatorMetrics
from kotatsu_operator.activator.pool import PodIdentity, Pool, pool_view
from kotatsu_operator.core.protocol import ACTIVATOR, LOOKED_AT
from kotatsu_operator.kube.client import Kube
from kotatsu_operator.kube.objects import Object
from kotatsu_operator.runtime import garbage
from kotatsu_operator.runtime.health import ApiMetrics, Checks, Named, TooLarge, start_admin
from kotatsu_operator.runtime.installed import installed
from kotatsu_operator.runtime.loop import Heartbeat
from kotatsu_operator.runtime.settings import ActivatorSettings, start


def reading(settings: ActivatorSettings) -> Callable[[Object], Pool]:
    """How WarmPools are read, with the values of the chart."""
    return partial(
        pool_view,
        settle=settings.route_settle,
        max_held=settings.max_held,
        activators=settings.activators,
    )


def identity(settings: ActivatorSettings) -> PodIdentity:
    """This pod, and its set."""
    return PodIdentity(
        settings.namespace,
        settings.pod_name,
        settings.pod_uid,
        settings.pod_ips,
        settings.node_name,
        settings.activators,
    )


def limiting(settings: ActivatorSettings, me: PodIdentity) -> ConnectionLimit:
    """What this pod may need for connections and objects."""
    return ConnectionLimit(
        raise_file_limit(),
        memory=settings.memory,
        is_shared=me.is_shared,
        each=settings.namespace_memory,
        home=me.namespace,
    )


async def _run(settings: ActivatorSettings) -> None:
    registry = CollectorRegistry()
    api = ApiMetrics(registry)
    kube = Kube.connect(ACTIVATOR, api.error, settings.targets, api.restart)
    me = identity(settings)
    limit = limiting(settings, me)
    metrics = ActivatorMetrics(registry)
    features = installed(FEATURES)
    TooLarge(registry, limit.retained.full)
    activator = Activator(kube, me, metrics, limit, features=features, read=reading(settings))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    heartbeat = Heartbeat()
    beating = asyncio.create_task(heartbeat.run())
    start_admin(
        settings.host,
        settings.port,
        registry,
        Checks(heartbeat.why_not_alive, activator.why_not_ready),
        Named(LOOKED_AT, activator.asked, metrics.part),
    )
    try:
        await activator.run(stop, settings.drain_timeout)
    finally:
        beating.cancel()
        await kube.close()


def main() -> None:
    """Read the settings from the environment and run until SIGTERM or SIGINT."""
    # Otherwise a full garbage collection would pause all clients to scan the imported libraries.
    with startup.quickly():
        what = "Holds requests to sleeping pools and wakes the pools."
        settings = start(ActivatorSettings, "kotatsu-activator", what)
    garbage.short_pauses()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(settings))


if __name__ == "__main__":
    main()
