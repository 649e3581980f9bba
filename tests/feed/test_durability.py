"""kill -9 at random moments: what was answered is stored, and nothing is stored twice.

With PostgreSQL its backends are killed too, in turn with feed: the server then throws every
connection away, commits in flight among them, and recovers from its log.
"""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import cycle

import asyncpg
import httpx
import pytest
import sqlalchemy as sa
from feed.conftest import authorize
from feed.postgres import ROLE
from serving import NO_TLS, serving
from starlette.types import ASGIApp, Receive, Scope, Send

from kotatsu_feed.storage.database import Database, StorageUnavailableError
from kotatsu_feed.storage.schema import pets
from kotatsu_github_stub.app import create_app as create_stub
from kotatsu_github_stub.people import Person
from kotatsu_github_stub.settings import StubSettings
from kotatsu_node.ports import free_ports

WITH_KEYS, WITHOUT_KEYS = (0, 1), (2, 3)
"""Users who send an Idempotency-Key and try again until they are answered, and users who do not."""
USERS = (*WITH_KEYS, *WITHOUT_KEYS)
MEAL = 10
"""Experience for one feeding."""


@dataclass(frozen=True)
class Length:
    """How long it goes on: at least so many kills, and so many feedings acknowledged."""

    kills: int
    feedings: int


LENGTHS = pytest.mark.parametrize(
    "length",
    [
        pytest.param(Length(3, 0), id="short", marks=pytest.mark.slow),
        pytest.param(
            Length(0, 10_000), id="long", marks=[pytest.mark.soak, pytest.mark.timeout(3600)]
        ),
    ],
)


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
        port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{port}"
        self._environment = {
            "KOTATSU_HOST": "127.0.0.1",
            "KOTATSU_PORT": str(port),
            "KOTATSU_AUTH_URL": world,
            "KOTATSU_GITHUB_API_URL": world,
            "KOTATSU_DATABASE_URL": database,
            "KOTATSU_LOG_LEVEL": "error",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def _begin(self) -> None:
        command = [sys.executable, "-m", "kotatsu_feed"]
        self._process = subprocess.Popen(command, env=self._environment)

    async def start(self) -> None:
        self._begin()
        assert self._process is not None
        async with httpx.AsyncClient(verify=NO_TLS) as http:
            while True:
                try:
                    if (await http.get(f"{self.url}/readyz")).status_code == 200:
                        return
                except httpx.TransportError:
                    assert self._process.poll() is None
                    await asyncio.sleep(0.05)

    async def kill(self, signal_: int = signal.SIGKILL) -> None:
        assert self._process is not None
        self._process.send_signal(signal_)
        await asyncio.to_thread(self._process.wait)

    def close(self) -> None:
        """End it, also where its test has failed or had no more time."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


Kill = Callable[[], Awaitable[None]]


class Feeders:
    """Clients that feed as fast as they can while `kills` are done in turn."""

    def __init__(self, pod: Pod, kills: dict[str, Kill], length: Length) -> None:
        self._pod, self._kills, self._length = pod, kills, length
        self._over = asyncio.Event()
        self.killed: Counter[str] = Counter()
        self.wishes: Counter[int] = Counter()
        """By user, as the rest."""
        self.tries: Counter[int] = Counter()
        self.arrived: Counter[int] = Counter()
        """Tries that feed may have seen: all but those that got no connection."""
        self.answered: Counter[int] = Counter()

    async def run(self) -> None:
        """Return after the last kill, when every client is done."""
        await self._pod.start()
        await asyncio.gather(self._kill(), *(self._client(user) for user in USERS))
        await self._pod.kill()

    async def _kill(self) -> None:
        turns = cycle(self._kills.items())
        while (
            self.killed.total() < self._length.kills
            or self.answered.total() < self._length.feedings
        ):
            before = self.answered.total()
            while self.answered.total() < before + len(USERS):  # however slow the machine is today
                await asyncio.sleep(0.01)
            await asyncio.sleep(random.uniform(0, 0.5))
            what, kill = next(turns)
            await kill()
            self.killed[what] += 1
        self._over.set()

    async def _client(self, user: int) -> None:
        async with httpx.AsyncClient(base_url=self._pod.url, timeout=10, verify=NO_TLS) as http:
            while not self._over.is_set():
                self.wishes[user] += 1
                has_key = user in WITH_KEYS
                key = f"{self.wishes[user]}" if has_key else None
                while not await self._feed(http, user, key) and has_key:
                    pass

    async def _feed(self, http: httpx.AsyncClient, user: int, key: str | None) -> bool:
        """One try; True if it was answered with success."""
        self.tries[user] += 1
        headers = {"Authorization": f"demo-user{user}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        try:
            answer = await http.post("/feed", headers=headers)
        except httpx.TransportError as error:
            self.arrived[user] += not isinstance(error, httpx.ConnectError)
            await asyncio.sleep(0.1)
            return False
        self.arrived[user] += 1
        # 503 is no answer either: on a busy machine a wait for auth or the database may end.
        assert answer.status_code in (200, 503), answer.text
        self.answered[user] += answer.status_code == 200
        return answer.status_code == 200


@pytest.fixture
def pod(world: str, url: str) -> Iterator[Pod]:
    with contextlib.closing(Pod(world, url)) as pod:
        yield pod


@pytest.fixture
def kills(pod: Pod, server: str | None, database: Database) -> dict[str, Kill]:
    """What is killed in turn."""

    async def feed() -> None:
        await pod.kill()
        await pod.start()

    async def backend() -> None:
        async with database.read() as db:
            mine = sa.text("SELECT pg_backend_pid()")
            others = sa.text(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                " AND backend_type = 'client backend' AND pid <> :mine"
            )
            found = await db.scalars(others, {"mine": await db.scalar(mine)})
            victim = random.choice(list(found))
        os.kill(victim, signal.SIGKILL)
        await _recovered(server or "")

    return {"feed": feed} if server is None else {"feed": feed, "backends": backend}


async def _recovered(folder: str) -> None:
    """Wait until the server takes connections again."""
    while True:
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection = await asyncpg.connect(host=folder, user=ROLE, database="postgres")
            await connection.close()
            return
        await asyncio.sleep(0.02)


async def meals(database: Database) -> dict[int, int]:
    """Feedings that are stored, by user."""
    with contextlib.suppress(StorageUnavailableError):  # a connection that died with the server
        async with database.read() as db:
            await db.execute(sa.select(pets.c.user_id))
    async with database.read() as db:
        rows = await db.execute(sa.select(pets.c.user_id, pets.c.experience))
        stored = {row.user_id: row.experience // MEAL for row in rows}
    return {user: stored.get(Person(f"user{user}").id, 0) for user in USERS}


def of(users: tuple[int, ...], counted: Counter[int]) -> int:
    """How many of what was counted are of these users."""
    return sum(counted[user] for user in users)


def report(dialect: str, feeders: Feeders, stored: dict[int, int], began: float) -> None:
    """The figures; `pytest -s` shows them."""
    killed = " and ".join(f"{count} of {name}" for name, count in feeders.killed.items())
    print(f"\n{dialect}: kill -9 {killed} in {time.monotonic() - began:.0f} s")  # noqa: T201
    for users, most, how in (
        (WITH_KEYS, feeders.wishes, "with keys"),
        (WITHOUT_KEYS, feeders.arrived, "without keys"),
    ):
        lost = sum(max(0, feeders.answered[user] - stored[user]) for user in users)
        doubled = sum(max(0, stored[user] - most[user]) for user in users)
        print(  # noqa: T201
            f"{how}: {of(users, feeders.answered)} feedings acknowledged of"
            f" {of(users, feeders.wishes)} wished in {of(users, feeders.arrived)} tries that"
            f" arrived; {lost} lost, {doubled} doubled"
        )


@LENGTHS
async def test_what_was_answered_is_stored_and_with_keys_counts_exactly_once(
    pod: Pod, kills: dict[str, Kill], database: Database, dialect: str, length: Length
) -> None:
    """Without a key no try counts twice, and one that was not answered may have counted."""
    feeders, began = Feeders(pod, kills, length), time.monotonic()
    await feeders.run()
    stored = await meals(database)
    report(dialect, feeders, stored, began)
    for user in WITH_KEYS:
        assert stored[user] == feeders.answered[user] == feeders.wishes[user]
    for user in WITHOUT_KEYS:
        assert feeders.answered[user] <= stored[user] <= feeders.arrived[user]
    assert of(WITH_KEYS, feeders.wishes) < of(WITH_KEYS, feeders.tries)
    assert 0 < of(WITHOUT_KEYS, feeders.answered) < of(WITHOUT_KEYS, feeders.arrived)


@pytest.mark.slow
async def test_a_graceful_end_answers_what_it_took_in(pod: Pod, database: Database) -> None:
    await pod.start()

    async def feed(http: httpx.AsyncClient) -> bool:
        try:
            answer = await http.post("/feed", headers={"Authorization": "demo"})
        except httpx.TransportError:
            return False
        return answer.status_code == 200

    async with httpx.AsyncClient(base_url=pod.url, timeout=30, verify=NO_TLS) as http:
        assert await feed(http)
        tries = [asyncio.create_task(feed(http)) for _ in range(50)]
        await asyncio.sleep(0.05)
        await pod.kill(signal.SIGTERM)
        answered = sum(await asyncio.gather(*tries))
    async with database.read() as db:
        assert await db.scalar(sa.select(pets.c.experience)) == MEAL * (answered + 1)
