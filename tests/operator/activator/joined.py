"""A listening activator that lets its clients through to one pod when the test says so."""

import asyncio
import socket
import struct

from kotatsu_operator.activator import sockets
from kotatsu_operator.activator.limits import ConnectionLimit, KeptBytes
from kotatsu_operator.activator.registry import Forwarded
from kotatsu_operator.activator.splice import Client, Owner, Upstream

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
GET_AND_CLOSE = b"GET / HTTP/1.1\r\nConnection: close\r\nHost: a\r\n\r\n"
UPLOAD = b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n"
UPLOAD_AND_CLOSE = UPLOAD.replace(b"1.1\r\n", b"1.1\r\nConnection: close\r\n")
MEGABYTE = 2**20
TCP_REPAIR = 19  # of linux/tcp.h
MOST_IN_SOCKETS = 16 * MEGABYTE
"""More than the kernel ever keeps of one connection through the splice."""


class FakeOwner(Owner):
    """An owner that holds its clients until the test lets them through to a pod."""

    namespace = "demo"

    def __init__(self):
        self.arrivals, self.gone = [], []
        self.forwarded = Forwarded()
        self.idle_timeout = 600.0
        self.change = asyncio.Event()
        self.limit = ConnectionLimit()
        self.limit.kept = KeptBytes(2**40)
        self.wrote, self.weighed = self.limit.wrote, self.limit.kept.keep

    def may_resume(self, client):
        return True

    def is_ending(self, client):
        return False

    def arrived(self, client):
        self.arrivals.append(client)
        self.change.set()

    def left(self, client):
        self.gone.append(client)
        self.change.set()

    async def until(self, holds):
        async with asyncio.timeout(10):
            while not holds():
                self.change.clear()
                await self.change.wait()

    async def client(self):
        """The only client so far, once its first bytes have come."""
        await self.until(lambda: self.arrivals)
        return self.arrivals[0]


def small_socket():
    """A listening socket whose connections keep little in the kernel."""
    listening = socket.create_server(("127.0.0.1", 0))
    sockets.prepare(listening)
    for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        listening.setsockopt(socket.SOL_SOCKET, buffer, 2**16)
    return listening


def abort(writer):
    """End a connection; asyncio's cannot be aborted once it has closed."""
    if not writer.transport.is_closing() or writer.transport.get_write_buffer_size():
        writer.transport.abort()


class JoinedFixture:
    """A listening activator with one pool, and one pod behind it."""

    def __init__(self, closing):
        self.owner = FakeOwner()
        self.pods = asyncio.Queue()
        self._closing = closing

    async def start(self):
        loop = asyncio.get_running_loop()
        front = await loop.create_server(lambda: Client(self.owner), sock=small_socket())
        pod = await asyncio.start_server(self._serve, sock=small_socket())
        self.port, self.pod_port = (s.sockets[0].getsockname()[1] for s in (front, pod))
        self._closing.callback(front.close)
        self._closing.callback(pod.close)

    @property
    def client(self):
        """The activator's side of the only connection that has said something."""
        return self.owner.arrivals[0]

    async def _serve(self, reader, writer):
        self._closing.callback(abort, writer)
        self.pods.put_nowait((reader, writer))

    async def send(self, first):
        """A client that has sent its first bytes: its reader and writer, and the activator's."""
        reader, writer = await self.connect()
        writer.write(first)
        return reader, writer, await self.owner.client()

    async def connect(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**16)
        self._closing.callback(abort, writer)
        return reader, writer

    async def dial(self, client):
        """Connect a client, and no more; returns its upstream and the pod's writer."""
        upstream, (_, pod_writer) = await self._dial(client)
        return upstream, pod_writer

    async def _dial(self, client):
        upstream = Upstream(client)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: upstream, "127.0.0.1", self.pod_port)
        return upstream, await self.pods.get()

    async def let_through(self, client, **how):
        upstream, pod = await self._dial(client)
        client.splice(upstream, **how)
        return pod

    async def spliced(self, first=UPLOAD, **how):
        """A connection joined to the pod, its first bytes already read there."""
        reader, writer, client = await self.send(first)
        pod_reader, pod_writer = await self.let_through(client, **how)
        await pod_reader.readuntil(b"\r\n\r\n")
        return reader, writer, pod_reader, pod_writer


def reset(writer):
    """End a connection with a RST, as a killed process or a lost network would."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
