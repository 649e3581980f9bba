"""The race against other systems: how each is set up, and what is measured of any of them."""

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
import systems
from kotatsu_node.cluster.control_plane import free_ports
from kotatsu_node.errors import NodeError

BENCH = Path(peers.__file__).parent
SYSTEMS = systems.read((BENCH / "peers.yaml").read_text())
RACED = [system for system in SYSTEMS if not system.missing]


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


def test_each_is_raced_as_its_documents_install_it_and_tuned():
    assert [system.name.split()[0] for system in RACED] == ["Kotatsu", "KEDA"]
    for system in RACED:
        default, tuned, *more = system.configurations.values()
        assert list(system.configurations)[:2] == ["default", "tuned"]
        assert len(more) == (system.name == systems.OURS)  # for apps without a gauge
        assert tuned.idle <= systems.SOON < default.idle


@pytest.mark.parametrize("system", RACED, ids=lambda system: system.name)
def test_the_objects_of_an_app_name_it(system):
    for configuration in system.configurations.values():
        found = configuration.of("app-7")
        assert {obj["metadata"]["name"] for obj in found} == {"app-7"}
        assert found[-1]["spec"].get("targetRef", found[-1]["spec"].get("scaleTargetRef")) == {
            "name": "app-7"
        }


def test_a_system_that_cannot_be_had_is_a_row_that_says_what_was_tried(monkeypatch):
    async def nothing(*_):
        return []

    monkeypatch.setattr(peers, "race", nothing)
    found = asyncio.run(peers.rows(quick=True))
    assert [row.what for row in found] == [
        f"not raced: {system.name}" for system in SYSTEMS if system.missing
    ]
    assert all("proxy" in row.spread and "elsewhere" in row.how for row in found)


def test_a_system_that_cannot_be_installed_is_a_row_that_says_why(monkeypatch):
    @contextmanager
    def fails(_):
        raise NodeError("no module proxy")
        yield

    monkeypatch.setattr(systems, "_keda", fails)
    [row] = asyncio.run(peers.race(RACED[1], "tuned", quick=True))
    assert (row.what.partition(":")[0], row.spread) == ("not raced", "no module proxy")


def test_a_foreign_deployment_runs_our_image_with_its_own_command_or_the_one_of_its_name():
    for own, command in ((["/keda"], ["/keda"]), (None, ["/scaler"])):
        container = {"name": "scaler", "image": "ko://there"} | ({"command": own} if own else {})
        deployment = {"spec": {"template": {"spec": {"containers": [container]}}}}
        systems.adapt(deployment, {"TICK": "100ms"})
        assert container["command"] == command
        assert container["image"] == systems.IMAGE
        assert container["env"] == [{"name": "TICK", "value": "100ms"}]


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
