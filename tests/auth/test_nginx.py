"""The README's nginx snippet, run by a real nginx. Skipped where there is none."""

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import packages
import pytest
from serving import serving
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from kotatsu_auth.app import create_app
from kotatsu_auth.settings import AuthSettings
from kotatsu_github_stub.app import create_app as create_stub
from kotatsu_github_stub.settings import StubSettings
from kotatsu_github_stub.state import State
from kotatsu_node.ports import free_ports

README = Path(__file__).parents[2] / "services/auth/README.md"
pytestmark = pytest.mark.slow


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """The app behind the gateway: tells whom it was told."""
    if scope["type"] == "http":
        request = Request(scope, receive)
        told: dict[str, Any] = {k: v for k, v in request.headers.items() if k.startswith("x-user")}
        await JSONResponse(told)(scope, receive, send)


def configuration(folder: Path, port: int, auth: str, app: str) -> str:
    """A complete nginx.conf around the README's snippet."""
    match = re.search(r"```nginx\n(.*?)```", README.read_text(), re.DOTALL)
    assert match is not None
    snippet = match[1].replace("http://auth:8080", auth).replace("http://app:8080", app)
    paths = "".join(
        f"{name}_temp_path {folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "scgi", "uwsgi")
    )
    return f"""
daemon off; pid {folder}/pid; error_log stderr; worker_processes 1;
events {{ worker_connections 64; }}
http {{ access_log off;
{paths}
server {{ listen 127.0.0.1:{port};
{snippet}
}} }}"""


@pytest.fixture(scope="module")
def state() -> State:
    return State(contributions=5)


@pytest.fixture(scope="module")
def gateway(state: State, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("nginx")
    (port,) = free_ports(1)
    with serving(create_stub(StubSettings(), state=state)) as github, serving(echo) as app:
        settings = AuthSettings(
            github_client_id="a",
            github_client_secret="b",
            github_api_url=github,
            github_oauth_url=github,
            github_timeout=30,
        )
        with serving(create_app(settings)) as auth:
            conf = folder / "nginx.conf"
            conf.write_text(configuration(folder, port, auth, app))
            nginx = subprocess.Popen([packages.nginx(), "-c", conf, "-p", folder])
            try:
                url = f"http://127.0.0.1:{port}"
                _wait(url, nginx)
                yield url
            finally:
                nginx.terminate()
                nginx.wait(10)


def _wait(url: str, nginx: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        assert nginx.poll() is None
        try:
            httpx.get(url)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("nginx did not start")


def test_a_good_token_passes_with_its_user_and_a_forged_user_does_not(gateway: str) -> None:
    forged = {"X-User-Id": "1", "X-User-Login": "root", "Authorization": "demo"}
    answer = httpx.post(f"{gateway}/feed", headers=forged, content=b"body")
    assert answer.status_code == 200
    assert answer.json()["x-user-login"] == "demo"
    assert answer.json()["x-user-id"] != "1"


@pytest.mark.parametrize("token", [None, "nobody"])
def test_a_bad_token_is_401(gateway: str, token: str | None) -> None:
    headers = {} if token is None else {"Authorization": token}
    answer = httpx.get(f"{gateway}/home", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_an_outage_of_github_s_is_503_and_when_to_come_back(gateway: str, state: State) -> None:
    state.mode = "error"
    try:
        answer = httpx.get(f"{gateway}/home", headers={"Authorization": "demo-new"})
    finally:
        state.mode = "ok"
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
