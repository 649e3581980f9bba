import asyncio
import json

import httpx
import pytest

from kotatsu_operator.features.console import view
from kotatsu_operator.features.console.app import WEB, create_console
from kotatsu_operator.features.console.board import Board
from tests.operator.features.console.pools import NAMES, Clock, day, pool


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def board(clock):
    return day(clock)


@pytest.fixture
async def http(board, clock):
    transport = httpx.ASGITransport(create_console(board, clock))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8080") as client:
        yield client


async def test_a_pool_that_cannot_be_shown_hides_no_other(board, http, monkeypatch, caplog):
    real = view._view

    def fails_for_voice(entry, now):
        if entry.pool["metadata"]["name"] == "voice":
            raise RuntimeError("a bug")
        return real(entry, now)

    monkeypatch.setattr(view, "_view", fails_for_voice)
    state = (await http.get("/api/pools")).json()
    refused = {p["name"]: p["refused"] for p in state["pools"]}
    assert set(refused) == set(NAMES)
    assert refused["voice"].startswith("the console cannot show this pool")
    assert refused["auth"] is None
    assert "demo/voice: the console cannot show it" in caplog.text


async def test_all_pools_are_one_request_away(http):
    state = (await http.get("/api/pools")).json()
    assert state["keys"] == [f"demo/{name}" for name in NAMES]
    assert len(state["pools"]) == len(NAMES)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_nothing_can_be_changed_through_it(method, http):
    for path in ("/", "/api/pools", "/api/changes", "/console/console.js"):
        assert (await http.request(method, path)).status_code == 405


async def test_the_page_loads_nothing_from_elsewhere(http):
    page = await http.get("/")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for path in WEB.iterdir():
        answer = await http.get(f"/console/{path.name}")
        assert answer.status_code == 200
        text = answer.text.replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text
        assert "https:" not in text


async def test_changes_come_as_they_happen_and_only_those(board, clock):
    # Over ASGI itself: httpx's transport waits for the end of an answer, and this one has none.
    events = asyncio.Queue()

    async def send(message):
        if message.get("body"):
            await events.put(json.loads(message["body"].decode().removeprefix("data: ")))

    async def receive():
        await asyncio.Event().wait()

    scope = {"type": "http", "method": "GET", "path": "/api/changes", "query_string": b"",
             "headers": [(b"host", b"localhost")], "asgi": {"version": "3.0"},
             "http_version": "1.1"}  # fmt: skip
    app = create_console(board, clock)
    watching = asyncio.create_task(app(scope, receive, send))
    first = await events.get()
    assert len(first["pools"]) == len(NAMES)
    board.see(pool("auth", status={"phase": "Warm", "readyReplicas": 1}))
    second = await events.get()
    assert [p["name"] for p in second["pools"]] == ["auth"]
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_an_operator_without_pools_says_so(clock):
    transport = httpx.ASGITransport(create_console(Board(clock), clock))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8080") as client:
        state = (await client.get("/api/pools")).json()
    assert state["keys"] == []
