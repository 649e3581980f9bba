"""POST /talk."""

import base64
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Request, Response
from pydantic import BaseModel, Field

from kotatsu_common.problems import problem_responses
from kotatsu_voice.connection import while_connected
from kotatsu_voice.routes import credit_headers
from kotatsu_voice.speaker import MP3, Speaker
from kotatsu_voice.talk.talker import Line, Talker

LONGEST_MESSAGE = 500


class Message(BaseModel):
    """What a visitor says to the bird."""

    message: str | None = Field(None, max_length=LONGEST_MESSAGE, examples=["おはよう"])


class Talk(BaseModel):
    """What the bird says back."""

    text: str = Field(description="hiragana, at most 140 characters")
    audio: str = Field(description="base64 of the MP3")
    source: Literal["gemini", "script"]
    credit: str = Field(description="the line to show to listeners")


def talk_router(speaker: Speaker, talker: Talker, dependencies: list[Any]) -> APIRouter:
    """The route; `dependencies` guard it."""
    router = APIRouter(tags=["talk"])

    @router.post(
        "/talk",
        dependencies=dependencies,
        responses=problem_responses(400, 401, 403, 413, 422, 503),
    )
    async def talk(
        request: Request, response: Response, body: Annotated[Message | None, Body()] = None
    ) -> Talk:
        """A line of the bird, made up by Gemini or taken from its script, with its sound."""
        await speaker.awake()

        async def spoken() -> tuple[Line, bytes]:
            line = await talker.line(body.message if body else None)
            return line, await speaker.say(speaker.utterance(line.text, None, MP3))

        line, sound = await while_connected(request, spoken())
        style = speaker.default_style()
        response.headers.update(credit_headers(style))
        return Talk(
            text=line.text,
            audio=base64.b64encode(sound).decode(),
            source=line.source,
            credit=style.credit,
        )

    return router
