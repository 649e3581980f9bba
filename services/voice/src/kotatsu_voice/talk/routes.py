"""POST /talk."""

import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from kotatsu_common.bodies import documented_body, json_body
from kotatsu_common.problems import problem_responses
from kotatsu_voice.connection import Stream, awake, while_connected
from kotatsu_voice.engine import Style, UnspeakableError
from kotatsu_voice.rendering import Rendering, begun
from kotatsu_voice.routes import credit_headers
from kotatsu_voice.speaker import MP3, Speaker
from kotatsu_voice.talk.talker import Line, Talker

LONGEST_MESSAGE = 500
LINES = "application/x-ndjson"


class Message(BaseModel):
    """What a visitor says to the bird."""

    message: str | None = Field(None, max_length=LONGEST_MESSAGE, examples=["おはよう"])


class Talk(BaseModel):
    """What the bird says back."""

    text: str = Field(description="hiragana, at most 140 characters")
    audio: str = Field(description="base64 of the MP3")
    source: Literal["gemini", "script"]
    credit: str = Field(description="the line to show to listeners")


_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "With `stream`, one such object on a line for each sentence",
        "content": {LINES: {"schema": {"type": "string"}}},
    },
    **problem_responses(400, 401, 403, 413, 422, 503),
}


def talk_router(speaker: Speaker, talker: Talker, dependencies: list[Any]) -> APIRouter:
    """The route; `dependencies` guard it."""
    router = APIRouter(tags=["talk"])

    @router.post(
        "/talk",
        dependencies=dependencies,
        response_model=Talk,
        responses=_ANSWERS,
        openapi_extra=documented_body(Message, required=False),
    )
    async def talk(
        request: Request,
        response: Response,
        body: Annotated[Message | None, Depends(json_body(Message | None))],
        stream: bool = False,
    ) -> Talk | Response:
        """A line of the bird, made up by Gemini or taken from its script, with its sound.

        With `stream` each sentence is sent as soon as it is spoken, while Gemini writes the next.
        """
        await awake(request, speaker)
        message = body.message if body else None
        style = speaker.default_style()
        if stream:
            spoken_lines = Rendering(_streamed(speaker, talker.lines(message), style)).listen()
            chunks = await while_connected(request, begun(spoken_lines))
            return Stream(chunks, media_type=LINES, headers=credit_headers(style))

        async def spoken() -> Talk:
            return await _talk(speaker, await talker.line(message), style)

        answer = await while_connected(request, spoken())
        response.headers.update(credit_headers(style))
        return answer

    return router


async def _streamed(
    speaker: Speaker, lines: AsyncGenerator[Line, None], style: Style
) -> AsyncGenerator[bytes, None]:
    """Each sentence as a line. One without any sound is left out, unless all are."""
    silent: UnspeakableError | None = None
    said = False
    async with aclosing(lines):
        async for line in lines:
            try:
                talk = await _talk(speaker, line, style)
            except UnspeakableError as error:
                silent = error
            else:
                said = True
                yield talk.model_dump_json().encode() + b"\n"
    if silent is not None and not said:
        raise silent


async def _talk(speaker: Speaker, line: Line, style: Style) -> Talk:
    sound = await speaker.say(speaker.utterance(line.text, None, MP3))
    audio = base64.b64encode(sound).decode()
    return Talk(text=line.text, audio=audio, source=line.source, credit=style.credit)
