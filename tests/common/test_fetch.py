"""Whatever the other server answers: bounded in time and memory, and never led elsewhere."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from rows import each

from kotatsu_common.fetch import Bounds, UnreadableAnswerError, fetch

Handler = Callable[[httpx.Request], httpx.Response]


async def ask(handler: Handler, seconds: float = 1, **how: float) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as http:
        return await fetch(http, "GET", "http://there/", Bounds(seconds, 1000), **how)


async def test_an_answer_is_read_to_its_end() -> None:
    answer = await ask(lambda _: httpx.Response(200, headers={"X": "y"}, content=b"x" * 1000))
    assert (answer.status_code, answer.headers["x"], len(answer.content)) == (200, "y", 1000)


async def test_one_byte_more_than_the_limit_is_too_much() -> None:
    with pytest.raises(UnreadableAnswerError, match="too long"):
        await ask(lambda _: httpx.Response(200, content=b"x" * 1001))


async def test_an_endless_answer_is_given_up_and_not_collected() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 100
            yield b"x" * 100

    with pytest.raises(UnreadableAnswerError):
        await ask(lambda _: httpx.Response(200, content=endless()))
    assert sent <= 1100


@pytest.mark.parametrize("layers", [1, 2])
async def test_a_packed_answer_is_not_unpacked(layers: int) -> None:
    body = b"\0" * 1_000_000
    for _ in range(layers):
        body = gzip.compress(body)
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["accept-encoding"])
        headers = {"Content-Encoding": ", ".join(["gzip"] * layers)}
        return httpx.Response(200, headers=headers, stream=httpx.ByteStream(body))

    with pytest.raises(UnreadableAnswerError, match="compressed"):
        await ask(handler)
    assert asked == ["identity"]


async def test_the_time_is_for_the_whole_answer() -> None:
    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b""
            await asyncio.sleep(0.01)

    with pytest.raises(httpx.TimeoutException):
        await ask(lambda _: httpx.Response(200, content=drip()), seconds=0.1)


@each("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_not_followed(status: int) -> None:
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(status, headers={"Location": "http://169.254.169.254/"})

    assert (await ask(handler)).status_code == status
    assert asked == ["http://there/"]
