import asyncio
from typing import Any

import httpx
import pytest
from auth.conftest import Clock, verifications
from rows import each

from kotatsu_github_stub.people import Person
from kotatsu_github_stub.state import State

DEMO = Person("demo").id
WITH_DEMO = {"Authorization": "demo"}


async def test_a_good_token_is_answered_with_its_user_in_headers_and_json(
    auth: httpx.AsyncClient,
) -> None:
    answer = await auth.get("/authorize", headers=WITH_DEMO)
    avatar = "http://github/_stub/avatars/demo.svg"
    assert answer.status_code == 200
    assert answer.json() == {"userId": DEMO, "login": "demo", "avatarUrl": avatar}
    assert answer.headers["x-user-id"] == str(DEMO)
    assert answer.headers["x-user-login"] == "demo"
    assert answer.headers["x-user-avatar"] == avatar
    assert answer.headers["cache-control"] == "no-store"


@each("header", ["demo", "token demo", "Token demo", "Bearer demo", "bearer  demo "])
async def test_the_token_may_be_bare_or_named(auth: httpx.AsyncClient, header: str) -> None:
    answer = await auth.get("/authorize", headers={"Authorization": header})
    assert answer.status_code == 200


@each("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "PROPFIND"])
async def test_any_method_and_path_of_a_gateway_is_answered_in_the_same_way(
    auth: httpx.AsyncClient, method: str
) -> None:
    for path in ("/authorize", "/authorize/", "/authorize/feed/x?y=1"):
        good = await auth.request(method, path, headers=WITH_DEMO)
        bad = await auth.request(method, path)
        assert (good.status_code, bad.status_code) == (200, 401)
        assert good.headers["x-user-login"] == "demo"


@each(
    "header",
    [None, "", "   ", "Bearer", "token ", "Basic ZGVtbzo=", "a b c", b"caf\xc3\xa9", "x" * 5000],
)
async def test_what_can_not_be_a_token_is_refused_without_asking_github(
    auth: httpx.AsyncClient, stub: State, header: str | bytes | None
) -> None:
    headers: dict[str, Any] = {} if header is None else {"Authorization": header}
    answer = await auth.get("/authorize", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert stub.counted["user"] == 0


async def test_headers_from_outside_that_claim_a_user_change_nothing(
    auth: httpx.AsyncClient,
) -> None:
    claim = {"X-User-Id": "1", "X-User-Login": "root"}
    assert (await auth.get("/authorize", headers=claim)).status_code == 401
    answer = await auth.get("/authorize", headers={**claim, **WITH_DEMO})
    assert answer.headers.get_list("x-user-login") == ["demo"]


async def test_a_verified_token_is_not_asked_about_again_for_a_minute(
    auth: httpx.AsyncClient, stub: State, clock: Clock
) -> None:
    for _ in range(3):
        await auth.get("/authorize", headers=WITH_DEMO)
        clock.forward(15)
    assert stub.counted["user"] == 1
    assert await verifications(auth) == {"verified": 1, "cached": 2}


async def test_after_a_minute_github_is_asked_whether_anything_has_changed(
    auth: httpx.AsyncClient, stub: State, clock: Clock
) -> None:
    await auth.get("/authorize", headers=WITH_DEMO)
    left = stub.remaining
    clock.forward(61)
    answer = await auth.get("/authorize", headers=WITH_DEMO)
    assert answer.headers["x-user-login"] == "demo"
    assert stub.not_modified == 1
    assert stub.remaining == left  # a 304 costs nothing
    assert await verifications(auth) == {"verified": 1, "revalidated": 1}


async def test_fifty_at_once_with_one_token_make_one_call_to_github(
    auth: httpx.AsyncClient, stub: State
) -> None:
    stub.mode, stub.delay = "slow", 0.05
    answers = await asyncio.gather(*(auth.get("/authorize", headers=WITH_DEMO) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert stub.counted["user"] == 1


async def test_different_tokens_are_different_users(auth: httpx.AsyncClient) -> None:
    tokens = ["demo", "demo-anna", "demo-ben"]
    answers = [await auth.get("/authorize", headers={"Authorization": t}) for t in tokens]
    assert [a.json()["login"] for a in answers] == ["demo", "anna", "ben"]


async def test_a_bad_token_is_refused_and_asked_about_once_in_ten_seconds(
    auth: httpx.AsyncClient, stub: State, clock: Clock
) -> None:
    for _ in range(3):
        answer = await auth.get("/authorize", headers={"Authorization": "nobody"})
        assert answer.status_code == 401
        clock.forward(4)
    assert stub.counted["user"] == 1
    await auth.get("/authorize", headers={"Authorization": "nobody"})
    assert stub.counted["user"] == 2


@pytest.mark.parametrize("overrides", [{"github_own_tokens_only": True}])
async def test_tokens_of_another_app_can_be_refused(auth: httpx.AsyncClient, stub: State) -> None:
    ours = await auth.get("/authorize", headers=WITH_DEMO)
    foreign = await auth.get("/authorize", headers={"Authorization": "demo-foreigner"})
    again = await auth.get("/authorize", headers={"Authorization": "demo-foreigner"})
    assert [a.status_code for a in (ours, foreign, again)] == [200, 403, 403]
    assert stub.counted["app_token"] == 2


@pytest.mark.parametrize("overrides", [{"github_own_tokens_only": True}])
async def test_whose_app_a_token_is_of_is_asked_once(
    auth: httpx.AsyncClient, stub: State, clock: Clock
) -> None:
    await auth.get("/authorize", headers=WITH_DEMO)
    clock.forward(61)
    await auth.get("/authorize", headers=WITH_DEMO)
    assert (stub.counted["user"], stub.counted["app_token"]) == (2, 1)


async def test_tokens_of_another_app_are_let_in_unless_told_otherwise(
    auth: httpx.AsyncClient, stub: State
) -> None:
    answer = await auth.get("/authorize", headers={"Authorization": "demo-foreigner"})
    assert answer.status_code == 200
    assert stub.counted["app_token"] == 0
