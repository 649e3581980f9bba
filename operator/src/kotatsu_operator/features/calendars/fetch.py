"""Fetches a calendar from a URL: bounded in time and size, and only if it has changed.

The URL comes from a Secret. Errors name only its host. Redirects are not followed: the Secret says
where the operator connects to, and no server does.
"""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx2

from kotatsu_operator.core.calendar.occasions import MOST_BYTES
from kotatsu_operator.runtime.request import request

TIMEOUT = 30.0
"""Seconds for an answer."""
PIECES = 4096
"""Pieces of an answer, which may be one for each 48 bytes more. A chunk is a piece and costs about
16 µs, so chunks of one byte cost 0.1 s in all."""


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
    url, host = _url(address)
    try:
        async with asyncio.timeout(patience):
            return await _get(url, host, before)
    except TimeoutError:
        raise FetchError(f"is not answered by {host} within {patience:g} s") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
        raise FetchError(
            f"cannot be fetched from {host} ({type(error).__name__}): check the URL in the "
            "Secret, and that the NetworkPolicy permits it (networkPolicy.calendarsTo)"
        ) from None


def _url(address: str) -> tuple[str, str]:
    """The URL and its host."""
    try:
        url = urlsplit(address.strip())
        if url.scheme == "webcal":
            url = url._replace(scheme="https")
        if url.scheme in ("http", "https") and url.hostname and url.port != 0:
            return url.geturl(), url.hostname
    except ValueError:
        pass
    raise FetchError("has no valid URL in its Secret: write it like https://calendar.example/a.ics")


async def _get(url: str, host: str, before: Fetched | None) -> Fetched:
    headers = {"Accept": "text/calendar, */*;q=0.1"}
    if before is not None and before.etag:
        headers["If-None-Match"] = before.etag
    if before is not None and before.modified:
        headers["If-Modified-Since"] = before.modified
    async with request("GET", url, headers, connect=TIMEOUT) as answer:
        status, sent = answer.status_code, answer.headers
        if status == HTTPStatus.NOT_MODIFIED and before is not None:
            return before
        if status != HTTPStatus.OK:
            raise FetchError(f"gets {status} from {host}: {_remedy(status)}")
        data = await _body(answer)
    return Fetched(data, sent.get("etag", ""), sent.get("last-modified", ""))


async def _body(answer: httpx2.Response) -> bytes:
    data, left = bytearray(), PIECES
    async with aclosing(answer.aiter_raw()) as pieces:
        async for piece in pieces:
            data += piece
            left -= 1
            if len(data) > MOST_BYTES:
                raise FetchError(f"has more than {MOST_BYTES // 2**20} MiB")
            if left + len(data) // 48 < 0:
                raise httpx2.RemoteProtocolError("it is in too small chunks")
            if not left % 256:
                await asyncio.sleep(0)  # httpx2 parses all that has come in a turn of the loop
    return bytes(data)


def _remedy(status: int) -> str:
    if status in (301, 302, 303, 307, 308):
        return "redirects are not followed; put the URL that it leads to into the Secret"
    if status in (401, 403):
        return "it needs a login; use the calendar's secret address"
    if status in (404, 410):
        return "the calendar is not there; check the URL in the Secret"
    return "it is tried again"
