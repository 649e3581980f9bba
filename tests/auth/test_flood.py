"""Somebody sends made-up tokens and codes without end: nobody is locked out or let in by it."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import httpx
import pytest
from auth.conftest import STUB_APP, Clock, verifications

from kotatsu_common.identity import Identity
from kotatsu_common.identity_client import UNVERIFIED, IdentityClient
from kotatsu_common.turns import AT_ONCE
from kotatsu_github_stub.people import person_of
from kotatsu_github_stub.state import State
from kotatsu_github_stub.transport import StubTransport

pytestmark = pytest.mark.slow

DEMO = {"Authorization": "demo"}
TOKENS = [f"made-up-{n}" for n in range(2 * UNVERIFIED)]


class Hesitant(StubTransport):
    """A GitHub that thinks about each made-up token and code until the test ends the flood."""

    def __init__(self, state: State) -> None:
        super().__init__(STUB_APP, state)
        self.thought = asyncio.Event()
        self.asked = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if b"made-up" in repr(request.headers.raw).encode() + request.content:
            self.asked += 1
            await self.thought.wait()
        return await super().handle_async_request(request)


@pytest.fixture
def hesitant(stub: State) -> Hesitant:
    return Hesitant(stub)


@pytest.fixture
async def github(hesitant: Hesitant) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=hesitant) as http:
        yield http


async def flood(
    auth: httpx.AsyncClient, hesitant: Hesitant, requests: Iterable[httpx.Request]
) -> list[asyncio.Task[httpx.Response]]:
    """Send all at once, and return when no more of them can reach GitHub."""
    sent = [asyncio.create_task(auth.send(request)) for request in requests]
    while sum(task.done() for task in sent) < len(sent) - UNVERIFIED:
        await asyncio.sleep(0)
    assert hesitant.asked == AT_ONCE
    return sent


async def flood_of_tokens(
    auth: httpx.AsyncClient, hesitant: Hesitant
) -> list[asyncio.Task[httpx.Response]]:
    return await flood(
        auth,
        hesitant,
        (auth.build_request("GET", "/authorize", headers={"Authorization": t}) for t in TOKENS),
    )


async def ended(
    hesitant: Hesitant, sent: list[asyncio.Task[httpx.Response]]
) -> list[httpx.Response]:
    hesitant.thought.set()
    return await asyncio.gather(*sent)


@pytest.fixture(autouse=True)
async def _soon() -> AsyncIterator[None]:
    async with asyncio.timeout(30):
        yield


async def test_a_revoked_token_is_refused_a_minute_later_all_the_same(
    auth: httpx.AsyncClient,
    hesitant: Hesitant,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert (await auth.get("/authorize", headers=DEMO)).status_code == 200
    sent = await flood_of_tokens(auth, hesitant)
    monkeypatch.setattr("kotatsu_github_stub.github.person_of", lambda _: None)
    clock.forward(61)
    assert (await auth.get("/authorize", headers=DEMO)).status_code == 401
    await ended(hesitant, sent)


async def test_a_known_user_is_asked_about_at_once_even_after_hours(
    auth: httpx.AsyncClient, hesitant: Hesitant, clock: Clock
) -> None:
    await auth.get("/authorize", headers=DEMO)
    sent = await flood_of_tokens(auth, hesitant)
    for seconds in (61, 10_000):
        clock.forward(seconds)
        assert (await auth.get("/authorize", headers=DEMO)).status_code == 200
    assert "stale" not in await verifications(auth)
    await ended(hesitant, sent)


async def test_a_new_user_logs_in_and_is_let_in(
    auth: httpx.AsyncClient, hesitant: Hesitant
) -> None:
    sent = await flood_of_tokens(auth, hesitant)
    login = await auth.post("/token", json={"code": "demo-anna"})
    token = login.json()["access_token"]
    answer = await auth.get("/authorize", headers={"Authorization": token})
    assert answer.json()["login"] == "anna"
    await ended(hesitant, sent)


async def test_of_made_up_tokens_a_bounded_number_waits_and_the_others_hear_that_it_is_our_limit(
    auth: httpx.AsyncClient, hesitant: Hesitant
) -> None:
    answers = await ended(hesitant, await flood_of_tokens(auth, hesitant))
    refused = [answer for answer in answers if answer.status_code == 503]
    assert len(refused) == len(TOKENS) - UNVERIFIED
    assert {answer.json()["reason"] for answer in refused} == {"busy"}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert {answer.status_code for answer in answers} == {401, 503}
    assert await verifications(auth) == {"busy": len(refused), "refused": UNVERIFIED}


async def test_a_flood_of_codes_keeps_no_token_waiting(
    auth: httpx.AsyncClient, hesitant: Hesitant
) -> None:
    codes = (auth.build_request("GET", "/token", params={"code": code}) for code in TOKENS)
    sent = await flood(auth, hesitant, codes)
    assert (await auth.get("/authorize", headers=DEMO)).status_code == 200
    answers = await ended(hesitant, sent)
    assert {answer.status_code for answer in answers} == {400, 503}


async def test_services_that_pass_the_flood_on_still_know_their_callers(
    auth: httpx.AsyncClient, hesitant: Hesitant
) -> None:
    await auth.get("/authorize", headers=DEMO)
    service = IdentityClient(auth, "http://auth")
    sent = [asyncio.create_task(service.verify(token)) for token in TOKENS]
    while sum(task.done() for task in sent) < len(sent) - UNVERIFIED:
        await asyncio.sleep(0)
    person = person_of("demo")
    assert person is not None
    avatar = "http://github/_stub/avatars/demo.svg"
    assert await service.verify("demo") == Identity(person.id, "demo", avatar)
    token = (await auth.post("/token", json={"code": "demo-anna"})).json()["access_token"]
    assert (await service.verify(token)).login == "anna"
    hesitant.thought.set()
    await asyncio.wait(sent)
