"""The console's server takes no more of the operator's process than it may."""

import asyncio
import contextlib
import socket

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import Response, StreamingResponse
from serving import NO_TLS

from kotatsu_node.ports import free_ports
from kotatsu_operator.features.console import app as server


@pytest.fixture
def port():
    (number,) = free_ports(1)
    app = FastAPI()

    @app.get("/")
    def index() -> Response:
        return Response(status_code=204)

    async def endless():
        yield b"data\n"
        await asyncio.Event().wait()

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(endless())

    console = server.ConsoleServer(app, "127.0.0.1", number)
    console.start()
    transport = httpx.HTTPTransport(verify=NO_TLS, retries=10)  # until it listens
    with httpx.Client(transport=transport, trust_env=False, timeout=20) as client:
        client.get(f"http://127.0.0.1:{number}/").raise_for_status()
    yield number
    console.stop()


def opened(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def asks(client: socket.socket, path: str) -> None:
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        piece = client.recv(1024)
        assert piece, head
        head += piece
    assert head.startswith(b"HTTP/1.1 20")


def is_ended(client: socket.socket) -> None:
    """Read to the end, which a socket that stays open does not have."""
    with contextlib.suppress(ConnectionResetError):
        while client.recv(1024):
            pass


def test_more_silent_connections_than_there_is_room_for_keep_no_viewer_out(port):
    with contextlib.ExitStack() as stack:
        for _ in range(260):
            stack.enter_context(opened(port))
        asks(stack.enter_context(opened(port)), "/")


def test_who_comes_when_there_are_enough_gets_the_place_of_the_longest_silent_one(
    port, monkeypatch
):
    monkeypatch.setattr(server._Bounded, "most_connections", 3)
    with opened(port) as viewer, opened(port) as silent, opened(port) as later:
        asks(viewer, "/stream")
        asks(silent, "/")
        asks(later, "/")
        with opened(port) as one_more:
            asks(one_more, "/")
            is_ended(silent)
        asks(later, "/stream")


def test_who_comes_when_all_have_an_answer_under_way_is_turned_away(port, monkeypatch):
    monkeypatch.setattr(server._Bounded, "most_connections", 2)
    with opened(port) as viewer, opened(port) as another:
        asks(viewer, "/stream")
        asks(another, "/stream")
        with opened(port) as one_more:
            is_ended(one_more)
