"""Reading GitHub's answers about contributions."""

from typing import Any

import httpx
import pytest
from feed.conftest import NOON
from prometheus_client import CollectorRegistry
from rows import each

from kotatsu_common.github import GitHub, GitHubMetrics, GitHubUnavailableError
from kotatsu_feed.github import (
    QUERY,
    GitHubContributions,
    GitHubRefusedError,
    TokenRevokedError,
)
from kotatsu_github_stub.github import contributions


async def count(answer: httpx.Response, seen: list[httpx.Request] | None = None) -> int:
    def handler(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        return answer

    async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as http:
        github = GitHub(http, GitHubMetrics(CollectorRegistry(), "test"), timeout=1)
        return await GitHubContributions(github, "http://github").count("bird", "abc", NOON, NOON)


def body(collection: Any) -> httpx.Response:
    return httpx.Response(200, json={"data": {"user": {"contributionsCollection": collection}}})


def repository(total: int, *languages: Any) -> dict[str, Any]:
    return {
        "repository": {"languages": {"nodes": list(languages)}},
        "contributions": {"totalCount": total},
    }


def collection(*commits: Any) -> dict[str, Any]:
    return {
        "commitContributionsByRepository": list(commits),
        "issueContributionsByRepository": [],
        "pullRequestContributionsByRepository": [],
    }


DART = {"name": "Dart"}


@each("total", [0, 1, 3, 4, 5, 12, 1000])
async def test_commits_issues_and_pull_requests_are_added_where_there_is_dart(total: int) -> None:
    assert await count(body(contributions(total))) == total


async def test_only_dart_counts() -> None:
    some = collection(
        repository(3, {"name": "C"}, DART),
        repository(4, {"name": "dart"}),
        repository(5, {"name": "DartPad"}),
        repository(6),
    )
    assert await count(body(some)) == 3


async def test_what_github_leaves_out_does_not_count() -> None:
    nothing = {"repository": {"languages": None}, "contributions": {"totalCount": 3}}
    assert await count(body(collection(nothing, repository(2, None, DART)))) == 2


async def test_the_question_names_the_user_and_the_day_and_carries_the_token() -> None:
    seen: list[httpx.Request] = []
    await count(body(collection()), seen)
    request = seen[0]
    assert (request.method, str(request.url)) == ("POST", "http://github/graphql")
    assert request.headers["authorization"] == "Bearer abc"
    for field in ("commit", "issue", "pullRequest"):
        assert f"{field}ContributionsByRepository(maxRepositories: 100)" in QUERY
    assert b'"login":"bird"' in request.content.replace(b": ", b":")


async def test_an_unknown_user_is_named() -> None:
    missing = {"data": {"user": None}, "errors": [{"type": "NOT_FOUND", "message": "x"}]}
    for answer in (missing, {"data": {"user": None}}):
        with pytest.raises(GitHubRefusedError, match="no user bird"):
            await count(httpx.Response(200, json=answer))


async def test_errors_in_a_200_are_errors_even_beside_data() -> None:
    partial = {
        "data": {"user": {"contributionsCollection": collection()}},
        "errors": [{"type": "SOMETHING", "message": "secret internals"}],
    }
    with pytest.raises(GitHubRefusedError) as caught:
        await count(httpx.Response(200, json=partial))
    assert "secret" not in str(caught.value)


@each("word", ["RATE_LIMIT", "RATE_LIMITED"])
async def test_a_rate_limit_in_a_200_is_a_rate_limit(word: str) -> None:
    limited = {"errors": [{"type": word, "message": "API rate limit exceeded"}]}
    with pytest.raises(GitHubUnavailableError) as caught:
        await count(httpx.Response(200, json=limited, headers={"retry-after": "30"}))
    assert (caught.value.reason, caught.value.retry_after) == ("rate_limited", 30)


async def test_a_token_that_was_revoked_meanwhile_is_told_apart() -> None:
    with pytest.raises(TokenRevokedError):
        await count(httpx.Response(401, json={"message": "Bad credentials"}))


@each("status", [400, 403, 404, 422])
async def test_a_refusal_says_its_status(status: int) -> None:
    with pytest.raises(GitHubRefusedError, match=str(status)):
        await count(httpx.Response(status, json={"message": "no"}))


@each(
    "answer",
    [
        None,
        [],
        {},
        {"data": None},
        {"data": {}},
        {"data": {"user": {}}},
        {"data": {"user": {"contributionsCollection": {}}}},
        {"data": {"user": {"contributionsCollection": collection(*[repository(1, DART)] * 101)}}},
        {"data": {"user": {"contributionsCollection": collection({"repository": {}})}}},
        {"data": {"user": {"contributionsCollection": collection(repository(-1, DART))}}},
        {"data": {"user": {"contributionsCollection": collection(repository(10**9, DART))}}},
    ],
)
async def test_nonsense_is_nonsense(answer: Any) -> None:
    with pytest.raises(GitHubUnavailableError) as caught:
        await count(httpx.Response(200, json=answer))
    assert caught.value.reason == "garbage"
