"""What clients may make a service hold in memory, and for how long: all bounds are here.

A connection holds at most `HEAD_BYTES` and one body of what is not answered yet, and there are at
most `CONNECTIONS` of them with `REQUESTS` under way. So all clients together and the service itself
take less than the memory limits of the chart. `protocol` keeps the bounds of a connection, the
middleware here those of a request.
"""

import asyncio

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kotatsu_common.problems import Problem
from kotatsu_common.traffic import PROBE_PATHS

CONNECTIONS = 2_000
"""More than one activator holds for a pool that wakes."""
REQUESTS = 2_000
"""A request can outlive its connection."""
HEAD_BYTES = 32_768
"""Of the requests of a connection that are not answered: lines and headers, and their cost."""
REQUEST_COST = 2_048
"""Bytes that a request takes besides its text."""
HEADER_COST = 160
"""Bytes that a header takes besides its text."""
BODY_BYTES = 8_192
"""Of one body, unless the service needs more."""
HEAD_SECONDS = 20.0
"""From the connection, or from the first byte of a later request, to the end of its headers."""
BODY_SECONDS = 60.0
"""From the end of the headers to the end of the body, once it is read."""
TAKEN_WITHIN = 60.0
"""Seconds in which a client may take nothing of what is left of its answer."""


class RequestLimit:
    """Refuse a request with 503 while `most` others are under way.

    Probes are answered all the same, or the kubelet would restart a pod because it is busy.
    """

    def __init__(self, app: ASGIApp, most: int = REQUESTS) -> None:
        self.app = app
        self.most = most
        self._now = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in PROBE_PATHS:
            return await self.app(scope, receive, send)
        if self._now >= self.most:
            detail = "Too many requests are under way. Try again in a moment."
            busy = Problem(503, "Too busy", detail, headers={"Retry-After": "2"})
            return await busy.response()(scope, receive, send)
        self._now += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._now -= 1


class BodyLimit:
    """Refuse a body above `limit` bytes with 413, by its length if declared, else as it comes.

    One that is not there within `seconds` gets 408: a request that never ends would count as one in
    flight, and keep its pool awake.
    """

    def __init__(self, app: ASGIApp, limit: int, seconds: float = BODY_SECONDS) -> None:
        self.app = app
        self.limit = limit
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > self.limit:
            return await self._problem().response()(scope, receive, send)
        read, is_complete = 0, False
        deadline = asyncio.get_running_loop().time() + self.seconds

        async def counted() -> Message:
            nonlocal read, is_complete
            if is_complete:  # what comes now is only that the client has gone
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "The body took too long to arrive.") from None
            if message["type"] == "http.request":
                is_complete = not message.get("more_body", False)
                read += len(message.get("body", b""))
                if read > self.limit:
                    # FastAPI lets only its own errors out of reading a body; all else is "400".
                    raise HTTPException(413, self._problem().detail)
            return message

        return await self.app(scope, counted, send)

    def _problem(self) -> Problem:
        return Problem(413, "The body is too large", f"At most {self.limit} bytes are read.")
