"""Chooses the bird's next line. There always is one."""

import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal, Protocol

from prometheus_client import Counter

from kotatsu_voice.talk import script
from kotatsu_voice.talk.guard import tries_to_instruct
from kotatsu_voice.talk.hiragana import LIMIT, line_of
from kotatsu_voice.talk.sentences import sentences


class NoAnswerError(Exception):
    """The model gave no answer, or no more of it, for `reason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Model(Protocol):
    """Something that answers a visitor."""

    def answer(self, message: str | None) -> AsyncGenerator[str, None]:
        """The words as they are written. NoAnswerError if there are none, or no more."""
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
        """Answer `message`, or say something when there is none.

        The model's whole answer counts: if its end is no good, nothing of it is said.
        """
        words, own, refusal = self._judged(message)
        if refusal or self._model is None:
            return self._script(own, refusal or "no-key")
        try:
            async with aclosing(self._model.answer(words)) as parts:
                text = line_of("".join([part async for part in parts]))
        except NoAnswerError as error:
            return self._script(own, error.reason)
        if text is None:
            return self._script(own, "not-hiragana")
        self._talks.labels("gemini", "ok").inc()
        return Line(text, "gemini")

    async def lines(self, message: str | None) -> AsyncGenerator[Line, None]:
        """The same, sentence by sentence while the model still writes.

        What was said can't be taken back: where a later sentence is no good, the bird stops.
        """
        words, own, refusal = self._judged(message)
        if refusal or self._model is None:
            yield self._script(own, refusal or "no-key")
            return
        said, reason = 0, "ok"
        try:
            async with aclosing(sentences(self._model.answer(words))) as parts:
                async for part in parts:
                    text = line_of(part)
                    if text is None:
                        reason = "not-hiragana"
                        break
                    if said + len(text) > LIMIT:
                        break
                    said += len(text)
                    yield Line(text, "gemini")
        except NoAnswerError as error:
            reason = error.reason
        if said == 0:
            yield self._script(own, reason)
        else:
            self._talks.labels("gemini", reason).inc()

    def _judged(self, message: str | None) -> tuple[str | None, Sequence[str], str]:
        """The visitor's words, lines of our own to answer them, and why the model may not."""
        words = (message or "").strip() or None
        if words is not None and tries_to_instruct(words):
            return words, script.REFUSALS, "instructions"
        return words, script.GREETINGS if words is None else script.ANSWERS, ""

    def _script(self, lines: Sequence[str], reason: str) -> Line:
        self._talks.labels("script", reason).inc()
        return Line(self._dice.choice(lines), "script")
