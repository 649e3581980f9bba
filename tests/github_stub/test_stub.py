"""The stub of GitHub as a server; what it answers the tests of auth and feed rely on."""

import httpx
import pytest
from serving import NO_TLS, serving

from kotatsu_github_stub.app import create_app
from kotatsu_github_stub.settings import StubSettings

DEMO = {"Authorization": "Bearer demo"}


async def test_it_is_told_over_http_how_to_fail_and_down_cuts_the_connection() -> None:
    with serving(create_app(StubSettings())) as url:
        async with httpx.AsyncClient(base_url=url, verify=NO_TLS) as github:
            await github.put("/_stub/control", json={"mode": "error", "calls": ["graphql"]})
            assert (await github.get("/user", headers=DEMO)).status_code == 200
            await github.put("/_stub/control", json={"mode": "down"})
            with pytest.raises(httpx.RemoteProtocolError):
                await github.get("/user", headers=DEMO)
            told = (await github.delete("/_stub/control")).json()
            assert (told["mode"], told["counted"]) == ("ok", {})
            assert (await github.get("/user", headers=DEMO)).json()["login"] == "demo"


@pytest.mark.parametrize("header", ["", "demo", "Bearer nobody", "Bearer demo-", "Basic demo"])
async def test_other_tokens_are_bad_credentials(header: str) -> None:
    transport = httpx.ASGITransport(create_app(StubSettings()))
    async with httpx.AsyncClient(transport=transport, base_url="http://github") as github:
        answer = await github.get("/user", headers={"Authorization": header})
    assert (answer.status_code, answer.json()) == (401, {"message": "Bad credentials"})
