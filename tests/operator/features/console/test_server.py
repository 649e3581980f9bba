"""The console's server takes no more of the operator's process than it may."""

import socket

import httpx
import pytest
from fastapi import FastAPI
from serving import NO_TLS

from kotatsu_node.ports import free_ports
from kotatsu_operator.features.console import app as server


@pytest.fixture
def port():
    (number,) = free_ports(1)
    app = FastAPI()

    @app.get("/")
    def index() -> str:
        return "ok"

    console = server.ConsoleServer(app, "127.0.0.1", number)
    console.start()
    transport = httpx.HTTPTransport(verify=NO_TLS, retries=10)  # until it listens
    with httpx.Client(transport=transport, trust_env=False, timeout=20) as client:
        client.get(f"http://127.0.0.1:{number}/").raise_for_status()
    yield number
    console.stop()


def test_who_comes_when_there_are_enough_is_turned_away(port, monkeypatch):
    monkeypatch.setattr(server, "CONNECTIONS", 3)
    address = ("127.0.0.1", port)
    silent = [socket.create_connection(address, timeout=20) for _ in range(3)]
    for client in silent:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 200"
    with socket.create_connection(address, timeout=5) as one_more:
        assert one_more.recv(1) == b""
    for client in silent:
        client.close()
