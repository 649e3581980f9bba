"""GitHub, or something in front of it, answering what makes no sense."""

from typing import Any

import httpx
from auth.conftest import Clock
from rows import each

from kotatsu_auth.app import create_app
from kotatsu_auth.settings import AuthSettings

USER = {"id": 7, "login": "bird", "avatar_url": "https://avatars.example/7"}


async def ask(settings: AuthSettings, path: str, answer: httpx.Response) -> httpx.Response:
    transport = httpx.MockTransport(lambda _: answer)
    async with httpx.AsyncClient(transport=transport) as github:
        app = create_app(settings, http=github)
        transport_in = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport_in, base_url="http://auth") as auth:
            return await auth.get(path, headers={"Authorization": "abc"})


async def test_this_is_what_a_sensible_answer_looks_like(settings: AuthSettings) -> None:
    answer = await ask(settings, "/authorize", httpx.Response(200, json=USER))
    assert answer.status_code == 200


@each(
    "user",
    [
        None,
        {**USER, "id": None},
        {**USER, "id": 0},
        {**USER, "login": "bird\r\nX-User-Id: 1"},
        {**USER, "avatar_url": "javascript:alert(1)"},
    ],
)
async def test_a_user_that_makes_no_sense_is_nobody(settings: AuthSettings, user: Any) -> None:
    answer = await ask(settings, "/authorize", httpx.Response(200, json=user))
    assert (answer.status_code, answer.json()["reason"]) == (503, "garbage")


@each("etag", [b'W/"\xe9"', b'"' + b"x" * 1000 + b'"'])
async def test_an_etag_that_cannot_be_sent_back_is_not(
    settings: AuthSettings, clock: Clock, etag: bytes
) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=USER, headers=[(b"ETag", etag)])

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as github:
        transport = httpx.ASGITransport(create_app(settings, http=github, clock=clock))
        async with httpx.AsyncClient(transport=transport, base_url="http://auth") as auth:
            for _ in range(2):
                found = await auth.get("/authorize", headers={"Authorization": "abc"})
                assert found.status_code == 200
                clock.forward(settings.token_ttl + 1)
    assert [request.headers.get("if-none-match") for request in asked] == [None, None]


@each("status", [204, 301, 302, 304, 404, 418, 422])
async def test_a_status_that_makes_no_sense_is_no_verdict(
    settings: AuthSettings, status: int
) -> None:
    answer = await ask(settings, "/authorize", httpx.Response(status, json=USER))
    assert (answer.status_code, answer.json()["reason"]) == (503, "garbage")


async def test_a_403_without_a_rate_limit_is_no_verdict_either(settings: AuthSettings) -> None:
    forbidden = httpx.Response(403, json={"message": "Forbidden by some proxy"})
    assert (await ask(settings, "/authorize", forbidden)).status_code == 503


@each(
    "body",
    [
        b"",
        b"{}",
        b'{"access_token": ""}',
        b'{"access_token": "a\\nb"}',
        b'{"access_token": "\\ud800"}',
        b'{"error": "<script>"}',
    ],
)
async def test_an_exchange_that_makes_no_sense_is_503(settings: AuthSettings, body: bytes) -> None:
    answer = await ask(settings, "/token?code=x", httpx.Response(200, content=body))
    assert (answer.status_code, answer.json()["reason"]) == (503, "garbage")
