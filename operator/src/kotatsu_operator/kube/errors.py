"""The errors that a call to the API server can raise, predicates for them, and a retry."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

import aiohttp

_NOT_FOUND = 404

_TOO_MANY_REQUESTS = 429


class HttpError(Exception):
    """The answer to a call is an error: of the API server, or of something in front of it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class ApiError(HttpError):
    """The API server itself rejects a call; `fields` are those of the object that are wrong."""

    def __init__(self, code: int, message: str, fields: Collection[str] = ()) -> None:
        super().__init__(code, message)
        self.fields = fields


class UnreadableError(Exception):
    """The response does not come from an API server, but from something in front of it."""


class SilentError(Exception):
    """No answer came in time. It is no TimeoutError, which says that the caller's time is over."""


class NotLeadingError(Exception):
    """This process may not write any more, because another one may lead already."""


Unreachable = (
    HttpError,
    aiohttp.ClientError,
    OSError,
    asyncio.TimeoutError,
    SilentError,
    UnreadableError,
    NotLeadingError,
)
"""Raised when the API server rejects a call or cannot be reached, or this process may not call."""


TooSlow = (TimeoutError, SilentError)
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
    return isinstance(error, HttpError) and error.code == _NOT_FOUND


def _is_client_error(error: BaseException, but: Collection[int]) -> bool:
    return isinstance(error, HttpError) and 400 <= error.code < 500 and error.code not in but


class ConflictError(Exception):
    """The object has changed since it was read: read and decide again."""


class NotFoundError(Exception):
    """The object does not exist."""


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
