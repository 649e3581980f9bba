"""Fetches a calendar from a URL: bounded in time and size, and only if it has changed.

The URL comes from a Secret. Errors name only its host. Redirects are not followed: the Secret says
where the operator connects to, and no server does.
"""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp
from yarl import URL

from kotatsu_operator.core.calendar.occasions import MOST_BYTES
from kotatsu_operator.runtime.paced import Turns, client

TIMEOUT = 30.0
"""Seconds for an answer."""
_PIECE = 64 * 1024


class FetchError(Exception):
    """The calendar cannot be fetched. The message follows the name of the calendar."""


@dataclass(frozen=True)
class Fetched:
    """A calendar as a server has sent it, and what identifies this version."""

    data: bytes
    etag: str = ""
    modified: str = ""


async def fetch(
    address: str,
    before: Fetched | None = None,
    *,
    patience: float = TIMEOUT,
    turns: Turns | None = None,
) -> Fetched:
    """The calendar at an address; `before` itself if it has not changed. Raises FetchError.

    Answers that are fetched at the same time share `turns`.
    """
    url = _url(address)
    try:
        async with (
            asyncio.timeout(patience),
            # Twice the size, so that a calendar that is too large is named as such.
            client(turns or Turns(), url.host or "", 2 * MOST_BYTES, trust_env=True) as http,
        ):
            return await _get(http, url, before)
    except TimeoutError:
        raise FetchError(f"is not answered by {url.host} within {patience:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise FetchError(
            f"cannot be fetched from {url.host} ({type(error).__name__}): check the URL in the "
            "Secret, and that the NetworkPolicy permits it (networkPolicy.calendarsTo)"
        ) from None


def _url(address: str) -> URL:
    try:
        url = URL(address.strip())
        if url.scheme == "webcal":
            url = url.with_scheme("https")
        if url.scheme in ("http", "https") and url.host:
            return url
    except ValueError:
        pass
    raise FetchError("has no valid URL in its Secret: write it like https://calendar.example/a.ics")


async def _get(http: aiohttp.ClientSession, url: URL, before: Fetched | None) -> Fetched:
    headers = {"Accept": "text/calendar, */*;q=0.1"}
    if before is not None and before.etag:
        headers["If-None-Match"] = before.etag
    if before is not None and before.modified:
        headers["If-Modified-Since"] = before.modified
    async with http.get(url, headers=headers, allow_redirects=False) as answer:
        if answer.status == HTTPStatus.NOT_MODIFIED and before is not None:
            return before
        if answer.status == HTTPStatus.OK:
            return await _body(answer)
        raise FetchError(f"gets {answer.status} from {url.host}: {_remedy(answer.status)}")


async def _body(answer: aiohttp.ClientResponse) -> Fetched:
    found = bytearray()
    async for piece in answer.content.iter_chunked(_PIECE):
        found += piece
        if len(found) > MOST_BYTES:
            raise FetchError(f"has more than {MOST_BYTES // 2**20} MiB")
    headers = answer.headers
    return Fetched(bytes(found), headers.get("ETag", ""), headers.get("Last-Modified", ""))


def _remedy(status: int) -> str:
    if status in (301, 302, 303, 307, 308):
        return "redirects are not followed; put the URL that it leads to into the Secret"
    if status in (401, 403):
        return "it needs a login; use the calendar's secret address"
    if status in (404, 410):
        return "the calendar is not there; check the URL in the Secret"
    return "it is tried again"
