"""The end of a process, for real: a subprocess, real sockets, real signals."""

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator

import httpx
import pytest
from serving import NO_TLS

pytestmark = pytest.mark.slow

APP = """
import asyncio, signal, sys
from prometheus_client import CollectorRegistry
from kotatsu_common import logs, server
from kotatsu_common.app import create_base_app
from kotatsu_common.health import Readiness
from kotatsu_common.server import serve
from kotatsu_common.settings import ServiceSettings

server.FIRST_REQUEST_SECONDS = 10
settings = ServiceSettings(host="127.0.0.1", port=0, shutdown_timeout=60)
logs.configure("info")
released = []
signal.signal(signal.SIGUSR2, lambda *_: released.append(True))
app = create_base_app(settings, title="T", registry=CollectorRegistry(), readiness=Readiness())

@app.post("/work")
async def work():
    await asyncio.sleep(0.02)
    return "done"

@app.post("/slow")
async def slow():
    while not released:
        await asyncio.sleep(0.01)
    return "done"

serve(app, settings)
"""


class Process:
    def __init__(self, script: str = APP) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-c", script], stderr=subprocess.PIPE, text=True
        )
        assert self.child.stderr
        for line in self.child.stderr:
            if "running on http://" in line:
                self.port = int(line.split("http://127.0.0.1:")[1].split()[0])
                self.url = f"http://127.0.0.1:{self.port}"
                return
        raise AssertionError("the server did not start")

    def signal(self, number: int) -> None:
        self.child.send_signal(number)

    async def ended(self) -> int:
        """Its exit code; it ends sooner than its shutdown timeout."""
        return await asyncio.to_thread(self.child.wait, 30)

    async def in_flight(self, number: int) -> None:
        """Wait until so many requests are being answered."""
        async with asyncio.timeout(20), httpx.AsyncClient(base_url=self.url, verify=NO_TLS) as http:
            while f"kotatsu_requests_in_flight {number}.0" not in (await http.get("/metrics")).text:
                await asyncio.sleep(0.01)

    async def refuses(self) -> None:
        """Wait until it accepts no connection any more."""
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except (ConnectionRefusedError, ConnectionResetError):
                    return  # it is reset if it waited to be accepted when the socket was closed
                writer.close()
                await asyncio.sleep(0.01)


@pytest.fixture
async def process() -> AsyncIterator[Process]:
    process = await asyncio.to_thread(Process)
    yield process
    if process.child.poll() is None:
        process.child.kill()
    process.child.wait()
    assert process.child.stderr
    process.child.stderr.close()


class Stream:
    """Keep-alive clients that post without pause, until no connection is accepted any more."""

    def __init__(self, url: str, clients: int = 8) -> None:
        self.closing = 0
        self.lost: list[str] = []
        self.refused = 0
        self.stop = asyncio.Event()
        self.one = asyncio.Semaphore(0)
        self.tasks = [asyncio.create_task(self._client(url)) for _ in range(clients)]

    async def _client(self, url: str) -> None:
        async with httpx.AsyncClient(timeout=10, verify=NO_TLS) as http:
            while not self.stop.is_set():
                try:
                    answer = await http.post(f"{url}/work")
                except httpx.ConnectError:
                    self.refused += 1  # nothing was sent: another pod gets it
                    return
                except httpx.TransportError as error:
                    self.lost.append(repr(error))
                    return
                assert answer.text == '"done"'
                self.one.release()
                self.closing += answer.headers.get("connection") == "close"

    async def wait_for(self, answers: int) -> None:
        async with asyncio.timeout(10):
            for _ in range(answers):
                await self.one.acquire()

    async def finish(self) -> None:
        self.stop.set()
        await asyncio.gather(*self.tasks)


async def test_the_two_steps_of_the_end_lose_no_request(process: Process) -> None:
    stream = Stream(process.url)
    await stream.wait_for(100)
    assert stream.closing == 0
    process.signal(signal.SIGUSR1)
    await stream.wait_for(100)
    assert stream.closing >= 80  # it still accepts, and asks for new connections
    process.signal(signal.SIGTERM)
    code = await process.ended()
    await stream.finish()
    assert stream.lost == []
    assert stream.refused == len(stream.tasks)
    assert code == 0


async def test_sigterm_alone_answers_what_is_in_flight(process: Process) -> None:
    async with httpx.AsyncClient(timeout=10, verify=NO_TLS) as http:
        tasks = [asyncio.create_task(http.post(f"{process.url}/slow")) for _ in range(5)]
        await process.in_flight(5)
        process.signal(signal.SIGTERM)
        await process.refuses()
        process.signal(signal.SIGUSR2)
        answers = await asyncio.gather(*tasks)
    assert [answer.text for answer in answers] == ['"done"'] * 5
    assert await process.ended() == 0


async def test_past_the_shutdown_timeout_those_who_wait_get_a_503() -> None:
    script = APP.replace("shutdown_timeout=60", "shutdown_timeout=1")
    process = await asyncio.to_thread(Process, script)
    async with httpx.AsyncClient(timeout=20, verify=NO_TLS) as http:
        tasks = [asyncio.create_task(http.post(f"{process.url}/slow")) for _ in range(5)]
        await process.in_flight(5)
        process.signal(signal.SIGTERM)
        answers = await asyncio.gather(*tasks)
    assert {(a.status_code, a.json()["title"]) for a in answers} == {(503, "Shutting down")}
    assert await process.ended() == 0
    process.child.stderr.close()  # type: ignore[union-attr]


async def test_a_connection_accepted_before_sigterm_may_still_send_its_request(
    process: Process,
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    process.signal(signal.SIGTERM)
    await process.refuses()
    writer.write(b"POST /work HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer
    assert await process.ended() == 0


async def test_an_idle_process_ends_at_once(process: Process) -> None:
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0


def test_a_taken_port_is_an_error_and_not_a_hang() -> None:
    with socket.create_server(("127.0.0.1", 0)) as first:
        script = APP.replace("port=0", f"port={first.getsockname()[1]}")
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode != 0
    assert "address already in use" in done.stderr
    assert "Traceback" not in done.stderr
