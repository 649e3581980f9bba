"""Every error is application/problem+json (RFC 9457) with a sentence for people.

Raise `Problem` where something is known to be wrong. `install` gives the framework's own errors the
same form, and an unexpected one becomes a 500 that says nothing about our insides.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kotatsu_common.traffic import Drain

MEDIA_TYPE = "application/problem+json"
logger = logging.getLogger("kotatsu.problems")


class Problem(Exception):  # noqa: N818
    """An error for the caller: an HTTP status, a title, and what to do."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        **extensions: Any,
    ) -> None:
        super().__init__(title if detail is None else f"{title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail
        self.headers = dict(headers or {})
        self.extensions = extensions

    def response(self) -> Response:
        """The answer. ASCII JSON, so that a lone surrogate in a text can't break it."""
        body: dict[str, Any] = {"type": "about:blank", "title": self.title, "status": self.status}
        if self.detail is not None:
            body["detail"] = self.detail
        body.update(self.extensions)
        return Response(json.dumps(body), self.status, self.headers, media_type=MEDIA_TYPE)


def phrase(status: int) -> str:
    """The name of an HTTP status, for a title."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


async def _on_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101
    return error.response()


async def _on_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    title = phrase(error.status_code)
    detail = error.detail if error.detail and error.detail != title else None
    return Problem(error.status_code, title, detail, headers=error.headers).response()


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    errors = [
        {"where": ".".join(str(part) for part in e["loc"]), "problem": str(e["msg"])}
        for e in error.errors()
    ]
    detail = "; ".join(f"{e['where']}: {e['problem']}" for e in errors)
    return Problem(422, "The request is not valid", detail, errors=errors).response()


class Unexpected:
    """Innermost middleware: an exception nobody expected becomes a logged 500.

    Starlette would do this outside every other middleware, where the answer misses the CORS headers
    and the counters, and would raise again so that the server logs it a second time. Past the
    shutdown timeout the server cancels a request, and would answer 500 for it.
    """

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self.app = app
        self.drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except ClientDisconnect:
            return  # in the middle of its body: nobody waits for an answer
        except asyncio.CancelledError:
            if scope["type"] != "http" or started or not self.drain.draining:
                raise
            detail = "The service ends before it could answer. Send the request again."
            problem = Problem(503, "Shutting down", detail, headers={"Retry-After": "1"})
            await problem.response()(scope, receive, send)
        except Exception:
            if scope["type"] != "http" or started:
                raise  # the server ends the connection, so the client sees that it was cut short
            logger.exception("%s %s failed", scope["method"], scope["path"])
            problem = Problem(500, phrase(500), "An unexpected error occurred. It has been logged.")
            await problem.response()(scope, receive, send)


def install(app: FastAPI, drain: Drain) -> None:
    """Give every error of `app` the one form. Call it before other middleware is added."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_middleware(Unexpected, drain=drain)


SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}


def _documented(status: int, description: str) -> dict[str, Any]:
    documented: dict[str, Any] = {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": SCHEMA}},
    }
    if status == 401:
        documented["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    if status in (429, 503):
        documented["headers"] = {"Retry-After": {"schema": {"type": "string"}}}
    return documented


PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: _documented(status, description)
    for status, description in {
        400: "The request can't be done as asked",
        401: "The Authorization header is missing or its token is not accepted",
        403: "The token is good but may not do this",
        404: "There is no such thing",
        405: "This path does not know the method",
        406: "None of the media types in Accept can be made",
        409: "Another request got there first",
        413: "The body is too large",
        415: "The body has a media type that is not understood",
        422: "The request is not valid",
        429: "Too many requests; see Retry-After",
        500: "A fault of this service",
        502: "A service behind this one gave a wrong answer",
        503: "Not possible just now; see Retry-After",
    }.items()
}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that can end with these statuses."""
    return {status: PROBLEM_RESPONSES[status] for status in statuses}
