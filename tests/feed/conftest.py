import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import needs
import pytest
from fastapi import FastAPI
from feed.postgres import ROLE, NoPostgresError, postgres_server

from kotatsu_feed.app import create_app
from kotatsu_feed.settings import FeedSettings
from kotatsu_feed.storage.database import Database
from kotatsu_feed.storage.migrate import migrate
from kotatsu_feed.storage.pets import PetStore
from kotatsu_feed.storage.urls import database_url as parsed
from kotatsu_github_stub.app import create_app as create_stub
from kotatsu_github_stub.people import person_of
from kotatsu_github_stub.settings import StubSettings
from kotatsu_github_stub.state import State
from kotatsu_github_stub.transport import StubTransport

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]
IMPATIENT = {"github_timeout": 0.2}
_numbers = itertools.count()


class Clock:
    """The time of day, which tests move."""

    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> datetime:
        return self.time

    def forward(self, **units: float) -> None:
        self.time += timedelta(**units)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The folder of a running server's socket, with a migrated database `template`."""
    try:
        with postgres_server() as folder:
            asyncio.run(_sql(folder, "CREATE DATABASE template"))
            asyncio.run(migrate(parsed(_url(folder, "template"))))
            yield folder
    except NoPostgresError as error:
        needs.missing("PostgreSQL", str(error))


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied: a tenth of the time that migrating takes."""
    path = tmp_path_factory.mktemp("template") / "pets.sqlite3"
    asyncio.run(migrate(parsed(f"sqlite:///{path}")))
    return path


def _url(folder: str, database: str) -> str:
    return f"postgresql://{ROLE}@/{database}?host={folder}"


async def _sql(folder: str, statement: str) -> None:
    connection = await asyncpg.connect(host=folder, user=ROLE, database="postgres")
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(params=DATABASES)
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(dialect: str, request: pytest.FixtureRequest) -> str | None:
    """The socket's folder when the test is about PostgreSQL."""
    return request.getfixturevalue("postgres") if dialect == "postgresql" else None


@pytest.fixture
async def empty_url(server: str | None, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a database with nothing in it."""
    async with _fresh(server, tmp_path, "template0") as url:
        yield url


@pytest.fixture
async def url(server: str | None, migrated: Path, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a database with the newest schema and no pets."""
    async with _fresh(server, tmp_path, "template") as url:
        if server is None:
            shutil.copy(migrated, tmp_path / "pets.sqlite3")
        yield url


@asynccontextmanager
async def _fresh(server: str | None, tmp_path: Path, template: str) -> AsyncIterator[str]:
    if server is None:
        yield f"sqlite:///{tmp_path}/pets.sqlite3"
        return
    name = f"test_{next(_numbers)}"
    await _sql(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield _url(server, name)
    await _sql(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    database = Database(parsed(url))
    yield database
    await database.close()


@pytest.fixture
def store(database: Database) -> PetStore:
    return PetStore(database)


# Making an app takes longer than most tests do, so there is one stub for all of them.
STUB = State(contributions=5)
STUB_APP = create_stub(StubSettings(), state=STUB)


@pytest.fixture
def stub() -> State:
    """GitHub: 5 contributions to Dart today, for everybody."""
    STUB.reset()
    return STUB


@pytest.fixture
async def outside(stub: State) -> AsyncIterator[httpx.AsyncClient]:
    """Everything that feed calls: a stand-in for auth, and the GitHub stub."""
    github = StubTransport(STUB_APP, stub)
    auth = httpx.MockTransport(authorize)
    async with httpx.AsyncClient(transport=ByHost({"auth": auth, "github": github})) as http:
        yield http


class ByHost(httpx.AsyncBaseTransport):
    """Each host is somebody else."""

    def __init__(self, hosts: dict[str, httpx.AsyncBaseTransport]) -> None:
        self._hosts = hosts

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._hosts[request.url.host].handle_async_request(request)


def authorize(request: httpx.Request) -> httpx.Response:
    """GET /authorize as auth answers it."""
    token = request.headers["authorization"].removeprefix("Bearer ")
    person = person_of(token)
    if person is None:
        return httpx.Response(401)
    avatar = f"https://avatars.example/{person.login}.svg"
    return httpx.Response(
        200, json={"userId": person.id, "login": person.login, "avatarUrl": avatar}
    )


@pytest.fixture
def overrides(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings that a parametrized test changes. A GitHub that is slow is not waited for."""
    mode = request.getfixturevalue("mode") if "mode" in request.fixturenames else "ok"
    return IMPATIENT if mode == "slow" else {}


@pytest.fixture
def settings(url: str, overrides: dict[str, Any]) -> FeedSettings:
    values: dict[str, Any] = {
        "auth_url": "http://auth",
        "github_api_url": "http://github",
        "github_timeout": 30.0,
        "database_url": url,
    }
    return FeedSettings(**{**values, **overrides})


@pytest.fixture
async def app(
    settings: FeedSettings, outside: httpx.AsyncClient, clock: Clock
) -> AsyncIterator[FastAPI]:
    app = create_app(settings, http=outside, now=clock, is_prepared=True)  # `url` is migrated
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def feed(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of feed, signed in with the token `demo`."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://feed",
        headers={"Authorization": "demo"},
    ) as http:
        yield http
