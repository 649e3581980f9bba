"""The stub behaves as GitHub does where the services look."""

from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from serving import NO_TLS, serving

from kotatsu_github_stub.app import create_app
from kotatsu_github_stub.settings import StubSettings
from kotatsu_github_stub.state import CALLS, Call, State
from kotatsu_github_stub.transport import StubTransport

DEMO = {"Authorization": "Bearer demo"}
FIRST = {"client_id": "a", "client_secret": "b", "code": "demo"}
EACH: dict[Call, tuple[str, str, dict[str, object]]] = {
    "user": ("GET", "/user", {"headers": DEMO}),
    "graphql": ("POST", "/graphql", {"headers": DEMO, "json": {"query": "", "variables": {}}}),
    "access_token": ("POST", "/login/oauth/access_token", {"data": FIRST}),
    "app_token": (
        "POST",
        "/applications/a/token",
        {"auth": ("a", "b"), "json": {"access_token": "demo"}},
    ),
}


@pytest.fixture
def state() -> State:
    return State(contributions=12)


@pytest.fixture
async def github(state: State) -> AsyncIterator[httpx.AsyncClient]:
    transport = StubTransport(create_app(StubSettings(), state=state), state)
    async with httpx.AsyncClient(transport=transport, base_url="http://github") as http:
        yield http


async def call(github: httpx.AsyncClient, name: Call) -> httpx.Response:
    method, path, request = EACH[name]
    return await github.request(method, path, **request)  # type: ignore[arg-type]


@pytest.mark.parametrize("header", ["", "demo", "Bearer nobody", "Bearer demo-", "Basic demo"])
async def test_other_tokens_are_bad_credentials(github: httpx.AsyncClient, header: str) -> None:
    answer = await github.get("/user", headers={"Authorization": header})
    assert (answer.status_code, answer.json()) == (401, {"message": "Bad credentials"})


async def test_a_code_with_a_challenge_needs_the_verifier_that_it_was_made_from(
    github: httpx.AsyncClient,
) -> None:
    challenge = {  # RFC 7636, appendix B
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
    }
    page = {"redirect_uri": "http://pet/", "login": "anna"}
    answer = await github.get("/login/oauth/authorize", params={**page, **challenge})
    code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]

    async def exchange(**verifier: str) -> dict[str, str]:
        data = {**FIRST, "code": code, **verifier}
        return (await github.post("/login/oauth/access_token", data=data)).json()

    assert await exchange() == {"error": "bad_verification_code"}
    assert await exchange(code_verifier="w" * 43) == {"error": "bad_verification_code"}
    good = await exchange(code_verifier="dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    assert good["access_token"] == "demo-anna"
    for wrong in ({"code_challenge_method": "plain"}, {"code_challenge_method": ""}):
        refused = await github.get("/login/oauth/authorize", params={**page, **challenge, **wrong})
        assert refused.status_code in (400, 422)


@pytest.mark.parametrize(
    ("mode", "status"), [("error", 500), ("rate_limited", 403), ("garbage", 200)]
)
async def test_every_call_can_be_made_to_fail(
    github: httpx.AsyncClient, mode: str, status: int
) -> None:
    await github.put("/_stub/control", json={"mode": mode})
    for name in CALLS:
        answer = await call(github, name)
        assert answer.status_code == status
        if mode == "garbage":
            assert answer.text.startswith("<html>")
        if mode == "rate_limited":
            assert answer.headers["x-ratelimit-remaining"] == "0"


async def test_down_is_a_connection_that_is_cut_until_the_stub_is_reset() -> None:
    with serving(create_app(StubSettings())) as url:
        async with httpx.AsyncClient(base_url=url, verify=NO_TLS) as github:
            await github.put("/_stub/control", json={"mode": "down"})
            with pytest.raises(httpx.RemoteProtocolError):
                await call(github, "user")
            assert (await github.delete("/_stub/control")).json()["mode"] == "ok"
            assert (await call(github, "user")).status_code == 200
