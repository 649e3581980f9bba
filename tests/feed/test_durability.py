"""kill -9 at random moments: what was answered is stored, and nothing is stored twice.

KOTATSU_TEST_KILLS=200 makes a long run of it.
"""

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import Iterator

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


class Feeders:
    """Clients that feed as fast as they can while the pod dies and comes back."""

    def __init__(self, pod: Pod, *, with_keys: bool) -> None:
        self._pod = pod
        self._with_keys = with_keys
        self._over = asyncio.Event()
        self.wishes = 0
        self.tries = 0
        self.answered = 0

    async def run(self) -> None:
        """Return after the last kill, when every client is done."""
        await self._pod.start()
        await asyncio.gather(self._kill(), *(self._client(user) for user in range(USERS)))
        await self._pod.kill()

    async def _kill(self) -> None:
        for _ in range(KILLS):
            before = self.answered
            while self.answered < before + USERS:  # however slow the machine is today
                await asyncio.sleep(0.01)
            await asyncio.sleep(random.uniform(0, 0.5))
            await self._pod.kill()
            await self._pod.start()
        self._over.set()

    async def _client(self, user: int) -> None:
        async with httpx.AsyncClient(base_url=self._pod.url, timeout=10) as http:
            while not self._over.is_set():
                self.wishes += 1
                key = f"{user}-{self.wishes}" if self._with_keys else None
                while not await self._feed(http, user, key) and self._with_keys:
                    pass

    async def _feed(self, http: httpx.AsyncClient, user: int, key: str | None) -> bool:
        """One try; True if it was answered with success."""
        self.tries += 1
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
        self.answered += answer.status_code == 200
        return answer.status_code == 200


async def experience(database: Database) -> int:
    async with database.read() as db:
        return int((await db.scalar(sa.select(sa.func.sum(pets.c.experience)))) or 0)


async def test_with_keys_and_retries_every_feeding_counts_exactly_once(
    world: str, url: str, database: Database
) -> None:
    feeders = Feeders(Pod(world, url), with_keys=True)
    await feeders.run()
    assert feeders.answered == feeders.wishes < feeders.tries
    assert await experience(database) == 10 * feeders.wishes


async def test_without_keys_what_was_answered_is_stored_and_no_try_counts_twice(
    world: str, url: str, database: Database
) -> None:
    feeders = Feeders(Pod(world, url), with_keys=False)
    await feeders.run()
    assert 0 < feeders.answered < feeders.tries
    assert 10 * feeders.answered <= await experience(database) <= 10 * feeders.tries


async def test_a_graceful_end_answers_what_it_took_in(
    world: str, url: str, database: Database
) -> None:
    pod = Pod(world, url)
    await pod.start()

    async def feed(http: httpx.AsyncClient) -> bool:
        try:
            answer = await http.post("/feed", headers={"Authorization": "demo"})
        except httpx.TransportError:
            return False
        return answer.status_code == 200

    async with httpx.AsyncClient(base_url=pod.url, timeout=30) as http:
        assert await feed(http)
        tries = [asyncio.create_task(feed(http)) for _ in range(50)]
        await asyncio.sleep(0.05)
        await pod.kill(signal.SIGTERM)
        answered = sum(await asyncio.gather(*tries))
    assert await experience(database) == 10 * (answered + 1)
