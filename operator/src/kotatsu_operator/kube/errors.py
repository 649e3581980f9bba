"""What a call to the API server may raise, and what each error means."""

import asyncio
from collections.abc import Collection

import httpx2
from lightkube import ApiError

_NOT_FOUND = 404

_TOO_MANY_REQUESTS = 429


class UnreadableError(Exception):
    """The answer is not one of an API server: something in front of it has spoken."""


class NotLeadingError(Exception):
    """This process may not write any more: another one may lead already."""


Unreachable = (
    ApiError,
    httpx2.HTTPError,
    OSError,
    asyncio.TimeoutError,
    UnreadableError,
    NotLeadingError,
)
"""What a call raises when the API server refuses it or cannot be reached (or must not be asked)."""


TooSlow = (TimeoutError, httpx2.TimeoutException)
"""Those of them that say only that no answer came in time."""


_TEMPORARY = (401, 408, 429)
"""Client errors that say nothing of what was written: no valid token, too late, too many."""


def is_refusal(error: BaseException) -> bool:
    """Whether the API server refused a request for what is in it, so that it will refuse it again.

    Admission webhooks refuse with the same codes.
    """
    return _is_client_error(error, but=_TEMPORARY)


def is_answer(error: Exception) -> bool:
    """Whether the API server has answered after all, if only to refuse: it is there."""
    return isinstance(error, NotFoundError) or _is_client_error(error, but=(_TOO_MANY_REQUESTS,))


def is_missing(error: Exception) -> bool:
    """Whether the API server does not serve what it was asked for.

    Of a group that it does not know at all it says so in plain text.
    """
    return isinstance(error, (ApiError, httpx2.HTTPStatusError)) and _code_of(error) == _NOT_FOUND


def _is_client_error(error: BaseException, but: Collection[int]) -> bool:
    if not isinstance(error, (ApiError, httpx2.HTTPStatusError)):
        return False
    code = _code_of(error)
    return 400 <= code < 500 and code not in but


class ConflictError(Exception):
    """Somebody changed the object since it was read: read again and decide again."""


class NotFoundError(Exception):
    """The object is not there (any more)."""


def _code_of(error: ApiError | httpx2.HTTPStatusError) -> int:
    if isinstance(error, ApiError):
        return int(error.status.code or 0)
    return error.response.status_code
