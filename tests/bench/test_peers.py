"""The race against other systems: what is measured of any of them."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import peers
from kotatsu_node.cluster.control_plane import free_ports

BENCH = Path(peers.__file__).parent


@contextmanager
def small_app():
    [port] = free_ports(1)
    command = [sys.executable, BENCH / "small_app.py"]
    process = subprocess.Popen(command, env=os.environ | {"PORT": str(port)})
    try:
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        yield "127.0.0.1", port
    finally:
        process.terminate()
        process.wait()


class Standing:
    """A system that is nothing but the app itself."""

    def __init__(self, address):
        self.addresses = {peers.APP: address}


def test_a_request_is_lost_unless_it_is_answered_with_200_in_time():
    async def three(address):
        race = peers.Race(Standing(address), "nothing")
        answered = [await race.ask(path=path, within=3) for path in ("/", "/wait?s=0.1")]
        return [*answered, await race.ask(path="/wait?s=9", within=0.3)]

    with small_app() as address:
        first, waited, lost = asyncio.run(three(address))
    assert first is not None
    assert waited >= 0.1
    assert lost is None


def test_a_websocket_that_was_quiet_is_still_open_unless_its_server_has_gone():
    with small_app() as address:
        quiet = peers.quiet_websocket(address, "app", 0.2)
        assert asyncio.run(quiet) == "open, and answers"
    assert asyncio.run(peers.quiet_websocket(address, "app", 0.2)).startswith("no answer after")


@pytest.mark.slow
def test_the_app_counts_requests_that_wait_and_websockets_as_in_flight():
    async def look(address):
        race = peers.Race(Standing(address), "nothing")
        waits = asyncio.create_task(race.ask(path="/wait?s=2"))
        quiet = asyncio.create_task(peers.quiet_websocket(address, "app", 2.0))
        await asyncio.sleep(0.2)
        client = await peers.Client.connect(address)
        metrics = peers.request("GET", "/metrics")
        assert b"in_flight 2\n" in (await client.ask(metrics)).body
        await asyncio.gather(waits, quiet)
        async with asyncio.timeout(10):  # until the app has seen the end of the WebSocket, too
            while b"in_flight 0\n" not in (await client.ask(metrics)).body:
                await asyncio.sleep(0.01)
        client.close()

    with small_app() as address:
        asyncio.run(look(address))
