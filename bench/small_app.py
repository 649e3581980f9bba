"""The workload of measurements: a server with nothing but Python's own library.

GET /?ms=5 answers after 5 ms of work on the one core it has; /readyz and /metrics are as a pool
wants them. With MODEL_BYTES it first reads a model of that size from a file into memory; the first
pod writes that file.
"""

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

# One thread does one thing: whoever can read this page is the only one being served.
PAGE = "kotatsu_requests_in_flight 0\nkotatsu_last_request_timestamp_seconds {}\n"
last = 0.0


class Connection(asyncio.Protocol):
    """One keep-alive connection; requests have no body."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        self.transport = transport
        self.seen = b""

    def data_received(self, data: bytes) -> None:
        """Answer every complete request."""
        self.seen += data
        while (end := self.seen.find(b"\r\n\r\n")) >= 0:
            head, self.seen = self.seen[:end], self.seen[end + 4 :]
            path = head.split(b" ", 2)[1].decode()
            closes = b"\r\nconnection: close" in head.lower()
            body = answer(path).encode()
            self.transport.write(  # type: ignore[attr-defined]
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s"
                % (len(body), b"Connection: close\r\n" * closes, body)
            )
            if closes:
                self.transport.close()


def answer(path: str) -> str:
    """The body for a path; work is done before it."""
    global last
    if path == "/metrics":
        return PAGE.format(last)
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
