"""A bound on what one request may make the service hold in memory, and on how long it may take."""

import asyncio

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kotatsu_common.problems import Problem

BODY_SECONDS = 60.0


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
