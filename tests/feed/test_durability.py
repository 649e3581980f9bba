"""kill -9 at random moments: what was answered is stored, and nothing is stored twice.

KOTATSU_TEST_KILLS=200 makes a long run of it.
"""

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest
import sqlalchemy as sa
from feed.conftest import authorize
from serving import serving
from starlette.types import ASGIApp, Receive, Scope, Send

from kotatsu_feed.storage.database import Database
from kotatsu_feed.storage.schema import pets
from kotatsu_github_stub.app import create_app as create_stub
from kotatsu_github_stub.settings import StubSettings

KILLS = int(os.environ.get("KOTATSU_TEST_KILLS", "3"))
USERS = 4
pytestmark = [pytest.mark.slow, pytest.mark.timeout(60 + 10 * KILLS)]


class World:
    """auth and GitHub on one port."""

    def __init__(self, github: ASGIApp) -> None:
        self._github = github

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/authorize":
            await self._github(scope, receive, send)
            return
        headers = dict(scope["headers"])
        request = httpx.Request("GET", "http://auth/", headers=headers)
        answer = authorize(request)
        await send({"type": "http.response.start", "status": answer.status_code, "headers": []})
        await send({"type": "http.response.body", "body": answer.content})


@pytest.fixture
def world() -> Iterator[str]:
    with serving(World(create_stub(StubSettings(stub_contributions=1_000_000)))) as url:
        yield url


class Pod:
    """A feed process that can be killed and started again on the same port."""

    def __init__(self, world: str, database: str) -> None:
        port = _port()
        self.url = f"http://127.0.0.1:{port}"
        self._environment = {
            "KOTATSU_HOST": "127.0.0.1",
            "KOTATSU_PORT": str(port),
            "KOTATSU_AUTH_URL": world,
            "KOTATSU_GITHUB_API_URL": world,
            "KOTATSU_DATABASE_URL": database,
            "KOTATSU_LOG_LEVEL": "warning",
        }

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "kotatsu_feed", env=self._environment
        )
        async with httpx.AsyncClient() as http:
            while True:
                try:
                    if (await http.get(f"{self.url}/readyz")).status_code == 200:
                        return
                except httpx.TransportError:
                    assert self._process.returncode is None
                    await asyncio.sleep(0.05)

    async def kill(self, signal_: int = signal.SIGKILL) -> None:
        self._process.send_signal(signal_)
        await self._process.wait()


def _port() -> int:
    """A free port below those that outgoing connections get.

    While the pod is away its clients connect in vain: from a port of their own range they could
    meet themselves there, and then the pod could not have it back.
    """
    while True:
        port = random.randrange(15_000, 30_000)
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@asynccontextmanager
async def killed_again_and_again(pod: Pod, kills: int) -> AsyncIterator[asyncio.Event]:
    """Run the block while the pod dies and comes back; the event is set after the last time."""
    over = asyncio.Event()

    async def chaos() -> None:
        for _ in range(kills):
            await asyncio.sleep(random.uniform(0.2, 0.8))
            await pod.kill()
            await pod.start()
        over.set()

    task = asyncio.create_task(chaos())
    yield over
    await task


async def feed(http: httpx.AsyncClient, user: int, key: str | None) -> bool:
    """One try; True if it was answered with success."""
    headers = {"Authorization": f"demo-user{user}"}
    if key is not None:
        headers["Idempotency-Key"] = key
    try:
        answer = await http.post("/feed", headers=headers)
    except httpx.TransportError:
        await asyncio.sleep(0.1)
        return False
    # 503 is no answer either: on a busy machine a wait for auth or the database may end.
    assert answer.status_code in (200, 503), answer.text
    return answer.status_code == 200


async def experience(database: Database) -> int:
    async with database.read() as db:
        return int((await db.scalar(sa.select(sa.func.sum(pets.c.experience)))) or 0)


async def test_with_keys_and_retries_every_feeding_counts_exactly_once(
    world: str, url: str, database: Database
) -> None:
    pod = Pod(world, url)
    await pod.start()
    wishes = retries = 0

    async def client(user: int, over: asyncio.Event) -> None:
        nonlocal wishes, retries
        async with httpx.AsyncClient(base_url=pod.url, timeout=10) as http:
            while not over.is_set():
                wishes += 1
                key = f"{user}-{wishes}"
                while not await feed(http, user, key):
                    retries += 1

    async with killed_again_and_again(pod, KILLS) as over:
        await asyncio.gather(*(client(user, over) for user in range(USERS)))
    await pod.kill()
    assert retries > 0
    assert wishes > 10
    assert await experience(database) == 10 * wishes


async def test_without_keys_what_was_answered_is_stored_and_no_try_counts_twice(
    world: str, url: str, database: Database
) -> None:
    pod = Pod(world, url)
    await pod.start()
    tries = answered = 0

    async def client(user: int, over: asyncio.Event) -> None:
        nonlocal tries, answered
        async with httpx.AsyncClient(base_url=pod.url, timeout=10) as http:
            while not over.is_set():
                tries += 1
                was_answered = await feed(http, user, None)
                answered += was_answered

    async with killed_again_and_again(pod, KILLS) as over:
        await asyncio.gather(*(client(user, over) for user in range(USERS)))
    await pod.kill()
    assert answered > 10
    assert 10 * answered <= await experience(database) <= 10 * tries


async def test_a_graceful_end_answers_what_it_took_in(
    world: str, url: str, database: Database
) -> None:
    pod = Pod(world, url)
    await pod.start()
    async with httpx.AsyncClient(base_url=pod.url, timeout=30) as http:
        await feed(http, 0, None)
        tries = [asyncio.create_task(feed(http, 0, None)) for _ in range(50)]
        await asyncio.sleep(0.05)
        await pod.kill(signal.SIGTERM)
        answered = sum(await asyncio.gather(*tries))
    assert await experience(database) == 10 * (answered + 1)
