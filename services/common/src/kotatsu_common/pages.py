"""Web pages of our own: static files that run only their own scripts, on their own origin."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi.responses import Response
from starlette.staticfiles import StaticFiles


def page_headers(pictures: Sequence[str] = ()) -> dict[str, str]:
    """Headers of a page and its files; `pictures` are other origins that images may come from."""
    images = " ".join(("'self'", *pictures))
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        f"img-src {images}; media-src 'self' blob: data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }


class PageFiles(StaticFiles):
    """The files of a page, each with the page's headers."""

    def __init__(self, folder: Path, headers: dict[str, str]) -> None:
        super().__init__(directory=folder)
        self._headers = headers

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """One file, or 304."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(self._headers)
        return response
