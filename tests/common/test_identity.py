import asyncio
from collections.abc import Callable

import httpx
import pytest
from common.crowd import Crowd
from fastapi import Depends, FastAPI
from rows import each

from kotatsu_common.identity import Identity, identity_dependency, token_of
from kotatsu_common.identity_client import AT_ONCE, UNVERIFIED, IdentityClient
from kotatsu_common.problems import Problem
from kotatsu_common.turns import WAITING

BIRD = Identity(7, "bird", "https://avatars.example/7")
Handler = Callable[[httpx.Request], httpx.Response]


def client(handler: Handler) -> IdentityClient:
    http = httpx.AsyncClient(transport=httpx.MockTransport(handler))
    return IdentityClient(http, "http://auth:8080/")


async def refused(handler: Handler, authorization: str | None = "abc") -> Problem:
    with pytest.raises(Problem) as caught:
        await client(handler).verify(authorization)
    return caught.value


def never(request: httpx.Request) -> httpx.Response:
    raise AssertionError("auth was asked")


@each("header", ["abc", "token abc", "Bearer abc", "bearer  abc "])
async def test_a_token_may_be_bare_or_named(header: str) -> None:
    asked: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=BIRD.to_json())

    assert await client(handler).verify(header) == BIRD
    assert asked[0].url == "http://auth:8080/authorize"
    assert asked[0].headers["authorization"] == "Bearer abc"


@each("header", [None, "", " ", "Bearer", "a b c", "Basic abc", "à", "a\x00b"])
async def test_without_a_token_nobody_is_asked(header: str | None) -> None:
    problem = await refused(never, header)
    assert problem.status == 401
    assert problem.headers["WWW-Authenticate"] == "Bearer"


def test_a_word_that_only_looks_like_a_scheme_is_no_token() -> None:
    assert token_of("token") is None
    assert token_of("token token") is None


async def test_a_refused_token_is_401() -> None:
    problem = await refused(lambda _: httpx.Response(401))
    assert (problem.status, problem.headers["WWW-Authenticate"]) == (401, "Bearer")


async def test_a_token_of_another_application_is_403() -> None:
    assert (await refused(lambda _: httpx.Response(403))).status == 403


async def test_when_auth_is_busy_its_retry_after_is_passed_on() -> None:
    problem = await refused(lambda _: httpx.Response(503, headers={"Retry-After": "42"}))
    assert (problem.status, problem.headers["Retry-After"]) == (503, "42")


@each(
    "answer",
    [
        httpx.Response(500),
        httpx.Response(302, headers={"Location": "http://elsewhere"}),
        httpx.Response(200, text="hello"),
        httpx.Response(200, json={"userId": "x", "login": "", "avatarUrl": ""}),
        httpx.Response(200, json=BIRD.to_json() | {"userId": 2**63}),
        httpx.Response(200, json=BIRD.to_json() | {"login": "'; DROP TABLE pets; --"}),
        httpx.Response(200, json=BIRD.to_json() | {"login": "x" * 101}),
        httpx.Response(200, content=b'{"userId": 7, "login": "\\ud800", "avatarUrl": "x"}'),
        httpx.Response(200, json=BIRD.to_json() | {"avatarUrl": "javascript:alert(1)"}),
        httpx.Response(200, json=BIRD.to_json() | {"avatarUrl": "https://a.example/\x00"}),
        httpx.Response(200, content=b"[" * 50_000),
        httpx.Response(503, headers={"Retry-After": "日".encode()}),
    ],
)
async def test_an_answer_that_makes_no_sense_is_503(answer: httpx.Response) -> None:
    problem = await refused(lambda _: answer)
    assert problem.status == 503
    assert problem.headers["Retry-After"]


@each("error", [httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError])
async def test_an_auth_that_cannot_be_reached_is_503(error: type[httpx.TransportError]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise error("no")

    problem = await refused(handler)
    assert (problem.status, problem.headers["Retry-After"]) == (503, "2")


async def test_a_route_gets_the_caller_and_believes_no_header_but_the_token(app: FastAPI) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=BIRD.to_json())

    identify = identity_dependency(client(handler).verify)

    @app.get("/me")
    async def me(who: Identity = Depends(identify)) -> str:  # noqa: B008
        return who.login

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        forged = {"X-User-Id": "1", "X-User-Login": "root"}
        assert (await http.get("/me", headers=forged)).status_code == 401
        answer = await http.get("/me", headers={**forged, "Authorization": "abc"})
        assert answer.json() == "bird"
        schema = (await http.get("/openapi.json")).json()
    assert schema["paths"]["/me"]["get"]["security"] == [{"GitHub token": []}]


async def test_a_crowd_of_callers_is_verified_in_turns() -> None:
    crowd = Crowd(json=BIRD.to_json())
    async with httpx.AsyncClient(transport=httpx.MockTransport(crowd.answer)) as http:
        identity = IdentityClient(http, "http://auth:8080")
        who = await asyncio.gather(*(identity.verify(f"t{n}") for n in range(WAITING)))
    assert who == [BIRD] * WAITING
    assert crowd.most == AT_ONCE


async def test_made_up_tokens_that_wait_in_auth_delay_no_caller_whom_it_knows() -> None:
    """Two pods of auth are full of made-up tokens, and turn the others away."""
    full, held = asyncio.Event(), 0

    async def auth(request: httpx.Request) -> httpx.Response:
        nonlocal held
        if request.headers["authorization"] == "Bearer known":
            return httpx.Response(200, json=BIRD.to_json())
        if held < 2 * UNVERIFIED:
            held += 1
            await full.wait()
        return httpx.Response(503, headers={"Retry-After": "2"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(auth)) as http:
        identity = IdentityClient(http, "http://auth:8080")
        flood = [asyncio.create_task(identity.verify(f"made up {n}")) for n in range(WAITING)]
        flood += [asyncio.create_task(identity.verify(f"x{n}")) for n in range(WAITING)]
        await asyncio.sleep(0)
        async with asyncio.timeout(30):
            assert await identity.verify("known") == BIRD
        assert held == 2 * UNVERIFIED
        full.set()
        await asyncio.wait(flood)
        assert all(isinstance(task.exception(), Problem) for task in flood)
