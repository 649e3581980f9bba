"""Failures as GitHub shows them, and the headers of every answer."""

import asyncio
import time

from fastapi import Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.types import Receive, Scope, Send

from kotatsu_github_stub.state import Call, State

LIMIT = 5000


class Cut(Response):
    """Begins an answer and never ends it: the server closes the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head of an answer that has a body, but not the body."""
        del scope, receive
        head = [(b"content-length", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": head})


def limit_headers(state: State) -> dict[str, str]:
    """The rate limit as GitHub tells it with every answer."""
    return {
        "x-ratelimit-limit": str(LIMIT),
        "x-ratelimit-remaining": str(state.remaining),
        "x-ratelimit-reset": str(int(time.time()) + state.reset_in),
    }


async def failure(state: State, call: Call) -> Response | None:
    """Count the call and fail as told; None when it is to be answered."""
    state.counted[call] += 1
    mode = state.mode_for(call)
    if mode == "error":
        return JSONResponse({"message": "Server Error"}, 500)
    if mode == "rate_limited":
        headers = {**limit_headers(state), "x-ratelimit-remaining": "0"}
        return JSONResponse({"message": "API rate limit exceeded"}, 403, headers)
    if mode == "garbage":
        return HTMLResponse("<html><body>Please log in to the hotel network</body></html>")
    if mode == "down":
        return Cut()
    if mode == "slow":
        await asyncio.sleep(state.delay)
    return None
