"""An activator in a process of its own, with an API server in memory and the pools voice and feed.

It prints one line of JSON when it is ready: `port` and `feed`, where clients of each pool come in,
and `metrics`, where its pages are. What happens in the cluster is said to it on standard input, a
word and its number a line: `pod 8080` lets a Ready pod of voice appear at that port, `feed 8080`
one of feed, `files 100` lets the process have no more open files than that. It ends when its input
does. With `--reads` it says on its pages how long a read takes, which costs each read two clocks.

    python tests/operator/activator/activator_process.py Activator Warm
"""

import argparse
import asyncio
import json
import logging
import resource
import sys
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import uvloop
from prometheus_client import CollectorRegistry, Gauge

from kotatsu_operator.activator.app import Activator
from kotatsu_operator.activator.limits import MOST_MEMORY, ConnectionLimit, raise_file_limit
from kotatsu_operator.activator.metrics import ActivatorMetrics
from kotatsu_operator.activator.pool import PodIdentity
from kotatsu_operator.activator.slices import slice_name
from kotatsu_operator.activator.splice import Client, Upstream
from kotatsu_operator.core.protocol import LOOKED_AT
from kotatsu_operator.runtime import health
from kotatsu_operator.runtime.health import Checks, Named, start_admin

sys.path.append(str(Path(__file__).parents[3]))

from tests.operator.cluster import (
    SET,
    FakeKube,
    activator_pod,
    deployment,
    pod,
    pool_view,
    service,
    warm_pool,
)

ME = PodIdentity("demo", "activator-1", "uid-activator-1", ("127.0.0.1",), "node-a", SET)


def _cluster(route: str, phase: str) -> FakeKube:
    status = {
        "phase": phase,
        "route": {"target": "Activator", "epoch": 1},
        "conditions": [{"type": "Accepted", "status": "True"}],
    }
    kube = FakeKube(activator_pod())
    for name in ("voice", "feed"):
        kube.put(warm_pool(name, status=status, route=route, holdTimeout="5m"))
        kube.put(deployment(name, replicas=int(phase == "Warm")))
        kube.put(service(name))
    return kube


def _obey(kube: FakeKube, line: str) -> None:
    word, _, number = line.partition(" ")
    if word == "pod":
        kube.put(pod(f"voice-{int(number)}", port=int(number), ready=True))
    elif word == "feed":
        kube.put(pod(f"feed-{int(number)}", app="feed", port=int(number), ready=True))
    elif word == "files":
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(number), most))
    elif word:
        raise ValueError(f"there is no word {word}")


class _Reads:
    """CPU seconds of what the activator does with one read: others wait for it.

    Not the time it takes, in which a busy machine does something else; nor a turn of the event
    loop, in which each connection that became readable meanwhile has its read.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._took: deque[float] = deque(maxlen=10_000)
        p99 = Gauge("test_read_p99_seconds", "The longest but one in a hundred.", registry=registry)
        p99.set_function(lambda: sorted(self._took)[len(self._took) * 99 // 100])
        most = Gauge("test_read_most_seconds", "The longest.", registry=registry)
        most.set_function(lambda: max(self._took))
        for side in (Client, Upstream):
            side.data_received = self._timed(side.data_received)  # type: ignore[method-assign]

    def _timed(self, read: Callable[[Any, bytes], None]) -> Callable[[Any, bytes], None]:
        def timed(side: Any, data: bytes) -> None:
            began = time.thread_time()
            read(side, data)
            self._took.append(time.thread_time() - began)

        return timed


async def _run(kube: FakeKube, memory: int, *, times_reads: bool) -> None:
    health.SHARED_FOR = 0.0  # tests compare two readings
    registry = CollectorRegistry()
    if times_reads:
        _Reads(registry)
    connection_limit = ConnectionLimit(raise_file_limit(), memory=memory)
    read = partial(pool_view, max_held=20_000)
    metrics = ActivatorMetrics(registry)
    activator = Activator(kube, ME, metrics, connection_limit, read=read)  # type: ignore[arg-type]
    named = Named(LOOKED_AT, activator.asked, metrics.part)
    checks = Checks(str, activator.why_not_ready)
    admin = start_admin("127.0.0.1", 0, registry, checks, named)
    stop = asyncio.Event()
    running = asyncio.create_task(activator.run(stop, 0.0))
    while activator.why_not_ready():
        await asyncio.sleep(0.01)
    port, feed = (
        kube.stored("EndpointSlice", slice_name(name, ME, "IPv4"))["ports"][0]["port"]
        for name in ("voice", "feed")
    )
    ready = {"port": port, "feed": feed, "metrics": admin.server_address[1]}
    print(json.dumps(ready), flush=True)  # noqa: T201
    told = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(told), sys.stdin
    )
    while line := await told.readline():
        _obey(kube, line.decode().strip())
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("route", choices=["Auto", "Activator"])
    parser.add_argument("phase", choices=["Asleep", "Warm"])
    parser.add_argument("--memory", type=int, default=MOST_MEMORY)
    parser.add_argument("--reads", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    kube = _cluster(options.route, options.phase)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(kube, options.memory, times_reads=options.reads))


if __name__ == "__main__":
    main()
