"""What a speech engine is to the rest of the service: text in, samples out."""

from dataclasses import dataclass
from typing import Protocol

PIECE_SECONDS = 30.0
"""For one piece of text, which is some seconds of speech. An engine that takes longer hangs."""


MOST_MORAS = 200
"""Of one piece of text, about 30 seconds of speech: 120 characters of Japanese have 150, and of
letters that are spelled 270. An engine with little of a core would need more than PIECE_SECONDS."""


@dataclass(frozen=True)
class Style:
    """A way of speaking that a caller can choose, and the line its listeners must be shown."""

    id: int
    speaker: str
    name: str
    credit: str


@dataclass(frozen=True)
class Pcm:
    """Sound as an engine makes it: one channel of signed 16-bit little-endian samples."""

    rate: int
    samples: bytes

    @property
    def seconds(self) -> float:
        """How long it sounds."""
        return len(self.samples) / 2 / self.rate


class EngineError(Exception):
    """An engine did not speak; the message says why, for people."""


class UnspeakableError(EngineError):
    """There is no sound for this text. Asking again gives the same."""


class SilentError(UnspeakableError):
    """Nothing in this text has a sound: it is left out of what is around it."""


class UnknownStyleError(EngineError):
    """The engine has no such style."""


class EngineFailedError(EngineError):
    """The engine is broken or away. Asking again may help."""


class EngineLostError(EngineFailedError):
    """The engine hangs, is gone or is damaged. It speaks again only after another `start`."""


def hangs(seconds: float) -> EngineLostError:
    """The error of an engine that has not answered in time."""
    return EngineLostError(f"The engine did not answer within {seconds:g} seconds.")


def check_length(moras: int) -> None:
    """UnspeakableError for a piece whose reading is longer than MOST_MORAS."""
    if moras > MOST_MORAS:
        raise UnspeakableError("The text takes too long to read out.")


class Engine(Protocol):
    """Speaks one sentence at a time; `workers` of them at once.

    Nothing is loaded before `start`, and `styles` is empty until then.
    """

    name: str
    workers: int
    default_style: int

    @property
    def styles(self) -> tuple[Style, ...]:
        """What there is to choose from."""
        ...

    async def start(self) -> None:
        """Load dictionary and voices, or reach the engine. EngineFailedError if that fails.

        Called again after EngineLostError: it replaces what is damaged.
        """
        ...

    async def synthesize(self, text: str, style: int) -> Pcm:
        """Speak `text`, which `text.prepare` has made harmless. EngineError if there's no sound.

        Given up after PIECE_SECONDS, cancelled when the app ends; neither because a client has
        gone. It ends when its work does, so that it is known whether that goes on.
        """
        ...

    def left_out(self, text: str) -> str:
        """Letters of `text` that it does not speak, each once and at most some."""
        ...

    async def close(self) -> None:
        """Let go of everything. The engine isn't used again."""
        ...


def style_of(engine: Engine, style: int | None) -> Style:
    """The chosen style, or the engine's default."""
    wanted = engine.default_style if style is None else style
    for known in engine.styles:
        if known.id == wanted:
            return known
    raise UnknownStyleError(f"There is no style {wanted}.")
