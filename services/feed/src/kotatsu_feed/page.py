"""The pet's web page: static files, and what the page must be told."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, Field
from starlette.staticfiles import StaticFiles

from kotatsu_feed.settings import FeedSettings

WEB = Path(__file__).parent / "web"
FILES = "/pet"
"""Where the page's own files are; `/` is the page."""


class PageConfig(BaseModel):
    """What the page must be told."""

    login_url: str = Field(description="GitHub's login page for this app; empty without one")
    demo_token: str = Field(description="a token that anybody may use; empty but in a demo")
    avatar_origins: list[str] = Field(description="other origins that pictures may come from")


def page_config(settings: FeedSettings) -> PageConfig:
    """How visitors of this installation may log in."""
    client = settings.github_client_id
    query = urlencode({"client_id": client, "scope": "read:user"})
    login = f"{settings.github_oauth_url}/login/oauth/authorize?{query}" if client else ""
    return PageConfig(
        login_url=login,
        demo_token=settings.demo_token,
        avatar_origins=list(settings.avatar_origins),
    )


def page_headers(settings: FeedSettings) -> dict[str, str]:
    """The page runs its own scripts only, talks to its own origin only, and is framed by nobody."""
    pictures = " ".join(["'self'", *settings.avatar_origins])
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        f"img-src {pictures}; media-src 'self' blob: data:; manifest-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }


class _Files(StaticFiles):
    """Static files with the page's headers."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__(directory=WEB)
        self._headers = headers

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """One file, or 304."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(self._headers)
        return response


def install(app: FastAPI, settings: FeedSettings) -> None:
    """Serve the page at `/` and its files under `/pet/`."""
    headers = page_headers(settings)
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def index() -> FileResponse:
        return FileResponse(WEB / "index.html", headers=headers)

    @router.get(f"{FILES}/config.json")
    async def config(response: Response) -> PageConfig:
        response.headers["Cache-Control"] = "no-store"
        return page_config(settings)

    app.include_router(router)
    app.mount(FILES, _Files(headers), name="page")
