"""Working only for as long as somebody waits for it."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from kotatsu_voice.engine import EngineError
from kotatsu_voice.rendering import SlowClientError
from kotatsu_voice.speaker import BusyError, Speaker

T = TypeVar("T")


class ClientGoneError(Exception):
    """The client closed its connection; nobody reads an answer."""


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The outcome of `work`, which is cancelled when the client goes. The body has been read."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGoneError
    finally:
        for future in (task, gone):
            future.cancel()


async def awake(request: Request, speaker: Speaker) -> None:
    """Return once the voice speaks, unless the client goes before. The body has been read."""
    if not speaker.is_awake:
        await while_connected(request, speaker.awake())


class Stream(StreamingResponse):
    """A stream that ends when its client goes or is too slow, or its engine fails or is too busy.

    After a failure the answer has no end, so the server cuts the connection and the client sees it.

    Starlette's own does the same with a task group of anyio, whose import would delay the first
    sound of a pod that has just woken.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the chunks as they are made."""
        with contextlib.suppress(ClientGoneError, SlowClientError, EngineError, BusyError):
            await while_connected(Request(scope, receive), self.stream_response(send))


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
