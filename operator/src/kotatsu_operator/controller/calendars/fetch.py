"""Fetches a calendar from a URL: bounded in time, size and redirects, and only if it has changed.

The URL comes from a Secret. Errors name only its host.
"""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp
from yarl import URL

from kotatsu_operator.core.calendar.occasions import MOST_BYTES

TIMEOUT = 30.0
"""Seconds for an answer, with its redirects."""
REDIRECTS = 5
_PIECE = 64 * 1024
_MOVED = frozenset({301, 302, 303, 307, 308})


class FetchError(Exception):
    """The calendar cannot be fetched. The message follows the name of the calendar."""


@dataclass(frozen=True)
class Fetched:
    """A calendar as a server has sent it, and what identifies this version."""

    data: bytes
    etag: str = ""
    modified: str = ""


async def fetch(
    address: str, before: Fetched | None = None, *, patience: float = TIMEOUT
) -> Fetched:
    """The calendar at an address; `before` itself if it has not changed. Raises FetchError."""
    url = _url(address)
    try:
        async with (
            asyncio.timeout(patience),
            aiohttp.ClientSession(
                auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), trust_env=True
            ) as session,
        ):
            return await _follow(session, url, before)
    except TimeoutError:
        raise FetchError(f"is not answered by {url.host} within {patience:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise FetchError(
            f"cannot be fetched from {url.host} ({type(error).__name__}): check the URL in the "
            "Secret, and that the NetworkPolicy permits it (networkPolicy.calendarPorts)"
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


async def _follow(session: aiohttp.ClientSession, url: URL, before: Fetched | None) -> Fetched:
    headers = {"Accept": "text/calendar, */*;q=0.1", "Accept-Encoding": "identity"}
    if before is not None and before.etag:
        headers["If-None-Match"] = before.etag
    if before is not None and before.modified:
        headers["If-Modified-Since"] = before.modified
    for _ in range(REDIRECTS + 1):
        async with session.get(url, headers=headers, allow_redirects=False) as answer:
            if answer.status == HTTPStatus.NOT_MODIFIED and before is not None:
                return before
            if answer.status == HTTPStatus.OK:
                return await _body(answer)
            if answer.status not in _MOVED or "Location" not in answer.headers:
                raise FetchError(f"gets {answer.status} from {url.host}: {_remedy(answer.status)}")
            to = url.join(URL(answer.headers["Location"]))
        if to.scheme != "https" and (to.scheme != "http" or url.scheme == "https"):
            raise FetchError(f"is redirected by {url.host} to a URL that is not https")
        url = to
    raise FetchError(f"is redirected more than {REDIRECTS} times by {url.host}")


async def _body(answer: aiohttp.ClientResponse) -> Fetched:
    found = bytearray()
    async for piece in answer.content.iter_chunked(_PIECE):
        found += piece
        if len(found) > MOST_BYTES:
            raise FetchError(f"has more than {MOST_BYTES // 2**20} MiB")
    headers = answer.headers
    return Fetched(bytes(found), headers.get("ETag", ""), headers.get("Last-Modified", ""))


def _remedy(status: int) -> str:
    if status in (401, 403):
        return "it needs a login; use the calendar's secret address"
    if status in (404, 410):
        return "the calendar is not there; check the URL in the Secret"
    return "it is tried again"
