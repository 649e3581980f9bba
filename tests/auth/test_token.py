from typing import Any

import httpx
import pytest

from kotatsu_github_stub.state import Mode, State


async def test_a_code_is_exchanged_for_a_token(auth: httpx.AsyncClient) -> None:
    answer = await auth.get("/token", params={"code": "demo-anna"})
    assert (answer.status_code, answer.json()) == (200, {"access_token": "demo-anna"})
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("query", ["", "?code="])
async def test_without_a_code_it_is_400(auth: httpx.AsyncClient, query: str) -> None:
    assert (await auth.get(f"/token{query}")).status_code == 400


async def test_a_bad_code_is_400_though_github_answers_it_with_200(
    auth: httpx.AsyncClient,
) -> None:
    answer = await auth.get("/token", params={"code": "expired"})
    assert answer.status_code == 400
    assert "bad_verification_code" in answer.json()["detail"]


@pytest.mark.parametrize("code", ["\x00", "é", "a b", "x" * 300, "\r\nX: y", "春"])
async def test_what_can_not_be_a_code_is_400_without_asking_github(
    auth: httpx.AsyncClient, stub: State, code: str
) -> None:
    assert (await auth.get("/token", params={"code": code})).status_code == 400
    assert stub.counted["access_token"] == 0


@pytest.mark.parametrize("mode", ["error", "rate_limited", "slow", "garbage", "down"])
async def test_when_github_can_not_be_asked_it_is_503_and_when_to_come_back(
    auth: httpx.AsyncClient, stub: State, mode: Mode
) -> None:
    stub.mode = mode
    answer = await auth.get("/token", params={"code": "demo"})
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("overrides", [{"github_client_secret": "wrong"}])
async def test_wrong_credentials_of_ours_are_our_fault_and_in_the_log(
    auth: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, overrides: dict[str, Any]
) -> None:
    answer = await auth.get("/token", params={"code": "demo"})
    assert answer.status_code == 502
    assert "KOTATSU_GITHUB_CLIENT_SECRET" in caplog.text
    assert "KOTATSU" not in answer.text


async def test_the_code_and_the_credentials_go_to_github_in_the_body(
    auth: httpx.AsyncClient, github: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[httpx.Request] = []

    async def note(request: httpx.Request) -> None:
        seen.append(request)

    github.event_hooks = {"request": [note]}
    await auth.get("/token", params={"code": "demo"})
    assert str(seen[0].url) == "http://github/login/oauth/access_token"
    assert seen[0].headers["accept"] == "application/json"
    assert seen[0].content == b"client_id=our-app&client_secret=our-secret&code=demo"
