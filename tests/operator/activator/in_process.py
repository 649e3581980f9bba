"""An activator's connections of one pool, behind a listening socket, and pods to join them to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from prometheus_client import CollectorRegistry

from kotatsu_operator.activator import wake
from kotatsu_operator.activator.connections import Connections
from kotatsu_operator.activator.feature import Context
from kotatsu_operator.activator.limits import ConnectionLimit
from kotatsu_operator.activator.metrics import ActivatorMetrics
from kotatsu_operator.activator.namespace import View
from kotatsu_operator.activator.pool import PodIdentity, Port
from kotatsu_operator.activator.splice import Client
from kotatsu_operator.core.protocol import ACTIVATOR_LABELS
from kotatsu_operator.kube.views import pod_view as read_pod
from tests.operator.cluster import (
    SET,
    FakeKube,
    deployment,
    eventually,
    pod,
    pool_view,
    service,
    warm_pool,
)

ME = PodIdentity("demo", "activator-1", "uid-activator-1", ("127.0.0.1",), "node-a", SET)
GET = b"GET /hello HTTP/1.1\r\nHost: voice\r\n\r\n"
READYZ = {"httpGet": {"path": "/readyz", "port": "http"}}


BY_ACTIVATOR = {"route": "Activator"}


def pool(phase="Asleep", epoch=1, *, lacks=False, **spec):
    """`lacks` is a pool whose pods have no gauge: all its connections pass."""
    passes_by = phase == "Warm" and not lacks and spec.get("route") != "Activator"
    route = {"target": "Native" if passes_by else "Activator", "epoch": epoch}
    known = {"template": {"metered": False}} if lacks else {}
    return warm_pool(status={"phase": phase, "route": route, "internal": known}, **spec)


def show(view, kind, obj, change="MODIFIED"):
    """Let the watches tell a view of an object, as the activator's process passes it on."""
    if kind == "Pod" and ACTIVATOR_LABELS.items() <= obj["metadata"]["labels"].items():
        name, now = obj["metadata"]["name"], None if change == "DELETED" else read_pod(obj)
        before = view.activators.pop(name, None)
        if now is not None:
            view.activators[name] = now
        view.note_peer(before, now)
    view.on_change(kind)(change, obj)


class Pod:
    """A pod of the pool: a server that says who it is, and counts what it is asked."""

    def __init__(self, name):
        self.name = name
        self.ready = True
        self.requests = []
        self.probes = 0
        self.asked = asyncio.Event()
        self.open = []
        self.server = None
        self.port = 0
        self.silent = False
        """Accepts and never answers."""

    async def start(self, port=0):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        self.open.append((reader, writer))
        head = await reader.readuntil(b"\r\n\r\n")
        if self.silent:
            return
        if head.startswith(b"GET /readyz"):
            self.probes += 1
            self.asked.set()
            writer.write(b"HTTP/1.1 %d .\r\n\r\n" % (200 if self.ready else 503))
        else:
            self.requests.append(head)
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + self.name.encode())
        if head.startswith(b"GET /long"):
            await reader.read()
        writer.close()

    def close(self):
        if self.server is not None:
            self.server.close()
        for _, writer in self.open:
            writer.transport.abort()


class Dictated(Pod):
    """A pod that answers what the test writes to the connections that have `reached` it."""

    def __init__(self, name):
        super().__init__(name)
        self.reached = asyncio.Queue()

    async def _serve(self, reader, writer):
        self.open.append((reader, writer))
        self.reached.put_nowait((reader, writer))


class Keeper(Pod):
    """A pod that keeps its connections open between requests, unless asked not to."""

    async def _serve(self, reader, writer):
        self.open.append((reader, writer))
        while not reader.at_eof():
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            self.requests.append(head)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            if b"Connection: close" in head:
                break
        writer.close()


async def one(reader, writer, data=GET):
    """One more request on a connection to a Keeper."""
    writer.write(data)
    return await reader.readuntil(b"ok")


class ActivatorFixture:
    """An activator's waker for the pool voice, behind a listening socket."""

    def __init__(self, limit=None, kube=None, features=()):
        self.kube = FakeKube(pool(), deployment(replicas=0)) if kube is None else kube
        self.view = View(lambda: self.connections.changed(), namespace="demo")
        self.registry = CollectorRegistry()
        self.needed, self.answering = set(), set()
        metrics = ActivatorMetrics(self.registry)
        limit = ConnectionLimit() if limit is None else limit
        context = Context("voice", self.kube, self.view, ME, metrics, self._needs, limit)
        self.connections = Connections(context, features)
        self.clients, self.pods, self.writers, self.tasks = [], [], [], []
        self.servers = []
        self.see("WarmPool", pool())
        self.see("Service", service())

    def _needs(self, name):
        """What the activator does for a pool on which this one depends."""
        self.needed.add(name)
        return name in self.answering

    def hold_at_most(self, connections):
        """The chart's activator.maxHeld."""
        self.view.read = partial(pool_view, max_held=connections)
        self.see("WarmPool", self.kube.stored("WarmPool", "voice"))

    async def __aenter__(self):
        await self.start()
        return self

    async def __aexit__(self, *_):
        await self.close()

    async def start(self):
        self.server = await asyncio.get_running_loop().create_server(self._accept, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    async def listen(self, port):
        """Listen for another port of the Service (by name); returns the number."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: self._accept(port), "127.0.0.1", 0)
        self.servers.append(server)
        return server.sockets[0].getsockname()[1]

    def _accept(self, port="http"):
        [of] = [p for p in self.view.ports("voice") if p.name == port] or [Port(port)]
        client = Client(self.connections, of)
        self.clients.append(client)
        return client

    def see(self, kind, obj, change="MODIFIED"):
        show(self.view, kind, obj, change)

    def see_pod(self, made, *, port=0, **how):
        """Let the watch tell of a pod."""
        how = {"readinessProbe": READYZ} | how
        self.see("Pod", pod(made.name, port=port or made.port, **how))

    async def new_pod(self, name="voice-1", of=Pod, **how):
        made = of(name)
        self.pods.append(made)
        await made.start()
        if how:
            self.see_pod(made, **how)
        return made

    async def starts_on_raise(self, of=Pod, **how):
        """Let the pod appear as soon as the scale has been raised."""
        made = await self.new_pod(of=of)
        self.kube.on("raise_scale", lambda _: self.see_pod(made, **how))
        return made

    async def send(self, data=GET, port=None):
        reader, writer = await asyncio.open_connection("127.0.0.1", port or self.port)
        self.writers.append(writer)
        writer.write(data)
        return reader, writer

    async def ask(self, data=GET, port=None):
        reader, writer = await self.send(data, port)
        answer = await reader.read()
        writer.close()
        return answer

    def hold(self, data=GET, port=None):
        """Ask without waiting for the answer."""
        return self.keep(asyncio.ensure_future(self.ask(data, port)))

    def keep(self, task):
        """End a task with this fixture."""
        self.tasks.append(task)
        return task

    async def held(self, number):
        await eventually(lambda: self.connections.held == number)

    @property
    def raises(self):
        return len(self.kube.called("raise_scale"))

    @property
    def announcements(self):
        return [c for c in self.kube.called("patch_status") if "demand" in c[2]]

    def hold_announcements(self):
        """From now on each is answered by one `release` of the semaphore that is returned."""
        gate = asyncio.Semaphore(0)
        self.kube.on("patch_status", lambda *_: gate.acquire())
        return gate

    async def announced(self, number):
        await eventually(lambda: len(self.announcements) == number)

    def count(self, name, **labels):
        labels = {"namespace": "demo", "name": "voice", **labels}
        return self.registry.get_sample_value(name, labels)

    async def close(self):
        self.server.close()
        for server in self.servers:
            server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for made in self.pods:
            made.close()
        for writer in self.writers:
            writer.transport.abort()
        await eventually(lambda: all(client.transport is None for client in self.clients))
        await self.connections.close()
        # Turns of the loop, not time: one end closes after it has seen the other go, and uvloop
        # ends with an error if a socket is still being closed.
        for _ in range(10):
            await asyncio.sleep(0.001)


@asynccontextmanager
async def with_feature(feature, monkeypatch) -> AsyncIterator[ActivatorFixture]:
    """A sleeping pool behind a listening activator that has a feature."""
    monkeypatch.setattr(wake, "ANNOUNCE_AFTER", 0.002)
    monkeypatch.setattr(wake, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(wake, "READ_AFTER", 60.0)  # the API server of these tests has no pods
    async with ActivatorFixture(features=[feature]) as activator:
        yield activator
