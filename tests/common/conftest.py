from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from kotatsu_common.app import create_base_app
from kotatsu_common.health import Readiness
from kotatsu_common.settings import ServiceSettings


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def readiness() -> Readiness:
    return Readiness()


@pytest.fixture
def app(registry: CollectorRegistry, readiness: Readiness) -> FastAPI:
    settings = ServiceSettings()
    return create_base_app(
        settings,
        title="Test",
        registry=registry,
        readiness=readiness,
        expose_headers=("X-Voice-Credit",),
        body_bytes=1000,
    )


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        yield http
