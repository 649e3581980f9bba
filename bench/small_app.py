"""The workload of measurements: a server with nothing but Python's own library.

GET /?ms=5 answers after 5 ms of work on the one core it has, GET /wait?s=5 after 5 s without any; a
WebSocket gets its bytes back. /readyz and /metrics are as a pool wants them. With MODEL_BYTES it
first reads a model of that size from a file into memory; the first pod writes that file.
"""

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

# One thread does one thing: of what it works on, nothing is in flight while this page is read.
PAGE = "kotatsu_requests_in_flight {}\nkotatsu_last_request_timestamp_seconds {}\n"
in_flight = 0
"""Requests that wait, and open WebSockets."""
last = 0.0


class Connection(asyncio.Protocol):
    """One keep-alive connection; requests have no body."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        self.transport = transport
        self.seen = b""
        self.is_websocket = False

    def data_received(self, data: bytes) -> None:
        """Answer every complete request."""
        if self.is_websocket:
            self.transport.write(data)  # type: ignore[attr-defined]
            return
        self.seen += data
        while (end := self.seen.find(b"\r\n\r\n")) >= 0:
            head, self.seen = self.seen[:end], self.seen[end + 4 :]
            path = head.split(b" ", 2)[1].decode()
            lower = head.lower()
            closes = b"\r\nconnection: close" in lower
            if b"\r\nupgrade: websocket" in lower:
                self.upgrade(head)
            elif path.startswith("/wait"):
                request_begins()
                seconds = float(path.partition("s=")[2] or 0)
                asyncio.get_running_loop().call_later(seconds, self.answer_late, closes)
            else:
                self.send(answer(path), closes)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """A client has gone."""
        if self.is_websocket:
            request_ends()

    def send(self, text: str, closes: bool) -> None:
        """Send an answer."""
        body = text.encode()
        self.transport.write(  # type: ignore[attr-defined]
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s"
            % (len(body), b"Connection: close\r\n" * closes, body)
        )
        if closes:
            self.transport.close()

    def answer_late(self, closes: bool) -> None:
        """Answer a request that has waited."""
        request_ends()
        self.send("ok\n", closes)

    def upgrade(self, head: bytes) -> None:
        """Become a WebSocket (RFC 6455, 4.2.2)."""
        # Not before: a cold start without WebSockets would take longer.
        import base64
        import hashlib

        key = websocket_key(head) + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key, usedforsecurity=False).digest())
        self.is_websocket = True
        request_begins()
        self.transport.write(  # type: ignore[attr-defined]
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %s\r\n\r\n" % accept
        )


def websocket_key(head: bytes) -> bytes:
    """The key that a WebSocket's client has sent."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"sec-websocket-key":
            return value.strip()
    return b""


def request_begins() -> None:
    """One more request is in flight."""
    global in_flight
    in_flight += 1


def request_ends() -> None:
    """One has ended."""
    global in_flight, last
    in_flight -= 1
    last = time.time()


def answer(path: str) -> str:
    """The body for a path; work is done before it."""
    global last
    if path == "/metrics":
        return PAGE.format(in_flight, last)
    if path != "/readyz":
        last = time.time()
        work(float(path.partition("ms=")[2] or 0) / 1000)
    return "ok\n"


def work(seconds: float) -> None:
    """Keep a core busy."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def model(size: int) -> bytearray:
    """A model in memory, each page of it; nothing for 0 bytes."""
    file, weights = Path("/model/weights"), bytearray(size)
    if size and not file.exists():
        part, some = file.with_suffix(".part"), os.urandom(4096) * 4096
        with part.open("wb") as writing:
            for _ in range(0, size, len(some)):
                writing.write(some)
        part.rename(file)
    if size:
        with file.open("rb") as reading:
            reading.readinto(weights)
    return weights


async def main() -> None:
    """Serve until SIGTERM."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        Connection, "0.0.0.0", int(os.environ.get("PORT", "8080")), backlog=4096
    )
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    with contextlib.suppress(asyncio.CancelledError):
        await stop.wait()
    server.close()


weights = model(int(os.environ.get("MODEL_BYTES", "0")))
asyncio.run(main())
