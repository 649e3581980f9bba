"""The pet's web page: static files, and what the page must be told."""

from pathlib import Path
from urllib.parse import urlencode

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, Field

from kotatsu_common.pages import PageFiles, page_headers
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


def install(app: FastAPI, settings: FeedSettings) -> None:
    """Serve the page at `/` and its files under `/pet/`."""
    headers = page_headers(settings.avatar_origins)
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def index() -> FileResponse:
        return FileResponse(WEB / "index.html", headers=headers)

    @router.get(f"{FILES}/config.json")
    async def config(response: Response) -> PageConfig:
        response.headers["Cache-Control"] = "no-store"
        return page_config(settings)

    app.include_router(router)
    app.mount(FILES, PageFiles(WEB, headers), name="page")
