"""A small HTTP/1.1 client that costs little itself: raw requests, keep-alive, exact times."""

import asyncio
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from samples import Samples

Address = tuple[str, int]


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of a request; `_` in a header's name stands for `-`."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {headers.pop('Host', 'bench')}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}"] * bool(body)
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(frozen=True)
class Answer:
    """An answer, and the seconds from sending to its first byte of body and to its last."""

    status: int
    body: bytes
    first: float
    seconds: float


class Connection:
    """One keep-alive connection, one request at a time; blocks."""

    def __init__(self, address: Address, timeout: float = 60.0) -> None:
        self._socket = socket.create_connection(address, timeout=timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, raw: bytes) -> Answer:
        """Send a request and read its answer. Raises OSError when the connection ends early."""
        began = time.perf_counter()
        self._socket.sendall(raw)
        seen = _Reading()
        first = 0.0
        while not seen.is_complete:
            data = self._socket.recv(262144)
            if not data:
                raise ConnectionError("the connection ended before its answer did")
            seen.feed(data)
            if not first and seen.body:
                first = time.perf_counter() - began
        seconds = time.perf_counter() - began
        return Answer(seen.status, bytes(seen.body), first or seconds, seconds)


class _Reading:
    """An answer as it arrives: Content-Length, chunked, or no body."""

    def __init__(self) -> None:
        self.status = 0
        self.body = bytearray()
        self.is_complete = False
        self._raw = bytearray()
        self._length: int | None = None
        self._chunked = False

    def feed(self, data: bytes) -> None:
        self._raw += data
        if not self.status and not self._head():
            return
        if self._chunked:
            self._chunks()
        else:
            self.body += self._raw
            self._raw.clear()
            self.is_complete = len(self.body) >= (self._length or 0)

    def _head(self) -> bool:
        end = self._raw.find(b"\r\n\r\n")
        if end < 0:
            return False
        lines = bytes(self._raw[:end]).decode("latin-1").split("\r\n")
        del self._raw[: end + 4]
        self.status = int(lines[0].split()[1])
        for line in lines[1:]:
            name, _, value = line.partition(":")
            if name.lower() == "content-length":
                self._length = int(value)
            elif name.lower() == "transfer-encoding":
                self._chunked = "chunked" in value.lower()
        return True

    def _chunks(self) -> None:
        while (end := self._raw.find(b"\r\n")) >= 0:
            size = int(bytes(self._raw[:end]).split(b";")[0], 16)
            if len(self._raw) < end + 2 + size + 2:
                return
            self.body += self._raw[end + 2 : end + 2 + size]
            del self._raw[: end + 2 + size + 2]
            if size == 0:
                self.is_complete = True
                return


@dataclass(frozen=True)
class Load:
    """What a number of clients got in a stretch of time."""

    per_second: float
    latencies: Samples
    failed: int


async def connect(address: Address, number: int) -> list["Client"]:
    """Open many connections, a hundred at a time."""
    clients: list[Client] = []
    for start in range(0, number, 100):
        batch = range(start, min(start + 100, number))
        clients += await asyncio.gather(*(Client.connect(address) for _ in batch))
    return clients


async def hammer(clients: Sequence["Client"], raw: Sequence[bytes], seconds: float) -> Load:
    """Each client sends its next request when it has its answer; client i sends `raw[i % len]`."""
    end = time.perf_counter() + seconds
    latencies: list[float] = []
    failed = 0

    async def work(client: Client, mine: bytes) -> None:
        nonlocal failed
        while time.perf_counter() < end:
            answer = await client.ask(mine)
            latencies.append(answer.seconds)
            failed += answer.status != 200

    began = time.perf_counter()
    await asyncio.gather(*(work(c, raw[i % len(raw)]) for i, c in enumerate(clients)))
    took = time.perf_counter() - began
    return Load(len(latencies) / took, Samples.of(latencies), failed)


class Client(asyncio.Protocol):
    """One keep-alive connection of many, in an event loop."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._reading = _Reading()
        self._began = self._first = 0.0
        self._answer: asyncio.Future[Answer] | None = None

    @classmethod
    async def connect(cls, address: Address) -> "Client":
        """Open a connection."""
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(cls, *address)
        return client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        """Bytes of the answer."""
        reading = self._reading
        reading.feed(data)
        if not self._first and reading.body:
            self._first = time.perf_counter() - self._began
        if reading.is_complete and self._answer is not None and not self._answer.done():
            took = time.perf_counter() - self._began
            first = self._first or took
            self._answer.set_result(Answer(reading.status, bytes(reading.body), first, took))

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("the connection ended early"))

    async def ask(self, raw: bytes) -> Answer:
        """Send a request; its answer once that is complete. OSError when the connection ends."""
        if self._transport is None:
            raise ConnectionError("the connection has ended")
        self._reading, self._first = _Reading(), 0.0
        self._answer = asyncio.get_running_loop().create_future()
        self._began = time.perf_counter()
        self._transport.write(raw)
        return await self._answer

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.close()
