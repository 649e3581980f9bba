"""What can go wrong behind feed, in words for the caller: 502 and 503 say who is to blame."""

import logging

from fastapi import FastAPI, Request
from starlette.responses import Response

from kotatsu_common.github import GitHubUnavailableError
from kotatsu_common.identity import CHALLENGE
from kotatsu_common.problems import Problem
from kotatsu_feed.github import GitHubRefusedError, TokenRevokedError
from kotatsu_feed.storage.database import StorageUnavailableError

logger = logging.getLogger("kotatsu.feed")


def problem_of(error: Exception) -> Problem:
    """The Problem that `error` is to the caller."""
    if isinstance(error, GitHubUnavailableError):
        status = 502 if error.reason == "garbage" else 503
        detail = f"{error.detail} Your pet is safe; its food can't be counted just now."
        title = "GitHub can't be asked just now"
        return Problem(status, title, detail, headers=error.headers, reason=error.reason)
    if isinstance(error, GitHubRefusedError):
        return Problem(502, "GitHub gave no count", str(error), reason="refused")
    if isinstance(error, TokenRevokedError):
        detail = "GitHub no longer accepts the token. Log in again."
        return Problem(401, "Not signed in", detail, headers=CHALLENGE)
    detail = "The database can't be reached just now. Try again in a moment."
    return Problem(503, "Storage unavailable", detail, headers={"Retry-After": "2"})


async def _answer(_: Request, error: Exception) -> Response:
    if not isinstance(error, TokenRevokedError):
        logger.warning("%s: %s", type(error).__name__, error)
    return problem_of(error).response()


def install(app: FastAPI) -> None:
    """Turn these errors into answers, whichever route they come from."""
    for kind in (
        GitHubUnavailableError,
        GitHubRefusedError,
        TokenRevokedError,
        StorageUnavailableError,
    ):
        app.add_exception_handler(kind, _answer)
