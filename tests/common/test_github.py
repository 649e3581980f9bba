import asyncio
import math
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from common.crowd import Crowd
from prometheus_client import CollectorRegistry
from rows import each

from kotatsu_common.github import (
    LONGEST_WAIT,
    MAX_ANSWER,
    GitHub,
    GitHubMetrics,
    GitHubUnavailableError,
)
from kotatsu_common.turns import AT_ONCE, WAITING, Busy
from tests.jumping_time import let_time_jump

NOW = 1_000_000.0
Handler = Callable[[httpx.Request], httpx.Response]


async def ask(
    handler: Handler, registry: CollectorRegistry | None = None, within: float = 60
) -> httpx.Response:
    metrics = GitHubMetrics(registry or CollectorRegistry(), "test")
    async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as http:
        github = GitHub(http, metrics, timeout=within, now=lambda: NOW)
        return await github.ask("user", "GET", "http://github/user")


async def fails(handler: Handler, within: float = 60) -> GitHubUnavailableError:
    with pytest.raises(GitHubUnavailableError) as caught:
        await ask(handler, within=within)
    return caught.value


@each("status", [200, 201, 304, 400, 401, 403, 404, 422])
async def test_an_answer_is_an_answer(status: int) -> None:
    assert (await ask(lambda _: httpx.Response(status))).status_code == status


@each(
    "status, headers, body, wait",
    [
        (429, {}, "", 60),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1000030"}, "", 30),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "5"}, "", 1),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "9" * 400}, "", LONGEST_WAIT),
        (403, {"retry-after": "7"}, "", 7),
        (403, {"retry-after": "soon"}, "", 60),
        (403, {}, "You have exceeded a secondary rate limit", 60),
    ],
)
async def test_a_rate_limit_says_how_long_to_wait(
    status: int, headers: dict[str, str], body: str, wait: float
) -> None:
    error = await fails(lambda _: httpx.Response(status, headers=headers, text=body))
    assert (error.reason, error.retry_after) == ("rate_limited", wait)
    assert error.headers == {"Retry-After": str(int(wait))}


@each("status", [500, 502, 503, 504, 599])
async def test_a_server_error_says_its_status(status: int) -> None:
    error = await fails(lambda _: httpx.Response(status))
    assert error.reason == "error"
    assert str(status) in error.detail


async def test_a_redirect_is_not_followed() -> None:
    error = await fails(lambda _: httpx.Response(302, headers={"location": "http://evil/"}))
    assert error.reason == "garbage"


@each(
    "failure, reason",
    [
        (httpx.ConnectError("x"), "down"),
        (httpx.RemoteProtocolError("x"), "down"),
        (httpx.ConnectTimeout("x"), "slow"),
    ],
)
async def test_a_connection_that_fails_is_down_or_slow(failure: Exception, reason: str) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        raise failure

    assert (await fails(handler)).reason == reason


async def test_an_answer_that_drips_is_slow_though_no_single_read_is() -> None:
    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(0.01)

    failed = await fails(lambda _: httpx.Response(200, content=drip()), within=0.1)
    assert failed.reason == "slow"


async def test_an_answer_without_end_is_garbage() -> None:
    endless = b"x" * (MAX_ANSWER + 1)
    assert (await fails(lambda _: httpx.Response(200, content=endless))).reason == "garbage"


async def test_what_became_of_each_call_is_counted() -> None:
    registry = CollectorRegistry()

    def count(outcome: str) -> float:
        labels = {"call": "user", "outcome": outcome}
        return registry.get_sample_value("test_github_requests_total", labels) or 0

    left = {"x-ratelimit-remaining": "4321"}
    metrics = GitHubMetrics(registry, "test")
    assert math.isnan(registry.get_sample_value("test_github_rate_limit_remaining") or 0)
    answers = [httpx.Response(200, headers=left), httpx.Response(401), httpx.Response(500)]
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: answers.pop(0))) as http:
        github = GitHub(http, metrics, timeout=1)
        await github.ask("user", "GET", "http://github/user")
        await github.ask("user", "GET", "http://github/user")
        with pytest.raises(GitHubUnavailableError):
            await github.ask("user", "GET", "http://github/user")
    assert (count("2xx"), count("4xx"), count("error")) == (1, 1, 1)
    assert registry.get_sample_value("test_github_rate_limit_remaining") == 4321


async def test_a_crowd_of_questions_is_asked_in_turns_and_all_are_answered() -> None:
    crowd = Crowd()
    async with httpx.AsyncClient(transport=httpx.MockTransport(crowd.answer)) as http:
        github = GitHub(http, GitHubMetrics(CollectorRegistry(), "test"), timeout=60)
        asked = [github.ask("user", "GET", "http://github/user") for _ in range(3 * AT_ONCE)]
        answers = await asyncio.gather(*asked)
    assert [answer.status_code for answer in answers] == [200] * 3 * AT_ONCE
    assert crowd.most == AT_ONCE


async def test_the_wait_for_a_turn_is_no_silence_of_github(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    let_time_jump(monkeypatch)

    async def steady(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.2)
        return httpx.Response(200)

    registry = CollectorRegistry()
    async with httpx.AsyncClient(transport=httpx.MockTransport(steady)) as http:
        github = GitHub(http, GitHubMetrics(registry, "test"), timeout=0.3)
        asked = [github.ask("user", "GET", "http://github/user") for _ in range(5 * AT_ONCE)]
        answers = await asyncio.gather(*asked)
    assert [answer.status_code for answer in answers] == [200] * 5 * AT_ONCE


async def test_a_full_queue_is_no_outage_of_github_and_no_request_to_it() -> None:
    registry, crowd = CollectorRegistry(), Crowd()
    async with httpx.AsyncClient(transport=httpx.MockTransport(crowd.answer)) as http:
        github = GitHub(http, GitHubMetrics(registry, "test"), timeout=60)
        many = AT_ONCE + WAITING + 7
        asked = [github.ask("user", "GET", "http://github/user") for _ in range(many)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(answer, Busy) for answer in answers) == 7
    labels = {"call": "user", "outcome": "2xx"}
    assert registry.get_sample_value("test_github_requests_total", labels) == many - 7
