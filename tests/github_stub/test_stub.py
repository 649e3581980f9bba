"""The stub behaves as GitHub does where the services look."""

import subprocess
import sys
import time
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

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


async def test_a_code_becomes_a_token_and_a_bad_one_an_error_in_a_200(
    github: httpx.AsyncClient,
) -> None:
    assert (await call(github, "access_token")).json()["access_token"] == "demo"
    bad = await github.post("/login/oauth/access_token", data={**FIRST, "code": "x"})
    assert (bad.status_code, bad.json()) == (200, {"error": "bad_verification_code"})


async def test_a_user_has_an_etag_and_304_costs_nothing(github: httpx.AsyncClient) -> None:
    first = await call(github, "user")
    again = await github.get("/user", headers={**DEMO, "If-None-Match": first.headers["etag"]})
    assert (first.status_code, again.status_code) == (200, 304)
    assert first.headers["x-ratelimit-remaining"] == again.headers["x-ratelimit-remaining"]
    assert int(first.headers["x-ratelimit-reset"]) > time.time()


@pytest.mark.parametrize("header", ["", "demo", "Bearer nobody", "Bearer demo-", "Basic demo"])
async def test_other_tokens_are_bad_credentials(github: httpx.AsyncClient, header: str) -> None:
    answer = await github.get("/user", headers={"Authorization": header})
    assert (answer.status_code, answer.json()) == (401, {"message": "Bad credentials"})


async def test_everybody_has_an_avatar_that_is_a_drawing(github: httpx.AsyncClient) -> None:
    user = (await call(github, "user")).json()
    picture = await github.get(user["avatar_url"])
    assert picture.headers["content-type"].startswith("image/svg+xml")
    assert ElementTree.fromstring(picture.text).tag.endswith("svg")


async def test_the_login_page_says_yes_and_comes_back_with_a_code(
    github: httpx.AsyncClient,
) -> None:
    answer = await github.get(
        "/login/oauth/authorize",
        params={"redirect_uri": "http://pet/?a=1", "state": "xyz", "login": "anna"},
    )
    assert answer.status_code == 302
    assert answer.headers["location"] == "http://pet/?a=1&code=demo-anna&state=xyz"
    script = {"redirect_uri": "javascript:alert(1)"}
    assert (await github.get("/login/oauth/authorize", params=script)).status_code == 400


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


async def test_one_call_can_fail_alone(github: httpx.AsyncClient) -> None:
    await github.put("/_stub/control", json={"mode": "error", "calls": ["graphql"]})
    assert (await call(github, "graphql")).status_code == 500
    assert (await call(github, "user")).status_code == 200


async def test_slow_is_right_but_late(github: httpx.AsyncClient) -> None:
    await github.put("/_stub/control", json={"mode": "slow", "delay": 0.05})
    began = time.perf_counter()
    assert (await call(github, "user")).json()["login"] == "demo"
    assert time.perf_counter() - began >= 0.05


async def test_down_is_a_connection_that_is_cut(github: httpx.AsyncClient) -> None:
    await github.put("/_stub/control", json={"mode": "down"})
    with pytest.raises(httpx.ConnectError):
        await call(github, "user")


async def test_so_it_is_over_a_real_socket() -> None:
    with serving(create_app(StubSettings())) as url:
        async with httpx.AsyncClient(base_url=url, verify=NO_TLS) as github:
            await github.put("/_stub/control", json={"mode": "down"})
            with pytest.raises(httpx.RemoteProtocolError):
                await call(github, "user")
            assert (await github.delete("/_stub/control")).json()["mode"] == "ok"
            assert (await call(github, "user")).status_code == 200


async def test_the_control_page_counts_what_was_asked(github: httpx.AsyncClient) -> None:
    await call(github, "user")
    await call(github, "user")
    shown = (await github.get("/_stub/control")).json()
    assert shown["counted"] == {"user": 2}
    assert (await github.delete("/_stub/control")).json()["counted"] == {}


async def test_contributions_are_set_by_login(github: httpx.AsyncClient) -> None:
    await github.put("/_stub/control", json={"contributions": {"anna": 3}})
    shown = (await github.get("/_stub/control")).json()
    assert shown["contributions"] == {"anna": 3}


@pytest.mark.slow
def test_the_command_explains_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kotatsu_github_stub", "-h"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "KOTATSU_STUB_PUBLIC_URL" in done.stdout
