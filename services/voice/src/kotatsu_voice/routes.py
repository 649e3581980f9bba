"""POST /voice and GET /voices."""

import base64
from collections.abc import Mapping
from contextlib import aclosing
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, quote

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, ValidationError
from python_multipart.multipart import parse_options_header

from kotatsu_common.problems import Problem, problem_responses
from kotatsu_voice.accept import choose
from kotatsu_voice.connection import Stream, awake, while_connected
from kotatsu_voice.engine import Style
from kotatsu_voice.rendering import Chunks
from kotatsu_voice.speaker import MP3, WAV, Speaker

BASE64 = "text/plain"
CREDIT_HEADER = "X-Voice-Credit"
LEFT_OUT_HEADER = "X-Voice-Left-Out"
HEADERS = (CREDIT_HEADER, LEFT_OUT_HEADER)
JSON_TYPE = "application/json"
MAX_FIELDS = 20
SMALL_BYTES = 65_536
"""A connection buffers as much in any case, so such an answer is sent in one go."""
FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")


class Words(BaseModel):
    """What to speak."""

    text: str | None = Field(None, description="Japanese text", examples=["こんにちは。"])
    style: int | None = Field(None, description="one of GET /voices; by default the server's")


class Voice(BaseModel):
    """A way of speaking."""

    id: int
    speaker: str
    name: str
    credit: str = Field(description="the line to show to listeners")
    default: bool


class Voices(BaseModel):
    """The engine and its ways of speaking."""

    engine: str
    credit: str = Field(description="the line to show to listeners of the default voice")
    styles: list[Voice]


@lru_cache
def credit_headers(style: Style) -> Mapping[str, str]:
    """The credit in a form that fits into a header: percent-encoded UTF-8."""
    return {CREDIT_HEADER: quote(style.credit)}


def _left_out(letters: str) -> Mapping[str, str]:
    """Which letters of a text the listener misses, in the form of the credit."""
    return {LEFT_OUT_HEADER: quote(letters)} if letters else {}


async def words_of(request: Request) -> tuple[Words, bool]:
    """The request's words, and whether they came as JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == JSON_TYPE:
        try:
            return Words.model_validate_json(await request.body() or b"{}"), True
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "body"
            raise Problem(422, "The request is not valid", f"{where}: {first['msg']}") from None
    if kind == FORM_TYPES[0]:
        return _words_of_form(_pairs(await request.body())), False
    if kind == FORM_TYPES[1]:
        _check_charset(request.headers["content-type"])
        async with request.form(max_files=0, max_fields=MAX_FIELDS) as form:
            return _words_of_form({k: v for k, v in form.items() if isinstance(v, str)}), False
    if not await request.body():
        return Words(text=None, style=None), False
    accepted = ", ".join((JSON_TYPE, *FORM_TYPES))
    raise Problem(415, "Unknown kind of body", f"Send one of: {accepted}.")


def _check_charset(content_type: str) -> None:
    """A form in anything but UTF-8 is refused.

    It would be decoded by whichever of Python's codecs the client names, and to decode a mebibyte
    of punycode takes a minute.
    """
    _, parameters = parse_options_header(content_type)
    if parameters.get(b"charset", b"utf-8").lower() not in (b"utf-8", b"utf8"):
        raise Problem(415, "Unknown kind of body", "charset: send the form as UTF-8.")


def _pairs(body: bytes) -> dict[str, str]:
    """A URL-encoded form. Its text may also stand there as plain UTF-8, as curl -d sends it."""
    try:
        return dict(parse_qsl(body.decode(errors="replace"), max_num_fields=MAX_FIELDS))
    except ValueError:
        raise Problem(422, "The request is not valid", "body: too many fields") from None


def _words_of_form(form: dict[str, str]) -> Words:
    style = form.get("style", "").strip()
    try:
        return Words(text=form.get("text"), style=int(style) if style else None)
    except ValueError:
        raise Problem(422, "The request is not valid", "style: not a whole number") from None


_OPENAPI: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": Words.model_json_schema()} for kind in (JSON_TYPE, *FORM_TYPES)
        },
    }
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The speech; JSON gets MP3, a form gets base64 of it, Accept may ask else",
        "headers": {name: {"schema": {"type": "string"}} for name in HEADERS},
        "content": {
            MP3: {"schema": {"type": "string", "format": "binary"}},
            WAV: {"schema": {"type": "string", "format": "binary"}},
            BASE64: {"schema": {"type": "string", "format": "byte"}},
        },
    },
    **problem_responses(400, 401, 403, 413, 415, 422, 503),
}


async def _in_base64(chunks: Chunks) -> Chunks:
    rest = b""
    async with aclosing(chunks):
        async for chunk in chunks:
            rest += chunk
            end = len(rest) - len(rest) % 3
            if end:
                yield base64.b64encode(rest[:end])
            rest = rest[end:]
    if rest:
        yield base64.b64encode(rest)


def voice_router(speaker: Speaker, dependencies: list[Any]) -> APIRouter:
    """The routes; `dependencies` guard what costs something."""
    router = APIRouter(tags=["voice"])
    left_out = lru_cache(speaker.engine.left_out)

    # A redirect would not do: clients repeat only a GET.
    @router.post("/voice/", dependencies=dependencies, include_in_schema=False)
    @router.post(
        "/voice",
        dependencies=dependencies,
        response_class=Response,
        responses=_ANSWERS,
        openapi_extra=_OPENAPI,
    )
    async def voice(request: Request, stream: bool = False) -> Response:
        """Speak a text. With `stream` it is always MP3, sent sentence by sentence."""
        words, is_json = await words_of(request)
        await awake(request, speaker)
        offered = (MP3, WAV, BASE64) if is_json else (BASE64, MP3, WAV)
        media = MP3 if stream else choose(request.headers.get("accept"), offered)
        utterance = speaker.utterance(words.text, words.style, WAV if media == WAV else MP3)
        headers = {**credit_headers(utterance.style), **_left_out(left_out(utterance.text))}
        if stream:
            chunks = await while_connected(request, speaker.stream(utterance))
            return Stream(chunks, media_type=MP3, headers=headers)
        sound = speaker.whole(utterance)
        if not speaker.is_made(utterance):
            sound = while_connected(request, sound)
        size, chunks = await sound
        if media == BASE64:
            size, chunks = 4 * -(-size // 3), _in_base64(chunks)
        if size <= SMALL_BYTES:
            sound_bytes = b"".join([chunk async for chunk in chunks])
            return Response(sound_bytes, media_type=media, headers=headers)
        headers["Content-Length"] = str(size)
        return Stream(chunks, media_type=media, headers=headers)

    @router.get("/voices", responses=problem_responses(503))
    async def voices(request: Request) -> Voices:
        """What can be chosen, and what must be shown to listeners."""
        await awake(request, speaker)
        default = speaker.default_style()
        styles = [
            Voice(id=s.id, speaker=s.speaker, name=s.name, credit=s.credit, default=s == default)
            for s in speaker.engine.styles
        ]
        return Voices(engine=speaker.engine.name, credit=default.credit, styles=styles)

    return router
