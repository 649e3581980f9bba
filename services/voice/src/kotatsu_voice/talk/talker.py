"""Chooses the bird's next line. There always is one."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from prometheus_client import Counter

from kotatsu_voice.talk import script
from kotatsu_voice.talk.guard import tries_to_instruct
from kotatsu_voice.talk.hiragana import line_of


class NoAnswerError(Exception):
    """The model gave no answer, for `reason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Model(Protocol):
    """Something that answers a visitor. NoAnswerError if it doesn't."""

    async def answer(self, message: str | None) -> str:
        """The words."""
        ...


@dataclass(frozen=True)
class Line:
    """What the bird says, and where it has it from."""

    text: str
    source: Literal["gemini", "script"]


class Talker:
    """The model if it has one and it answers well, else a line of the script."""

    def __init__(self, model: Model | None, talks: Counter, dice: random.Random) -> None:
        self._model = model
        self._talks = talks
        self._dice = dice

    async def line(self, message: str | None) -> Line:
        """Answer `message`, or say something when there is none."""
        words = (message or "").strip() or None
        if words is not None and tries_to_instruct(words):
            return self._script(script.REFUSALS, "instructions")
        own = script.GREETINGS if words is None else script.ANSWERS
        if self._model is None:
            return self._script(own, "no-key")
        try:
            text = line_of(await self._model.answer(words))
        except NoAnswerError as error:
            return self._script(own, error.reason)
        if text is None:
            return self._script(own, "not-hiragana")
        self._talks.labels("gemini", "ok").inc()
        return Line(text, "gemini")

    def _script(self, lines: Sequence[str], reason: str) -> Line:
        self._talks.labels("script", reason).inc()
        return Line(self._dice.choice(lines), "script")
