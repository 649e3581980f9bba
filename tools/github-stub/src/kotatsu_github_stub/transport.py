"""The stub without a socket, for tests and for everything-in-one-process."""

import httpx
from starlette.types import ASGIApp

from kotatsu_github_stub.state import State, call_of


class StubTransport(httpx.ASGITransport):
    """Calls the app directly; what a real connection would show as cut is a ConnectError."""

    def __init__(self, app: ASGIApp, state: State) -> None:
        super().__init__(app=app)
        self._state = state

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        call = call_of(request.url.path)
        if call is not None and self._state.mode_for(call) == "down":
            self._state.counted[call] += 1
            raise httpx.ConnectError("The GitHub stub plays dead", request=request)
        return await super().handle_async_request(request)
