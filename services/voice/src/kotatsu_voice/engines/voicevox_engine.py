"""VOICEVOX ENGINE, or one that speaks its language, over HTTP: two requests a sentence."""

from typing import Any

import httpx

from kotatsu_common.fetch import Bounds, UnreadableAnswerError, fetch
from kotatsu_voice.audio import pcm_of_wav
from kotatsu_voice.engine import (
    PIECE_SECONDS,
    EngineFailedError,
    EngineLostError,
    Pcm,
    Style,
    UnspeakableError,
    hangs,
)
from kotatsu_voice.engines import voices
from kotatsu_voice.reading import kanji

START_SECONDS = 5.0
"""For the list of speakers, which an engine that lives has at hand."""
_CONNECT_SECONDS = 3.0
_MAX_ANSWER = 32 * 2**20
"""Bytes; a sentence's WAV is some megabytes at most."""
# After a 500 the engine may reset the connection that the next request reuses.
_BROKEN_CONNECTION = (httpx.ConnectError, httpx.ReadError, httpx.WriteError, httpx.CloseError)


class VoicevoxHttpEngine:
    """A remote engine. Its memory grows with a text's length, so it only ever gets one sentence.

    One that does not answer in time, or can't be reached, is lost until `start` reaches it.
    """

    name = "voicevox-engine"
    workers = 1

    def __init__(
        self,
        http: httpx.AsyncClient,
        url: str,
        *,
        default_style: int | None = None,
    ) -> None:
        self.default_style = voices.SEED_STYLE if default_style is None else default_style
        self.styles: tuple[Style, ...] = ()
        self._chosen = default_style
        self._http = http
        self._url = url.rstrip("/")

    async def start(self) -> None:
        """Ask for the speakers, which shows that the engine is there."""
        answer = await self._ask("GET", "/speakers", START_SECONDS)
        try:
            self.styles = tuple(
                Style(
                    int(style["id"]),
                    speaker["name"],
                    style["name"],
                    voices.credit(speaker["name"]),
                )
                for speaker in answer.json()
                for style in speaker["styles"]
                if voices.talks(style.get("type", "talk"))
            )
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise EngineFailedError("The engine's list of speakers is invalid.") from error
        if self._chosen is None:
            self.default_style = voices.default_style(self.styles)

    async def synthesize(self, text: str, style: int) -> Pcm:
        """A query for the text, then its sound."""
        query = await self._ask("POST", "/audio_query", PIECE_SECONDS, text=text, speaker=style)
        wav = await self._ask(
            "POST", "/synthesis", PIECE_SECONDS, body=query.content, speaker=style
        )
        return pcm_of_wav(wav.content)

    def left_out(self, text: str) -> str:
        """The letters that Open JTalk's own dictionary lacks."""
        return kanji.unread(text)

    async def close(self) -> None:
        """The HTTP client belongs to the app."""

    async def _ask(
        self, method: str, path: str, seconds: float, *, body: bytes | None = None, **params: Any
    ) -> httpx.Response:
        headers = {"Content-Type": "application/json"} if body else {}
        asked = {"params": params, "content": body, "headers": headers}
        answer = await self._send(method, self._url + path, seconds, asked)
        if answer.status_code == 422:
            raise UnspeakableError("The engine does not accept this text or style.")
        if answer.status_code != 200:
            raise EngineFailedError(f"The engine answered {answer.status_code}.")
        return answer

    async def _send(
        self, method: str, url: str, seconds: float, asked: dict[str, Any]
    ) -> httpx.Response:
        """Ask, and once more if the connection broke: speaking twice does no harm."""
        bounds = Bounds(seconds, _MAX_ANSWER)
        asked = {"timeout": httpx.Timeout(seconds, connect=_CONNECT_SECONDS), **asked}
        try:
            try:
                return await fetch(self._http, method, url, bounds, **asked)
            except (*_BROKEN_CONNECTION, httpx.RemoteProtocolError):
                return await fetch(self._http, method, url, bounds, **asked)
        except httpx.ConnectTimeout as error:
            raise EngineLostError("The engine can't be reached.") from error
        except httpx.TimeoutException as error:
            raise hangs(seconds) from error
        except httpx.RequestError as error:
            raise EngineLostError("The engine can't be reached.") from error
        except UnreadableAnswerError as error:
            raise EngineFailedError(f"The engine's answer {error}.") from error
