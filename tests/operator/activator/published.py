"""A publisher of slices, what it sees and what it wrote."""

import asyncio
import contextlib
import socket

from kotatsu_operator.activator.namespace import View
from kotatsu_operator.activator.pool import PodIdentity
from kotatsu_operator.activator.publisher import Publisher, are_complete
from kotatsu_operator.activator.slices import Slices, slice_name
from tests.operator.activator.in_process import ME, show
from tests.operator.cluster import (
    SET,
    FakeKube,
    activator_pod,
    native_slice,
    pool_view,
    service,
    warm_pool,
)

OTHER = PodIdentity("demo", "activator-2", "uid-activator-2", ("127.0.0.1",), "node-b", SET)
NAME = slice_name("voice", ME, "IPv4")


def pool(route="Activator", epoch=1, *, accepted="True", name="voice", route_mode="Auto", **spec):
    spec["route"] = route_mode
    status = {
        "phase": "Asleep" if route == "Activator" else "Warm",
        "route": {"target": route, "epoch": epoch},
        "conditions": [{"type": "Accepted", "status": accepted}],
    }
    return warm_pool(name, status=status, **spec)


class PublisherFixture:
    """A publisher with the namespace it sees and the API server it writes to."""

    def __init__(self, kube=None, me=ME):
        self.kube = kube or FakeKube()
        self.me = me
        self.view = View(namespace="demo", read=pool_view)
        self.clients = []
        self.native = {}
        """The slices of Kubernetes' own controller, by name."""
        slices = Slices(self.kube, "demo")
        self.publisher = Publisher(slices, self.view, me, self._new_client)
        self.see("Service", service())
        self.see("Pod", activator_pod())

    def _new_client(self, pool, port):
        self.clients.append((pool, port.name))
        return asyncio.Protocol()

    def see(self, kind, obj, change="MODIFIED"):
        if "native" in obj["metadata"].get("name", ""):
            self.native[obj["metadata"]["name"]] = obj
        show(self.view, kind, obj, change)

    def watch(self):
        """Let the watch of slices catch up with the API server."""
        items = [*self.native.values(), *self.kube.all("EndpointSlice")]
        self.view.on_change("EndpointSlice")("LIST", {"items": items})

    def later(self, seconds):
        """Let time pass for all that the publisher has noted."""
        for record in self.publisher.published.values():
            record.since = {what: at - seconds for what, at in record.since.items()}
            if record.emptied_at is not None:
                record.emptied_at -= seconds

    @property
    def is_complete(self):
        return are_complete([self.publisher])

    async def publish(self, *pools):
        """Publish pools; returns the port of the first one."""
        await self.sync(*pools)
        return self.port(slice_name(pools[0]["metadata"]["name"], self.me, "IPv4"))

    async def after(self, seconds):
        """Let time pass and look again; returns the seconds until the next look."""
        self.later(seconds)
        return await self.sync()

    async def go_native(self, *, ready=True):
        """Let the pool's own pod be ready, and the operator take the native route."""
        self.see("EndpointSlice", native_slice(ready))
        await self.sync(pool("Native"))

    async def sync(self, *pools):
        for obj in pools:
            self.see("WarmPool", obj)
        self.watch()
        return await self.publisher.sync()

    def slice(self, name=NAME):
        return self.kube.stored("EndpointSlice", name)

    def serving(self):
        """The families whose slice has an endpoint."""
        return [s["addressType"] for s in self.kube.all("EndpointSlice") if s["endpoints"]]

    def port(self, name=NAME):
        return self.slice(name)["ports"][0]["port"]

    def crash(self):
        """End the process without a word: the kernel closes its listeners."""
        for record in self.publisher.published.values():
            for listener in record.listeners:
                listener.server.close()


def is_listened_on(port):
    with contextlib.closing(socket.socket()) as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def ports_of(obj):
    return {p["name"]: p["port"] for p in obj["ports"]}


def epoch_of(obj):
    return obj["metadata"]["annotations"]["kotatsu.dev/epoch"]


async def restart(activator, make_activator, *, adopts=True):
    """The same pod with a new process."""
    activator.crash()
    await asyncio.sleep(0)
    again = make_activator(activator.kube, activator.me)
    again.watch()
    if adopts:
        await again.publisher.adopt()
    return again


async def leave(activator):
    """Let the pool's own pod take over."""
    await activator.go_native()
    await activator.after(10)
    assert activator.slice()["endpoints"] == []
