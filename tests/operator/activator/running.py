"""An activator at work: the API server that it has, and pods that start when it raises a scale."""

import asyncio

from prometheus_client import CollectorRegistry

from kotatsu_operator.activator.app import Activator
from kotatsu_operator.activator.metrics import ActivatorMetrics
from kotatsu_operator.activator.slices import slice_name
from kotatsu_operator.core.pool.spec import BUILT_IN
from tests.operator.cluster import NAMESPACE, FakeKube, eventually, named, pod

ASLEEP = {
    "phase": "Asleep",
    "route": {"target": "Activator", "epoch": 1},
    "conditions": [{"type": "Accepted", "status": "True"}],
}


def of(namespace, obj):
    """The same in another namespace."""
    obj["metadata"]["namespace"] = namespace
    return obj


class RunningActivator:
    """The pod `me`; each namespace has the pool voice."""

    def __init__(self, me, *objects, scaled=BUILT_IN, **how):
        self.kube = FakeKube(*objects)
        self.kube.scaled = scaled
        self.registry = CollectorRegistry()
        self.activator = Activator(self.kube, me, ActivatorMetrics(self.registry), **how)
        self.slice_name = slice_name("voice", me, "IPv4")
        self.stop, self.answering = asyncio.Event(), asyncio.Event()
        self.answering.set()
        self.task = None
        self.servers, self.writers = [], []

    def run(self, drain_timeout=10.0):
        self.task = asyncio.create_task(self.activator.run(self.stop, drain_timeout))

    async def start(self, drain_timeout=10.0):
        self.run(drain_timeout)
        await eventually(lambda: not self.activator.why_not_ready())

    def slice(self, namespace=NAMESPACE):
        place = {"namespace": namespace, "name": self.slice_name}
        return self.kube.stored("EndpointSlice", named({"metadata": place}))

    def edit(self, namespace, **status):
        """Edit the status of a pool, as the operator does."""
        place = {"namespace": namespace, "name": "voice"}
        self.kube.edit("WarmPool", named({"metadata": place}), status=status)

    def count(self, name, namespace=NAMESPACE, **labels):
        labels |= {"namespace": namespace, "name": "voice"}
        return self.registry.get_sample_value(name, labels)

    async def ask(self, namespace=NAMESPACE, request=b"GET / HTTP/1.1\r\n\r\n"):
        """The body of the answer to a request."""
        port = self.slice(namespace)["ports"][0]["port"]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self.writers.append(writer)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer.partition(b"\r\n\r\n")[2]

    async def _answer(self, reader, writer):
        self.writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        await self.answering.wait()
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nwarm")
        writer.close()

    async def pods_start_when_raised(self):
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.servers.append(server)
        port = server.sockets[0].getsockname()[1]

        def start(scale):
            namespace = scale.rpartition("/")[0].rpartition("/")[2] or NAMESPACE
            self.kube.put(of(namespace, pod(port=port, ready=True)))

        self.kube.on("raise_scale", start)

    async def close(self):
        for writer in self.writers:
            writer.transport.abort()
        for server in self.servers:
            server.close()
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        for room in self.activator.rooms.values():
            room.publisher.close()
        await asyncio.sleep(0.01)
