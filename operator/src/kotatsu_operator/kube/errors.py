"""The errors that a call to the API server can raise, predicates for them, and a retry."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

import httpx2
from lightkube import ApiError

_NOT_FOUND = 404

_TOO_MANY_REQUESTS = 429


class UnreadableError(Exception):
    """The response does not come from an API server, but from something in front of it."""


class NotLeadingError(Exception):
    """This process may not write any more, because another one may lead already."""


Unreachable = (
    ApiError,
    httpx2.HTTPError,
    OSError,
    asyncio.TimeoutError,
    UnreadableError,
    NotLeadingError,
)
"""Raised when the API server rejects a call or cannot be reached, or this process may not call."""


TooSlow = (TimeoutError, httpx2.TimeoutException)
"""The errors of `Unreachable` that only mean that no response came in time."""


_TEMPORARY = (401, 408, 429)
"""Client errors unrelated to the content: invalid token, request timeout, too many requests."""


def is_refusal(error: BaseException) -> bool:
    """Whether the API server (or a webhook) rejected the content, so that a retry fails too."""
    return _is_client_error(error, but=_TEMPORARY)


def is_answer(error: Exception) -> bool:
    """Whether the error is a response of the API server: it is reachable."""
    return isinstance(error, NotFoundError) or _is_client_error(error, but=(_TOO_MANY_REQUESTS,))


def is_missing(error: Exception) -> bool:
    """Whether the API server does not serve the object or kind (an unknown group: plain text)."""
    return isinstance(error, (ApiError, httpx2.HTTPStatusError)) and code_of(error) == _NOT_FOUND


def _is_client_error(error: BaseException, but: Collection[int]) -> bool:
    if not isinstance(error, (ApiError, httpx2.HTTPStatusError)):
        return False
    code = code_of(error)
    return 400 <= code < 500 and code not in but


class ConflictError(Exception):
    """The object has changed since it was read: read and decide again."""


class NotFoundError(Exception):
    """The object does not exist."""


def code_of(error: ApiError | httpx2.HTTPStatusError) -> int:
    if isinstance(error, ApiError):
        return int(error.status.code or 0)
    return error.response.status_code


T = TypeVar("T")

TRIES = 10


async def retry_on_conflict(attempt: Callable[[], Awaitable[T]]) -> T:
    """The result of `attempt`, which reads an object and writes it at the version that it read.

    Raises the tenth ConflictError, and all other errors of `attempt`.
    """
    for _ in range(TRIES - 1):
        with contextlib.suppress(ConflictError):
            return await attempt()
    return await attempt()
