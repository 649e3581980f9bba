"""The three services in one process, as `make local` serves them."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from kotatsu_local.app import create_app
from kotatsu_local.settings import LocalSettings, environment


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(LocalSettings(local_folder=str(tmp_path / "pets")), {})
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http,
    ):
        yield http


@pytest.mark.slow
async def test_one_port_serves_the_whole_app(local: httpx.AsyncClient, tmp_path: Path) -> None:
    token = (await local.get("/token?code=demo")).json()["access_token"]
    mine = {"Authorization": token}
    assert (await local.get("/authorize", headers=mine)).json()["login"] == "demo"
    assert (await local.post("/get_feed", headers=mine)).json() == {"feedCount": 12}
    assert (await local.post("/feed", headers=mine)).json()["characterExperience"] == 10
    home = (await local.get("/home", headers=mine)).json()
    avatar = home["avatarUrl"]
    assert avatar.startswith("http://127.0.0.1:8000/")
    assert (await local.get(avatar)).headers["content-type"].startswith("image/svg+xml")
    speech = await local.post("/voice", json={"text": "こんにちは"})
    assert speech.headers["content-type"] == "audio/mpeg"
    assert (tmp_path / "pets/feed.sqlite3").exists()


def test_what_is_set_in_the_environment_wins() -> None:
    settings = LocalSettings()
    assert environment(settings, {})["KOTATSU_GITHUB_API_URL"] == "http://github-stub"
    mine = {"KOTATSU_DATABASE_URL": "postgresql://h/d"}
    assert environment(settings, mine)["KOTATSU_DATABASE_URL"] == "postgresql://h/d"


def test_the_real_github_is_one_variable_away() -> None:
    values = environment(LocalSettings(local_github="real"), {})
    assert "KOTATSU_GITHUB_API_URL" not in values
