"""Secrets are followed through all that auth, feed and voice say, in success and in each failure.

The gateway, the activator and the plugin have the same in tests/chart/test_gateway_requests.py,
tests/operator/activator/test_app.py and tests/plugin/test_secrets.py.
"""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from serving import serving
from starlette.types import Message, Receive, Scope, Send
from trust.processes import Service

from kotatsu_github_stub.app import create_app as create_stub
from kotatsu_github_stub.settings import StubSettings
from kotatsu_github_stub.state import Mode, State

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

TOKEN = "demo-canary-0123456789"
NOBODYS = "gone-canary-9876543210"
CODE = "demo-canary-code-5555"
CLIENT_SECRET = "canary-client-secret-1"
GEMINI_KEY = "canary-gemini-key-22"
PASSWORD = "canary-password-333"
ECHOES = (200, 302, 400, 401, 403, 404, 418, 422, 429, 500)
ECHOED = [f"demo-canary-echo-{status}" for status in ECHOES]
"""A token for each: after a failure nobody is asked about the same one for some seconds."""
SENT = (TOKEN, CODE, CLIENT_SECRET, GEMINI_KEY, *ECHOED)
SECRETS = (*SENT, NOBODYS, PASSWORD)

MODES: list[Mode] = ["ok", "error", "rate_limited", "garbage", "slow", "down"]
HEADERS = ("{}", "Bearer {}", "token {}", "Basic {}", "Bearer {} {}", "Bearer {}é", "{}" * 200)


class Outside:
    """GitHub and Gemini on one port. As an echo it sends everything it was told back."""

    def __init__(self) -> None:
        self.state = State(contributions=5)
        self.state.delay = 2
        self._stub = create_stub(StubSettings(), state=self.state)
        self.echo: int | None = None
        self.asked: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._stub(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        told = repr(dict(scope["headers"])).encode() + scope["path"].encode() + body
        self.asked.append(told)
        if self.echo is None and "/models/" not in scope["path"]:

            async def again() -> Message:
                return {"type": "http.request", "body": body, "more_body": False}

            await self._stub(scope, again, send)
            return
        authorization = dict(scope["headers"]).get(b"authorization", b"")
        headers = [(b"location", b"/elsewhere?" + authorization), (b"x-echo", authorization)]
        start = {"type": "http.response.start", "status": self.echo or 500, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": told})


class Witness:
    """Keeps everything that was answered."""

    def __init__(self, http: httpx.Client) -> None:
        self.said: list[str] = []
        self._http = http

    def ask(self, method: str, url: str, **how: object) -> httpx.Response | None:
        try:
            answer = self._http.request(method, url, **how)  # type: ignore[arg-type]
        except httpx.TransportError:
            return None
        told = "" if _is_a_login(answer) else answer.text
        self.said += [told, str(answer.headers)]
        return answer

    def raw(self, url: str, data: bytes) -> None:
        """Bytes that need not be HTTP."""
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=5) as peer:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            while chunk := peer.recv(65536):
                self.said.append(chunk.decode(errors="replace"))


def _is_a_login(answer: httpx.Response) -> bool:
    """The one answer that has a secret in it: whoever brings a code gets its token."""
    return answer.url.path == "/token" and answer.status_code == 200


@pytest.fixture
def witness() -> Iterator[Witness]:
    with httpx.Client(timeout=30, trust_env=False) as http:
        yield Witness(http)


@pytest.fixture
def outside() -> Outside:
    return Outside()


@pytest.fixture
def services(outside: Outside, tmp_path: Path) -> Iterator[dict[str, Service]]:
    with serving(outside) as world:
        auth = Service(
            "kotatsu_auth",
            tmp_path,
            github_client_id="our-app",
            github_client_secret=CLIENT_SECRET,
            github_api_url=world,
            github_oauth_url=world,
            github_timeout=0.5,
            token_ttl=0,
            token_refused_ttl=0,
            github_own_tokens_only="true",
        )
        feed = Service(
            "kotatsu_feed",
            tmp_path,
            auth_url=auth.url,
            github_api_url=world,
            github_timeout=0.5,
            contributions_ttl=0,
            contributions_stale=0,
            database_url=f"sqlite:///{tmp_path}/pets.sqlite3",
        )
        voice = Service(
            "kotatsu_voice",
            tmp_path,
            auth_url=auth.url,
            gemini_api_key=GEMINI_KEY,
            gemini_api_url=f"{world}/v1beta",
        )
        made = {"auth": auth, "feed": feed, "voice": voice}
        try:
            for service in made.values():
                service.wait_ready()
            yield made
        finally:
            for service in made.values():
                service.stop()


def visit(witness: Witness, services: dict[str, Service], authorization: str) -> None:
    """Everything that a client with this header can ask for."""
    headers = {"Authorization": authorization.encode()}
    auth, feed, voice = (services[name].url for name in ("auth", "feed", "voice"))
    for method, path in (("GET", "/authorize"), ("POST", "/authorize/deeper?x=1")):
        witness.ask(method, auth + path, headers=headers)
    for method, path in (
        ("GET", "/home"), ("POST", "/get_feed"), ("POST", "/feed"), ("GET", "/ranking"),
        ("DELETE", "/home"), ("GET", "/nowhere"),
    ):  # fmt: skip
        witness.ask(method, feed + path, headers=headers)
    for body in ({"characterName": "Ada"}, {"characterName": ""}, {"wrong": 1}):
        witness.ask("PUT", f"{feed}/update_profile", headers=headers, json=body)
    witness.ask("PUT", f"{feed}/change_clothes", headers=headers, content=b"{")
    witness.ask("POST", f"{feed}/feed", headers=headers | {"Idempotency-Key": "x" * 300})
    witness.ask("POST", f"{voice}/voice", headers=headers, json={"text": "はい"})
    witness.ask("POST", f"{voice}/voice", headers=headers, json={"text": ""})
    witness.ask("POST", f"{voice}/talk", headers=headers, json={"message": "やあ"})


def test_a_secret_is_in_nothing_that_the_services_say(
    services: dict[str, Service], outside: Outside, witness: Witness
) -> None:
    auth = services["auth"].url
    for mode in MODES:
        outside.state.mode = mode
        for form in HEADERS if mode == "ok" else HEADERS[:1]:
            visit(witness, services, form.replace("{}", TOKEN))
        visit(witness, services, f"Bearer {NOBODYS}")
        for code in (CODE, f"{CODE}!", f"nobody-{CODE}", CODE * 50):
            witness.ask("GET", f"{auth}/token", params={"code": code})
    outside.state.mode = "ok"
    for status, token in zip(ECHOES, ECHOED, strict=True):
        visit(witness, services, token)
        outside.echo = status
        visit(witness, services, f"token {token}")
        witness.ask("GET", f"{auth}/token", params={"code": CODE})
    outside.echo = None
    _break_the_protocol(witness, services)
    services["auth"].stop()
    visit(witness, services, TOKEN)
    for name in ("feed", "voice"):
        for path in ("/metrics", "/openapi.json", "/pet/config.json", "/"):
            witness.ask("GET", services[name].url + path)
    for service in services.values():
        service.stop()

    logs = "\n".join(service.log.read_text() for service in services.values())
    everything = "\n".join([*witness.said, logs])
    told = b"".join(outside.asked).decode(errors="replace")
    for secret in SENT:
        assert secret in told, "it was really sent"
    assert logs.count("GET") > 100, "the log is really on"
    assert "canary-0123456789" in everything, "the login, which is no secret: the net is tight"
    for secret in SECRETS:
        assert secret not in everything, _around(everything, secret)


def _break_the_protocol(witness: Witness, services: dict[str, Service]) -> None:
    """Requests that can't be read, with a token in them."""
    for service in services.values():
        for data in (
            f"GET /home HTTP/1.1\r\nAuthorization: {TOKEN}\r\nbroken\r\n\r\n",
            f"GET /home HTTP/1.1\r\nAuthorization : {TOKEN}\r\nContent-Length: x\r\n\r\n",
            f"{TOKEN}\r\n\r\n",
            f"GET /home HTTP/1.1\r\nHost: {TOKEN}\r\nAuthorization: a\x00{TOKEN}\r\n\r\n",
            f"POST /feed HTTP/1.1\r\nAuthorization: {TOKEN}\r\nContent-Length: 99\r\n\r\n",
        ):
            witness.raw(service.url, data.encode())


def _around(text: str, secret: str) -> str:
    at = text.index(secret)
    return f"…{text[max(0, at - 300) : at + 100]}…"


def test_a_password_is_not_told_when_the_database_is_not_there(tmp_path: Path) -> None:
    for url in (
        f"postgresql://pet:{PASSWORD}@127.0.0.1:1/pets",
        f"postgresql://pet:{PASSWORD}@127.0.0.1:1/pets?sslmode=nonsense",
        f"mysql://pet:{PASSWORD}@127.0.0.1/pets",
        f"postgresql://pet:{PASSWORD}@[::1/pets",
    ):
        feed = Service("kotatsu_feed", tmp_path, database_url=url, database_wait=0)
        assert feed.ended() != 0
        said = feed.log.read_text()
        assert said
        assert PASSWORD not in said, said


@pytest.mark.parametrize(
    ("module", "settings"),
    [
        ("kotatsu_auth", {"github_client_secret": CLIENT_SECRET}),
        ("kotatsu_auth", {"github_client_secret": CLIENT_SECRET, "port": "x"}),
        ("kotatsu_voice", {"gemini_api_key": GEMINI_KEY, "auth_url": f"ftp://{PASSWORD}"}),
        ("kotatsu_feed", {"auth_url": PASSWORD, "database_url": f"x://{PASSWORD}"}),
    ],
    ids=json.dumps,
)
def test_settings_that_are_wrong_are_named_without_their_values(
    module: str, settings: dict[str, str], tmp_path: Path
) -> None:
    service = Service(module, tmp_path, **settings)
    assert service.ended() == 2
    said = service.log.read_text()
    assert "KOTATSU_" in said
    for secret in SECRETS:
        assert secret not in said
