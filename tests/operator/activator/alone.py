"""An activator in a process of its own, with an API server in memory and one pool named voice.

It prints one line of JSON when it is ready: `port`, where clients come in, and `metrics`, where its
pages are. What happens in the cluster is said to it on standard input, one word and its number a
line: `pod 8080` lets a Ready pod appear at that port, `gone 8080` takes it away, `files 100` lets
the process have no more open files than that. It ends when its input does.

    python tests/operator/activator/alone.py Always Warm
"""

import argparse
import asyncio
import json
import logging
import resource
import sys
from pathlib import Path

import uvloop
from prometheus_client import CollectorRegistry

from kotatsu_operator.activator.app import Activator
from kotatsu_operator.activator.metrics import ActivatorMetrics
from kotatsu_operator.activator.room import Room, raise_file_limit
from kotatsu_operator.activator.slices import Self, slice_name
from kotatsu_operator.admin import start_admin

sys.path.append(str(Path(__file__).parents[1]))

from cluster import FakeKube, activator_pod, deployment, pod, service, warm_pool

ME = Self("demo", "activator-1", "uid-activator-1", ("127.0.0.1",), "node-a")
HERE = Path(__file__)


def _cluster(route: str, phase: str, max_held: int, hold: str) -> FakeKube:
    status = {
        "phase": phase,
        "route": {"target": "Activator", "epoch": 1},
        "conditions": [{"type": "Accepted", "status": "True"}],
    }
    wake = {"maxHeld": max_held, "holdTimeout": hold}
    return FakeKube(
        warm_pool(status=status, route=route, wake=wake),
        deployment(replicas=int(phase == "Warm")),
        service(),
        activator_pod(),
    )


def _obey(kube: FakeKube, line: str) -> None:
    word, _, number = line.partition(" ")
    if word == "pod":
        kube.put(pod(f"voice-{int(number)}", port=int(number), ready=True))
    elif word == "gone":
        kube.remove("Pod", f"voice-{int(number)}")
    elif word == "files":
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(number), most))
    elif word:
        raise ValueError(f"there is no word {word}")


async def _run(kube: FakeKube, files: int) -> None:
    registry = CollectorRegistry()
    room = Room(min(raise_file_limit(), files))
    activator = Activator(kube, ME, ActivatorMetrics(registry), room)  # type: ignore[arg-type]
    admin = start_admin(
        "127.0.0.1",
        0,
        registry,
        live=str,
        ready=activator.why_not_ready,
        asked=activator.asked,
    )
    stop = asyncio.Event()
    running = asyncio.create_task(activator.run(stop, 0.0))
    while activator.why_not_ready():
        await asyncio.sleep(0.01)
    port = kube.stored("EndpointSlice", slice_name("voice", ME, "IPv4"))["ports"][0]["port"]
    print(json.dumps({"port": port, "metrics": admin.server_address[1]}), flush=True)  # noqa: T201
    told = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(told), sys.stdin
    )
    while line := await told.readline():
        _obey(kube, line.decode().strip())
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def main() -> None:
    """Read the arguments and run until standard input ends."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("route", choices=["Auto", "Always"])
    parser.add_argument("phase", choices=["Asleep", "Warm"])
    parser.add_argument("--max-held", type=int, default=20_000)
    parser.add_argument("--files", type=int, default=2**20)
    parser.add_argument("--hold", default="5m")
    options = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    kube = _cluster(options.route, options.phase, options.max_held, options.hold)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(kube, options.files))


if __name__ == "__main__":
    main()
