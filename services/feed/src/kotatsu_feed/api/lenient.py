"""JSON is JSON, whatever the client calls it.

Dart's http package sends a body of text as text/plain unless told otherwise. FastAPI refuses that
to protect sites with cookies from forged forms; here a token in a header decides, so nothing is
lost by reading it.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute


class LenientRoute(APIRoute):
    """Reads every body as JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The usual handler behind a header that it understands."""
        handle = super().get_route_handler()

        async def lenient(request: Request) -> Response:
            kept = [(k, v) for k, v in request.scope["headers"] if k != b"content-type"]
            headers = [*kept, (b"content-type", b"application/json")]
            return await handle(Request({**request.scope, "headers": headers}, request.receive))

        return lenient
