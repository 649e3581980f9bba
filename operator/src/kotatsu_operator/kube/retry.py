"""Repeats an attempt to change an object, if the object has changed in between."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from kotatsu_operator.kube.errors import ConflictError

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
