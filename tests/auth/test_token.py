from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from rows import each

from kotatsu_github_stub.state import State


async def test_a_code_is_exchanged_for_a_token(auth: httpx.AsyncClient) -> None:
    answer = await auth.get("/token", params={"code": "demo-anna"})
    assert (answer.status_code, answer.json()) == (200, {"access_token": "demo-anna"})
    assert answer.headers["cache-control"] == "no-store"


@each("code", ["\x00", "é", "a b", "x" * 300, "\r\nX: y", "春"])
async def test_what_can_not_be_a_code_is_400_without_asking_github(
    auth: httpx.AsyncClient, stub: State, code: str
) -> None:
    assert (await auth.get("/token", params={"code": code})).status_code == 400
    assert stub.counted["access_token"] == 0


@pytest.mark.parametrize("overrides", [{"github_client_secret": "wrong"}])
async def test_wrong_credentials_of_ours_are_our_fault_and_in_the_log(
    auth: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, overrides: dict[str, Any]
) -> None:
    answer = await auth.get("/token", params={"code": "demo"})
    assert answer.status_code == 502
    assert "KOTATSU_GITHUB_CLIENT_SECRET" in caplog.text
    assert "KOTATSU" not in answer.text


VERIFIER = "v" * 43
CHALLENGE = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
BACK = "http://pet/"


async def code_of(github: httpx.AsyncClient, **challenge: str) -> str:
    """The code that GitHub's login page gives a page that sends this challenge."""
    url = "http://github/login/oauth/authorize"
    answer = await github.get(url, params={"redirect_uri": BACK, "login": "anna", **challenge})
    return parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]


async def test_a_page_exchanges_its_code_with_the_verifier_of_its_challenge(
    auth: httpx.AsyncClient, github: httpx.AsyncClient
) -> None:
    code = await code_of(github, code_challenge=CHALLENGE, code_challenge_method="S256")
    answer = await auth.post("/token", json={"code": code, "code_verifier": VERIFIER})
    assert (answer.status_code, answer.json()) == (200, {"access_token": "demo-anna"})
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("guess", [{}, {"code_verifier": "w" * 43}])
async def test_a_stolen_code_of_a_page_is_worth_nothing(
    auth: httpx.AsyncClient, github: httpx.AsyncClient, guess: dict[str, str]
) -> None:
    code = await code_of(github, code_challenge=CHALLENGE, code_challenge_method="S256")
    for answer in (
        await auth.post("/token", json={"code": code, **guess}),
        await auth.get("/token", params={"code": code}),
    ):
        assert answer.status_code == 400
        assert "bad_verification_code" in answer.json()["detail"]


@each(
    "login",
    [{}, {"code": "demo", "code_verifier": "short"}, {"code": "demo", "code_verifier": "é" * 43}],
)
async def test_what_can_not_be_a_login_of_a_page_is_refused_without_asking_github(
    auth: httpx.AsyncClient, stub: State, login: dict[str, str]
) -> None:
    assert (await auth.post("/token", json=login)).status_code == 422
    assert (await auth.post("/token", json={"code": "a b"})).status_code == 400
    assert stub.counted["access_token"] == 0


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
