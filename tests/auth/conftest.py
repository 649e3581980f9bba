from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from kotatsu_auth.app import create_app
from kotatsu_auth.settings import AuthSettings
from kotatsu_github_stub.app import create_app as create_stub
from kotatsu_github_stub.settings import StubSettings
from kotatsu_github_stub.state import State
from kotatsu_github_stub.transport import StubTransport

GITHUB = "http://github"
IMPATIENT = {"github_timeout": 0.2}


class Clock:
    """A monotonic clock that tests move."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def forward(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


# Making an app takes longer than most tests do, so there is one stub for all of them.
STUB = State(contributions=5)
STUB_APP = create_stub(StubSettings(), state=STUB)


@pytest.fixture
def stub() -> State:
    STUB.reset()
    return STUB


@pytest.fixture
async def github(stub: State) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=StubTransport(STUB_APP, stub)) as http:
        yield http


@pytest.fixture
def overrides(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings that a parametrized test changes. A GitHub that is slow is not waited for."""
    mode = request.getfixturevalue("mode") if "mode" in request.fixturenames else "ok"
    return IMPATIENT if mode == "slow" else {}


@pytest.fixture
def settings(overrides: dict[str, Any]) -> AuthSettings:
    values: dict[str, Any] = {
        "github_client_id": "our-app",
        "github_client_secret": "our-secret",
        "github_api_url": GITHUB,
        "github_oauth_url": GITHUB,
        "github_timeout": 30.0,
    }
    return AuthSettings(**{**values, **overrides})


@pytest.fixture
def app(settings: AuthSettings, github: httpx.AsyncClient, clock: Clock) -> FastAPI:
    return create_app(settings, http=github, clock=clock)


@pytest.fixture
async def auth(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://auth") as http:
        yield http


async def verifications(auth: httpx.AsyncClient) -> dict[str, int]:
    """kotatsu_auth_verifications_total by outcome, without the zeros."""
    counts = {}
    for line in (await auth.get("/metrics")).text.splitlines():
        if line.startswith("kotatsu_auth_verifications_total{"):
            outcome, value = line.split('"')[1], float(line.split()[-1])
            if value:
                counts[outcome] = int(value)
    return counts
