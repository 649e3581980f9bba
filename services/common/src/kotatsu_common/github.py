"""Asking GitHub, bounded in time and memory, and saying which way it failed.

GitHub is somebody else's service: it may be down, slow, out of quota for this token, or hidden
behind a proxy that answers nonsense. Each of these is a `GitHubUnavailableError` with its reason
and the seconds until it is worth asking again; everything else is an answer for the caller to read.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import httpx
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from kotatsu_common.fetch import Bounds, UnreadableAnswerError, fetch
from kotatsu_common.turns import Turns

MAX_ANSWER = 2_000_000
"""Bytes; GitHub's answers to our questions are some kilobytes."""
SHORT_WAIT = 5.0
LONGEST_WAIT = 3600.0

Reason = Literal["down", "slow", "error", "rate_limited", "garbage"]


class GitHubUnavailableError(Exception):
    """GitHub can't be asked just now; `retry_after` is in seconds."""

    def __init__(self, reason: Reason, detail: str, retry_after: float = SHORT_WAIT) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """Retry-After in whole seconds, rounded up."""
        return {"Retry-After": str(int(-(-self.retry_after // 1)))}


def garbage(detail: str) -> GitHubUnavailableError:
    """What a caller raises that got an answer it can't read."""
    return GitHubUnavailableError("garbage", detail)


class GitHubMetrics:
    """What asking GitHub costs. `prefix` is the service's, such as `kotatsu_auth`."""

    def __init__(self, registry: CollectorRegistry, prefix: str) -> None:
        self.requests = Counter(
            f"{prefix}_github_requests_total",
            "Requests to GitHub by call and outcome (a class of status, or an error)",
            ("call", "outcome"),
            registry=registry,
        )
        self.duration = Histogram(
            f"{prefix}_github_request_duration_seconds",
            "Duration of requests to GitHub",
            ("call",),
            registry=registry,
        )
        self.rate_limit_remaining = Gauge(
            f"{prefix}_github_rate_limit_remaining",
            "Requests that remain for the last used token until GitHub resets its limit",
            registry=registry,
        )
        self.rate_limit_remaining.set(math.nan)  # nobody knows yet, which is not 0


class GitHub:
    """The one way to GitHub, a bounded number of questions at a time.

    `timeout` (seconds) is for the whole exchange, not for each read; the wait for a turn comes
    before.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        metrics: GitHubMetrics,
        *,
        timeout: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._http = http
        self._metrics = metrics
        self._timeout = timeout
        self._now = now
        self._turns = Turns()

    async def ask(
        self, call: str, method: str, url: str, *, turns: Turns | None = None, **request: Any
    ) -> httpx.Response:
        """GitHub's answer, read to its end; `call` names the question in the metrics.

        Not an error here: 2xx, 304, and every 4xx but a rate limit. Raises GitHubUnavailableError,
        or Busy when too many wait for their turn; `turns` are those of all calls by default.
        """
        try:
            async with (turns or self._turns).turn():
                return await self._counted(call, method, url, request)
        except httpx.TimeoutException:
            raise GitHubUnavailableError(
                "slow", f"GitHub did not answer within {self._timeout:g} seconds."
            ) from None

    async def _counted(
        self, call: str, method: str, url: str, request: Mapping[str, Any]
    ) -> httpx.Response:
        began = time.perf_counter()
        outcome = "aborted"
        try:
            answer = await self._exchange(method, url, request)
            self._note_limit(answer.headers)
            self._check(answer)
            outcome = f"{answer.status_code // 100}xx"
            return answer
        except GitHubUnavailableError as error:
            outcome = error.reason
            raise
        except httpx.TimeoutException:
            outcome = "slow"
            raise
        finally:
            self._metrics.requests.labels(call, outcome).inc()
            self._metrics.duration.labels(call).observe(time.perf_counter() - began)

    def rate_limited(self, answer: httpx.Response) -> GitHubUnavailableError:
        """The error for an answer that says so; GraphQL does it in the body of a 200."""
        return GitHubUnavailableError(
            "rate_limited",
            "GitHub's rate limit for this token is used up.",
            rate_limit_wait(answer.headers, self._now()),
        )

    async def _exchange(self, method: str, url: str, request: Mapping[str, Any]) -> httpx.Response:
        try:
            bounds = Bounds(self._timeout, MAX_ANSWER)
            return await fetch(self._http, method, url, bounds, **request)
        except httpx.TimeoutException:
            raise
        except UnreadableAnswerError as error:
            raise garbage(f"GitHub's answer {error}.") from None
        except httpx.RequestError:
            raise GitHubUnavailableError("down", "GitHub can't be reached.") from None

    def _note_limit(self, headers: httpx.Headers) -> None:
        remaining = _seconds(headers.get("x-ratelimit-remaining"))
        if remaining is not None:
            self._metrics.rate_limit_remaining.set(remaining)

    def _check(self, answer: httpx.Response) -> None:
        status = answer.status_code
        if is_rate_limit(answer):
            raise self.rate_limited(answer)
        if status >= 500:
            raise GitHubUnavailableError("error", f"GitHub answered {status}.")
        if status < 200 or (300 <= status < 400 and status != 304):
            raise garbage(f"GitHub answered {status}.")


def is_rate_limit(answer: httpx.Response) -> bool:
    """Whether this 403 or 429 means "later" rather than "no"."""
    if answer.status_code == 429:
        return True
    return answer.status_code == 403 and (
        answer.headers.get("x-ratelimit-remaining") == "0"
        or "retry-after" in answer.headers
        or b"rate limit" in answer.content.lower()
    )


def rate_limit_wait(headers: Mapping[str, str], now: float) -> float:
    """Seconds until GitHub will answer again, as far as it says; at least 1, at most an hour."""
    wait = _seconds(headers.get("retry-after"))
    if wait is None:
        reset = _seconds(headers.get("x-ratelimit-reset"))
        wait = None if reset is None else reset - now
    return 60.0 if wait is None else min(max(wait, 1.0), LONGEST_WAIT)


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdecimal() else None
