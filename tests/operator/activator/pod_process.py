"""A pod in a process of its own that does nothing but answer, as fast as Python can.

`GET /bytes/<n>` gets that many bytes, any other GET two; a POST is told how much its body was. It
prints its port, and ends when its input does.

    python tests/operator/activator/pod_process.py
"""

import asyncio
import re
import sys
from typing import cast

import uvloop

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
_BYTES = re.compile(rb"GET /bytes/(\d+) ")
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_CHUNK = bytes(2**18)


class Answering(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._to_send = 0
        self._to_read = 0
        self._read = 0
        self._is_full = False
        self._is_last = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        assert transport is not None
        if self._to_read:
            self._count(data)
            return
        self._is_last = b"Connection: close" in data
        if data.startswith(b"POST "):
            end = data.index(b"\r\n\r\n") + 4
            length = _LENGTH.search(data, 0, end)
            self._to_read, self._read = int(length[1]) if length else 0, 0
            self._count(data[end:])
        elif wanted := _BYTES.match(data):
            self._to_send = int(wanted[1])
            transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self._to_send)
            self._send()
        else:
            transport.write(OK * data.count(b"\r\n\r\n"))
            self._end()

    def _count(self, data: bytes) -> None:
        assert self._transport is not None
        self._read += len(data)
        if self._read >= self._to_read:
            self._to_read = 0
            said = b"%d" % self._read
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(said)
            self._transport.write(head + said)
            self._end()

    def _send(self) -> None:
        assert self._transport is not None
        while self._to_send and not self._is_full:
            part = _CHUNK[: self._to_send]
            self._to_send -= len(part)
            self._transport.write(part)
        if not self._to_send:
            self._end()

    def _end(self) -> None:
        if self._is_last and self._transport is not None:
            self._transport.close()

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        if self._to_send:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._to_send = 0


async def _run() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    told = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), sys.stdin)
    await told.read()
    server.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run())
