"""Asking another server, bounded in time and memory, and never led elsewhere by its answer."""

import asyncio
import contextlib
from typing import Any

import httpx


class UnreadableAnswerError(Exception):
    """The answer has no end, or is packed though nobody asked for that; the text follows "it"."""


async def fetch(
    http: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    seconds: float,
    limit: int,
    turns: asyncio.Semaphore | None = None,
    **request: Any,
) -> httpx.Response:
    """The answer, read to its end within `seconds` in all; at most `limit` bytes of it are kept.

    With `turns` no more are under way than it allows; the wait for one counts.

    A redirect is an answer like any other. A packed body is refused: some hundred bytes can unpack
    to gigabytes before anybody has counted them. Raises UnreadableAnswerError or
    httpx.RequestError, of which httpx.TimeoutException says that the time was up.
    """
    request.setdefault("timeout", seconds)
    headers = {**request.pop("headers", {}), "Accept-Encoding": "identity"}
    try:
        async with (
            asyncio.timeout(seconds),
            turns or contextlib.nullcontext(),
            http.stream(method, url, headers=headers, follow_redirects=False, **request) as answer,
        ):
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise UnreadableAnswerError("is packed, which nobody asked for")
            body = bytearray()
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > limit:
                    raise UnreadableAnswerError("had no end")
    except TimeoutError:
        raise httpx.ReadTimeout(f"no answer within {seconds:g} seconds") from None
    return httpx.Response(answer.status_code, headers=answer.headers, content=bytes(body))
