"""A bound on what one request may make the service hold in memory."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kotatsu_common.problems import Problem


class BodyLimit:
    """Refuse a body above `limit` bytes with 413, by its length if declared, else as it comes."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > self.limit:
            return await self._problem().response()(scope, receive, send)
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                if read > self.limit:
                    # FastAPI lets only its own errors out of reading a body; all else is "400".
                    raise HTTPException(413, self._problem().detail)
            return message

        return await self.app(scope, counted, send)

    def _problem(self) -> Problem:
        return Problem(413, "The body is too large", f"At most {self.limit} bytes are read.")
