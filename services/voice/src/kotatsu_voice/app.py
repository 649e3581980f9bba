"""The voice as an app: engine, speaker, routes, and when it is ready."""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI
from prometheus_client import CollectorRegistry

from kotatsu_common import startup
from kotatsu_common.app import create_base_app
from kotatsu_common.health import Readiness
from kotatsu_voice import refusals
from kotatsu_voice.engine import Engine, EngineError
from kotatsu_voice.engines import make_engine
from kotatsu_voice.metrics import VoiceMetrics
from kotatsu_voice.routes import CREDIT_HEADER, voice_router
from kotatsu_voice.settings import VoiceSettings
from kotatsu_voice.speaker import Speaker
from kotatsu_voice.talk.routes import talk_router
from kotatsu_voice.talk.talker import Talker

if TYPE_CHECKING:
    import httpx

    from kotatsu_common.identity import IdentityClient

FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 10.0
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
        import httpx

        http = ours = httpx.AsyncClient()
    registry = CollectorRegistry()
    readiness = Readiness("the voice has not spoken yet")
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
        if ours is not None:
            await ours.aclose()

    app = create_base_app(
        settings,
        title="Kotatsu voice",
        registry=registry,
        readiness=readiness,
        lifespan=lifespan,
        expose_headers=(CREDIT_HEADER,),
    )
    app.description = "Japanese speech, and a small blue bird that talks"
    refusals.install(app)
    guards = _guards(settings, identity, http)
    talker = Talker(_model(settings, http), metrics.talks, random.Random())  # noqa: S311
    app.include_router(voice_router(speaker, guards))
    app.include_router(talk_router(speaker, talker, guards))
    app.state.speaker = speaker
    return app


async def _keep_awake(speaker: Speaker, readiness: Readiness) -> None:
    """Wake the voice, and again each time its engine is lost.

    Its log tells where the time of a cold start went.
    """
    imports, reason = {"imports_seconds": startup.age()}, ""
    while True:
        took = imports | await _wake(speaker, readiness, reason)
        seconds = {name: round(value, 3) for name, value in took.items()}
        logger.info("the voice has spoken", extra={"engine": speaker.engine.name, **seconds})
        imports, reason = {}, await speaker.lost()


async def _wake(speaker: Speaker, readiness: Readiness, logged: str) -> dict[str, float]:
    """Ready once the voice has really spoken; keep trying until it does.

    An engine that is back at once was never away for the kubelet. `logged` is the reason that the
    log has already; each other one is logged once.
    """
    delay = FIRST_RETRY_SECONDS
    while True:
        try:
            took = await speaker.wake()
        except EngineError as error:
            readiness.not_ready(str(error))
            if str(error) != logged:
                logged = str(error)
                logger.warning("the voice does not speak yet: %s", error)
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_RETRY_SECONDS)
        else:
            readiness.ready()
            return took


def _calls_others(settings: VoiceSettings, engine: object, identity: object) -> bool:
    return (
        (not settings.voice_anonymous and identity is None)
        or (settings.voice_engine == "voicevox-engine" and engine is None)
        or settings.gemini_api_key is not None
    )


def _guards(
    settings: VoiceSettings, identity: "IdentityClient | None", http: "httpx.AsyncClient | None"
) -> list[Any]:
    """Nothing for anonymous callers, whose Authorization isn't even looked at; else auth's word."""
    if settings.voice_anonymous:
        return []
    from kotatsu_common.identity import IdentityClient, identity_dependency

    if identity is None:
        if http is None or settings.auth_url is None:
            raise ValueError("without anonymous callers, auth's address is needed")
        identity = IdentityClient(http, settings.auth_url)
    return [Depends(identity_dependency(identity.verify))]


def _model(settings: VoiceSettings, http: "httpx.AsyncClient | None") -> Any:
    if settings.gemini_api_key is None or http is None:
        return None
    from kotatsu_voice.talk.gemini import Gemini

    key = settings.gemini_api_key.get_secret_value()
    return Gemini(http, settings.gemini_api_url, key, settings.gemini_model)
