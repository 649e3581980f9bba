"""Requests to another server, bounded in time and memory, without following redirects."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx


class UnreadableAnswerError(Exception):
    """The answer is too long, or compressed without being asked; the text follows "it"."""


@dataclass(frozen=True)
class Bounds:
    """What a request may take."""

    seconds: float
    """In all, from connecting to the end of the answer."""
    limit: int
    """Bytes of the answer's body."""


def client() -> httpx.AsyncClient:
    """The client of a service.

    It opens as many connections as there are requests, which `Turns` bound. httpx would count the
    wait for a connection as time of the server, and look at every connection for each that waits.
    """
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    return httpx.AsyncClient(limits=limits)


async def fetch(
    http: httpx.AsyncClient, method: str, url: str, bounds: Bounds, **request: Any
) -> httpx.Response:
    """Send a request and read the whole answer within its bounds.

    Redirects are not followed. A compressed body is rejected: some hundred bytes can unpack to
    gigabytes before they are counted. Raises UnreadableAnswerError or httpx.RequestError;
    httpx.TimeoutException is raised after `bounds.seconds`.
    """
    async with streamed(http, method, url, bounds, **request) as (answer, chunks):
        body = b"".join([chunk async for chunk in chunks])
    return httpx.Response(answer.status_code, headers=answer.headers, content=body)


@contextlib.asynccontextmanager
async def streamed(
    http: httpx.AsyncClient, method: str, url: str, bounds: Bounds, **request: Any
) -> AsyncIterator[tuple[httpx.Response, AsyncIterator[bytes]]]:
    """Send a request and read the answer's body as it comes, with the rules of `fetch`.

    The time that the block itself needs between two chunks counts too.
    """
    request.setdefault("timeout", bounds.seconds)
    headers = {**request.pop("headers", {}), "Accept-Encoding": "identity"}
    deadline = asyncio.get_running_loop().time() + bounds.seconds
    async with contextlib.AsyncExitStack() as stack:
        async with _until(deadline, bounds):
            answer = await stack.enter_async_context(
                http.stream(method, url, headers=headers, follow_redirects=False, **request)
            )
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise UnreadableAnswerError("is compressed, although the request did not allow that")
        yield answer, _chunks(answer, deadline, bounds)


async def _chunks(answer: httpx.Response, deadline: float, bounds: Bounds) -> AsyncIterator[bytes]:
    read, chunks = 0, answer.aiter_bytes()
    while True:
        async with _until(deadline, bounds):
            chunk = await anext(chunks, None)
        if chunk is None:
            return
        read += len(chunk)
        if read > bounds.limit:
            raise UnreadableAnswerError("is too long")
        yield chunk


@contextlib.asynccontextmanager
async def _until(deadline: float, bounds: Bounds) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout_at(deadline):
            yield
    except TimeoutError:
        raise httpx.ReadTimeout(f"no answer within {bounds.seconds:g} seconds") from None
