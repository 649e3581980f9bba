"""What the caller sees when the database or auth is away."""

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from feed.conftest import ByHost

from kotatsu_feed.app import create_app
from kotatsu_feed.settings import FeedSettings
from kotatsu_feed.storage.database import Database


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize("overrides", [{"database_timeout": 0.1}])
async def test_a_locked_database_is_503_and_says_so(
    feed: httpx.AsyncClient, database: Database
) -> None:
    await feed.get("/home")
    async with database.write() as db:
        await db.execute(sa.text("UPDATE pets SET name = name"))
        answer = await feed.put("/update_profile", json={"characterName": "x"})
        assert (await feed.get("/home")).status_code == 200  # readers don't wait for writers
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"
    assert answer.json()["title"] == "Storage unavailable"
    assert (await feed.put("/update_profile", json={"characterName": "x"})).status_code == 200


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize("status", [500, 503, 404])
async def test_without_auth_nobody_is_let_in_and_nobody_is_refused(
    settings: FeedSettings, status: int
) -> None:
    def auth(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers={"Retry-After": "7"})

    hosts: dict[str, httpx.AsyncBaseTransport] = {"auth": httpx.MockTransport(auth)}
    async with httpx.AsyncClient(transport=ByHost(hosts)) as outside:
        app: FastAPI = create_app(settings, http=outside, is_prepared=True)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://feed") as feed,
        ):
            answer = await feed.get("/home", headers={"Authorization": "demo"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
