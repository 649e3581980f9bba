"""The app factories of auth, feed and voice, and the GitHub stub, put together as one ASGI app.

The paths are those of the gateway on a cluster. Under /_local/<name>/ each app can be reached by
itself, with its own /openapi.json, /metrics and /readyz.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from kotatsu_auth.app import create_app as create_auth
from kotatsu_auth.settings import AuthSettings
from kotatsu_common import logs
from kotatsu_common.settings import load
from kotatsu_feed.app import create_app as create_feed
from kotatsu_feed.settings import FeedSettings
from kotatsu_github_stub.app import create_app as create_stub
from kotatsu_github_stub.settings import StubSettings
from kotatsu_github_stub.state import State
from kotatsu_github_stub.transport import StubTransport
from kotatsu_local.hosts import Hosts
from kotatsu_local.settings import LocalSettings, environment
from kotatsu_voice.app import create_app as create_voice
from kotatsu_voice.settings import VoiceSettings

LOCAL = "/_local/"
PATHS = {
    "/token": "auth",
    "/authorize": "auth",
    "/voice": "voice",
    "/voices": "voice",
    "/talk": "voice",
    "/_stub": "github-stub",
    "/login/oauth": "github-stub",
}
OTHERWISE = "feed"


class Paths:
    """Hands each request to the app that its path belongs to."""

    def __init__(self, apps: Mapping[str, ASGIApp]) -> None:
        self._apps = apps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":  # there are no WebSockets; the lifespan is the outer app's
            return
        path: str = scope["path"]
        name, _, _ = path.removeprefix(LOCAL).partition("/")
        if path.startswith(LOCAL) and name in self._apps:
            scope = {**scope, "root_path": f"{LOCAL}{name}"}
        else:
            name = next((n for p, n in PATHS.items() if path == p or path.startswith(f"{p}/")), "")
        await self._apps.get(name, self._apps[OTHERWISE])(scope, receive, send)


def create_app(settings: LocalSettings, environ: Mapping[str, str] | None = None) -> Starlette:
    """Everything in one app. `environ` is for tests; the services read the rest of it."""
    Path(settings.local_folder).mkdir(parents=True, exist_ok=True)
    values = environment(settings, environ)
    hosts = Hosts()
    http = httpx.AsyncClient(transport=hosts)
    apps: dict[str, FastAPI] = {
        "auth": create_auth(load(AuthSettings, values), http=http),
        "feed": create_feed(load(FeedSettings, values), http=http),
        "voice": create_voice(load(VoiceSettings, values), http=http),
    }
    hosts.update({"auth": httpx.ASGITransport(apps["auth"])})
    if settings.local_github == "stub":
        stub_settings = load(StubSettings, values)
        state = State(stub_settings.stub_contributions)
        apps["github-stub"] = create_stub(stub_settings, state=state)
        hosts.update({"github-stub": StubTransport(apps["github-stub"], state)})

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for app in apps.values():
                await stack.enter_async_context(app.router.lifespan_context(app))
            yield
        await http.aclose()

    outer = Starlette(lifespan=lifespan)
    outer.mount("/", Paths(apps))
    return outer


def from_environment() -> Starlette:
    """What uvicorn calls in each process that it starts anew."""
    settings = load(LocalSettings)
    logs.configure(settings.log_level)
    return create_app(settings)
