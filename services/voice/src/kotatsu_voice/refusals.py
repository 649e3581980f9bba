"""Errors of the voice as answers for callers."""

from fastapi import FastAPI, Request, Response

from kotatsu_common.problems import Problem
from kotatsu_voice.connection import ClientGoneError
from kotatsu_voice.engine import EngineError, EngineFailedError, UnknownStyleError
from kotatsu_voice.rendering import SlowClientError
from kotatsu_voice.speaker import BusyError
from kotatsu_voice.text import TextError

CLIENT_CLOSED_REQUEST = 499


def problem_of(error: Exception) -> Problem:
    """What to tell the caller."""
    if isinstance(error, TextError):
        return Problem(422, error.title, error.detail)
    if isinstance(error, UnknownStyleError):
        return Problem(422, "Unknown style", f"{error} GET /voices lists them.")
    if isinstance(error, EngineFailedError):
        return Problem(503, "The voice is not well", str(error), headers={"Retry-After": "1"})
    if isinstance(error, EngineError):
        return Problem(422, "The text can't be spoken", str(error))
    if isinstance(error, BusyError):
        detail = f"Too many texts wait; retry in {error.retry_after} s."
        headers = {"Retry-After": str(error.retry_after)}
        return Problem(503, "The voice is busy", detail, headers=headers)
    if isinstance(error, SlowClientError):
        detail = "Its speech was given up for others; retry in 1 s."
        return Problem(503, "The voice is busy", detail, headers={"Retry-After": "1"})
    raise error


def install(app: FastAPI) -> None:
    """Teach `app` to answer these errors."""

    async def refuse(_: Request, error: Exception) -> Response:
        return problem_of(error).response()

    async def nobody(_: Request, __: Exception) -> Response:
        return Response(status_code=CLIENT_CLOSED_REQUEST)

    for kind in (TextError, EngineError, BusyError, SlowClientError):
        app.add_exception_handler(kind, refuse)
    app.add_exception_handler(ClientGoneError, nobody)
