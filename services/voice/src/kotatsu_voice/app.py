"""The voice as an app: engine, speaker, routes, and when it is ready."""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from kotatsu_common import startup
from kotatsu_common.app import create_base_app
from kotatsu_common.health import Readiness
from kotatsu_voice import refusals
from kotatsu_voice.callers import Callers
from kotatsu_voice.engine import Engine, EngineError
from kotatsu_voice.engines import make_engine
from kotatsu_voice.metrics import VoiceMetrics
from kotatsu_voice.routes import HEADERS, voice_router
from kotatsu_voice.settings import VoiceSettings
from kotatsu_voice.speaker import Speaker
from kotatsu_voice.talk.routes import LONGEST_MESSAGE, talk_router
from kotatsu_voice.talk.talker import Talker

if TYPE_CHECKING:
    import httpx

    from kotatsu_common.identity_client import IdentityClient

# An engine that is back within this time was never away for the kubelet.
RELOAD_SECONDS = 1.0
FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 10.0
NOT_YET = "the voice has not spoken yet"
STALLED = "a synthesis that was given up still runs, and only a restart ends it"
logger = logging.getLogger("kotatsu.voice")


def create_app(
    settings: VoiceSettings,
    *,
    engine: Engine | None = None,
    identity: "IdentityClient | None" = None,
    http: "httpx.AsyncClient | None" = None,
) -> FastAPI:
    """The app. What isn't given is made from the settings, and only what is made is closed.

    An engine, given or made, is started and closed with the app. httpx takes as long to import as
    Open JTalk needs for a sentence, so it is only imported where something is to be called.
    """
    ours = None
    if http is None and _calls_others(settings, engine, identity):
        from kotatsu_common import fetch

        http = ours = fetch.client()
    callers = Callers(settings, identity, http)
    registry = CollectorRegistry()
    readiness = Readiness(NOT_YET)
    metrics = VoiceMetrics(registry)
    speaker = Speaker(
        engine if engine is not None else make_engine(settings, http),
        metrics,
        queue=settings.voice_queue,
        cache_bytes=settings.voice_cache_bytes,
        max_characters=settings.voice_max_characters,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        waking = asyncio.create_task(_keep_awake(speaker, readiness))
        yield
        waking.cancel()
        await asyncio.gather(waking, return_exceptions=True)
        await speaker.close()
        await callers.close()
        if ours is not None:
            await ours.aclose()

    app = create_base_app(
        settings,
        title="Kotatsu voice",
        registry=registry,
        readiness=readiness,
        lifespan=lifespan,
        expose_headers=HEADERS,
        body_bytes=_body_bytes(settings),
        restart=lambda: STALLED if speaker.is_stalled else "",
    )
    app.description = "Japanese speech, and a small blue bird that talks"
    refusals.install(app)
    talker = Talker(_model(settings, http), metrics.talks, random.Random())  # noqa: S311
    app.include_router(voice_router(speaker, [] if settings.voice_anonymous else callers.guards))
    if callers.guards:  # else nobody can be known, and what Gemini costs is for known users
        app.include_router(talk_router(speaker, talker, callers.guards))
    app.state.speaker = speaker
    return app


def _body_bytes(settings: VoiceSettings) -> int:
    """Room for the longest text: in JSON and in forms a character is at most twelve bytes."""
    return 12 * max(settings.voice_max_characters, LONGEST_MESSAGE) + 2_048


async def _keep_awake(speaker: Speaker, readiness: Readiness) -> None:
    """Wake the voice, and again each time its engine is lost.

    Its log tells where the time of a cold start went.
    """
    imports, reason = {"imports_seconds": startup.age()}, NOT_YET
    while True:
        took = imports | await _wake(speaker, readiness, reason)
        seconds = {name: round(value, 3) for name, value in took.items()}
        logger.info("the voice has spoken", extra={"engine": speaker.engine.name, **seconds})
        imports, reason = {}, await speaker.lost()


async def _wake(speaker: Speaker, readiness: Readiness, reason: str) -> dict[str, float]:
    """Ready once the voice has really spoken; keep trying until it does.

    `reason` is why it does not speak, and the log has it already; each other one is logged once.
    """
    late = asyncio.get_running_loop().call_later(RELOAD_SECONDS, readiness.not_ready, reason)
    delay, logged = FIRST_RETRY_SECONDS, reason
    while True:
        try:
            took = await speaker.wake()
        except EngineError as error:
            late.cancel()
            readiness.not_ready(str(error))
            if str(error) != logged:
                logged = str(error)
                logger.warning("the voice does not speak yet: %s", error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_RETRY_SECONDS)
        else:
            late.cancel()
            readiness.ready()
            return took


def _calls_others(settings: VoiceSettings, engine: object, identity: object) -> bool:
    return (
        (not settings.voice_anonymous and identity is None)
        or (settings.voice_engine == "voicevox-engine" and engine is None)
        or settings.gemini_api_key is not None
    )


def _model(settings: VoiceSettings, http: "httpx.AsyncClient | None") -> Any:
    if settings.gemini_api_key is None or http is None:
        return None
    from kotatsu_voice.talk.gemini import Gemini

    key = settings.gemini_api_key.get_secret_value()
    return Gemini(http, settings.gemini_api_url, key, settings.gemini_model)
