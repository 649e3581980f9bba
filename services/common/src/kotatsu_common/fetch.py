"""Requests to another server, bounded in time and memory, without following redirects."""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any

import httpx


class UnreadableAnswerError(Exception):
    """The answer is too long, or compressed without being asked; the text follows "it"."""


@dataclass(frozen=True)
class Bounds:
    """What a request may take."""

    seconds: float
    """In all, from the wait for a turn to the end of the answer."""
    limit: int
    """Bytes of the answer's body."""
    turns: asyncio.Semaphore | None = None
    """Concurrent requests."""


async def fetch(
    http: httpx.AsyncClient, method: str, url: str, bounds: Bounds, **request: Any
) -> httpx.Response:
    """Send a request and read the whole answer within its bounds.

    Redirects are not followed. A compressed body is rejected: some hundred bytes can unpack to
    gigabytes before they are counted. Raises UnreadableAnswerError or httpx.RequestError;
    httpx.TimeoutException is raised after `bounds.seconds`.
    """
    request.setdefault("timeout", bounds.seconds)
    headers = {**request.pop("headers", {}), "Accept-Encoding": "identity"}
    try:
        async with (
            asyncio.timeout(bounds.seconds),
            bounds.turns or contextlib.nullcontext(),
            http.stream(method, url, headers=headers, follow_redirects=False, **request) as answer,
        ):
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise UnreadableAnswerError(
                    "is compressed, although the request did not allow that"
                )
            body = bytearray()
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > bounds.limit:
                    raise UnreadableAnswerError("is too long")
    except TimeoutError:
        raise httpx.ReadTimeout(f"no answer within {bounds.seconds:g} seconds") from None
    return httpx.Response(answer.status_code, headers=answer.headers, content=bytes(body))
