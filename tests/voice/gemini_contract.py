"""What Gemini's API answers to streamGenerateContent?alt=sse, as far as the voice relies on it.

Written down from the API's reference (https://ai.google.dev/api/generate-content, the guide to its
errors in https://ai.google.dev/gemini-api/docs/troubleshooting and to thinking in
https://ai.google.dev/gemini-api/docs/generate-content/thinking) and from Google's own client
(google-genai, `_api_client.py`, `errors.py` and `types.py`), read in November 2026. Nobody here has
a key, so none of it was recorded on the wire.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

MODEL = "gemini-3.5-flash-lite"
PATH = f"/v1beta/models/{MODEL}:streamGenerateContent"

GOOD_ENDS = ("STOP", "MAX_TOKENS")
BAD_ENDS = ("FINISH_REASON_UNSPECIFIED", "SAFETY", "RECITATION", "OTHER")
"""Values of finishReason; of the bad ones there are twelve more. It is on the last event with a
candidate. Where a filter stopped a stream, the content of that event is empty."""

BLOCKED_PROMPTS = ("BLOCKED_REASON_UNSPECIFIED", "SAFETY", "OTHER")
"""Some values of promptFeedback.blockReason. It is on the first event, without a candidate."""

REFUSALS: dict[str, tuple[int, str]] = {
    "a body that is not valid": (400, "INVALID_ARGUMENT"),
    "a country without the free tier": (400, "FAILED_PRECONDITION"),
    "a wrong key": (400, "INVALID_ARGUMENT"),
    "a key without the right": (403, "PERMISSION_DENIED"),
    "a model that was shut down": (404, "NOT_FOUND"),
    "too many requests": (429, "RESOURCE_EXHAUSTED"),
    "a fault of theirs": (500, "INTERNAL"),
    "too many users": (503, "UNAVAILABLE"),
    "a prompt that takes too long": (504, "DEADLINE_EXCEEDED"),
}
"""Status and its name. The body is a JSON object over several lines, also with alt=sse."""


def event(text: str = "", **candidate: Any) -> dict[str, Any]:
    """An event: a part of the answer, and in the end why it ends."""
    content: dict[str, Any] = {"role": "model"}
    if text:
        content["parts"] = [{"text": text}]
    return {
        "candidates": [{"content": content, "index": 0, **candidate}],
        "usageMetadata": {"promptTokenCount": 187, "totalTokenCount": 187},
        "modelVersion": MODEL,
        "responseId": "c0fFeE",
    }


def thought(text: str) -> dict[str, Any]:
    """An event with a summary of what the model thinks."""
    said = event()
    said["candidates"][0]["content"]["parts"] = [{"text": text, "thought": True}]
    return said


def blocked_prompt(reason: str) -> dict[str, Any]:
    """The only event of an answer to a prompt that was blocked."""
    return {"promptFeedback": {"blockReason": reason}, "modelVersion": MODEL}


def error(status: int, name: str, *details: dict[str, Any]) -> dict[str, Any]:
    """The body of a refusal; after some events it can also be the last one."""
    return {"error": {"code": status, "message": "…", "status": name, "details": list(details)}}


def retry_info(delay: str) -> dict[str, Any]:
    """The detail of a 429 that says when to come back."""
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def line(one: dict[str, Any]) -> bytes:
    """An event on the wire."""
    return b"data: " + json.dumps(one, ensure_ascii=False).encode() + b"\r\n\r\n"


def answer(*events: dict[str, Any]) -> httpx.Response:
    """A whole answer."""
    headers = {"Content-Type": "text/event-stream"}
    return httpx.Response(200, headers=headers, content=b"".join(map(line, events)))


def said(text: str) -> httpx.Response:
    """An answer as it comes when all is well: a few characters at a time."""
    parts = [text[n : n + 5] for n in range(0, len(text), 5)]
    return answer(*(event(part) for part in parts), event(finishReason="STOP"))


def refusal(status: int, name: str, *details: dict[str, Any]) -> httpx.Response:
    """An answer other than 200."""
    return httpx.Response(status, text=json.dumps(error(status, name, *details), indent=2))


class Server:
    """Answers to this contract over HTTP: the text's parts, one every `seconds`."""

    def __init__(self, parts: Iterable[str], seconds: float = 0.0) -> None:
        self.parts = tuple(parts)
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        found = request.url.path.endswith(":streamGenerateContent")
        if not found or request.query_params.get("alt") != "sse":
            await Response(status_code=404)(scope, receive, send)
            return
        await StreamingResponse(self._events(), media_type="text/event-stream")(
            scope, receive, send
        )

    async def _events(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            await asyncio.sleep(self.seconds)
            yield line(event(part))
        yield line(event(finishReason="STOP"))
