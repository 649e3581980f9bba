from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from voice.fakes import FakeEngine

from kotatsu_voice.app import create_app
from kotatsu_voice.settings import VoiceSettings


@pytest.fixture
async def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def settings() -> VoiceSettings:
    return VoiceSettings(voice_anonymous=True)


@pytest.fixture
def app(settings: VoiceSettings, engine: FakeEngine) -> FastAPI:
    return create_app(settings, engine=engine)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://voice") as http:
            yield http
