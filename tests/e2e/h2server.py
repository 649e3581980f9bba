"""A small HTTP/2 server (prior knowledge, no TLS) that echoes, also as gRPC does.

h2 is in the operator's image, gRPC is not; on the wire a gRPC answer is an HTTP/2 one whose body is
the message with a five-byte prefix, and whose status comes in trailers.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)

Begun = Callable[[dict[str, str]], Awaitable[None]]
Answer = Callable[[dict[str, str], bytes], Awaitable[bytes]]


async def _nothing(_headers: dict[str, str]) -> None:
    pass


async def _echo(_headers: dict[str, str], body: bytes) -> bytes:
    return body


class H2Server:
    """Serves connections, on each of them one request after the other.

    `begun` is awaited with the headers of each request, `answer` with its headers and body. Once
    `is_leaving()`, the next answer of a connection is its last, and says so (GOAWAY).
    """

    def __init__(
        self,
        begun: Begun = _nothing,
        answer: Answer = _echo,
        is_leaving: Callable[[], bool] = lambda: False,
    ) -> None:
        self.begun, self.answer, self.is_leaving = begun, answer, is_leaving
        self._writers: set[asyncio.StreamWriter] = set()

    def close(self) -> None:
        """Cut every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self._writers.add(writer)
        try:
            with contextlib.suppress(ConnectionError):
                await _Connection(reader, writer, self).run()
        finally:
            self._writers.discard(writer)
            writer.close()


class _Connection:
    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: H2Server
    ) -> None:
        self._reader, self._writer, self._server = reader, writer, server
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._headers: dict[int, dict[str, str]] = {}
        self._bodies: dict[int, bytearray] = {}
        self._waiting: dict[int, bytearray] = {}
        """Bytes of answers for which the client has given no room yet."""
        self._answered = False

    async def run(self) -> None:
        self._h2.initiate_connection()
        self._flush()
        while data := await self._reader.read(65536):
            for event in self._h2.receive_data(data):
                if isinstance(event, ConnectionTerminated):
                    return
                await self._on(event)
            is_last = self._answered and not self._headers and self._server.is_leaving()
            if is_last:
                # In one write with the last answer, so that no request can cross it.
                self._h2.close_connection()
            self._flush()
            await self._writer.drain()
            if is_last:
                return

    async def _on(self, event: object) -> None:
        if isinstance(event, RequestReceived):
            self._headers[event.stream_id] = dict(event.headers)
            self._bodies[event.stream_id] = bytearray()
            await self._server.begun(self._headers[event.stream_id])
        elif isinstance(event, DataReceived):
            self._bodies[event.stream_id] += event.data
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            await self._answer(event.stream_id)
        elif isinstance(event, StreamReset):
            for kept in (self._headers, self._bodies, self._waiting):
                kept.pop(event.stream_id, None)
        elif isinstance(event, WindowUpdated):
            for stream in list(self._waiting):
                self._send(stream)

    async def _answer(self, stream: int) -> None:
        kind = self._headers[stream].get("content-type", "application/octet-stream")
        said = await self._server.answer(self._headers[stream], bytes(self._bodies.pop(stream)))
        self._h2.send_headers(stream, [(":status", "200"), ("content-type", kind)])
        self._waiting[stream] = bytearray(said)
        self._send(stream)

    def _send(self, stream: int) -> None:
        waiting = self._waiting[stream]
        while waiting:
            room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            if room <= 0:
                return
            self._h2.send_data(stream, bytes(waiting[:room]))
            del waiting[:room]
        del self._waiting[stream]
        self._answered = True
        if self._headers.pop(stream).get("content-type", "").startswith("application/grpc"):
            self._h2.send_headers(stream, [("grpc-status", "0")], end_stream=True)
        else:
            self._h2.end_stream(stream)

    def _flush(self) -> None:
        if data := self._h2.data_to_send():
            self._writer.write(data)
