"""A scraper, and servers for the pages it asks for."""

import asyncio

import pytest

from kotatsu_operator.controller import pages
from kotatsu_operator.controller.demand import Scraper
from kotatsu_operator.kube.views import pod_view
from tests.operator.cluster import pod


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """On a busy machine a second is soon over: only the tests of these limits wait for them."""
    monkeypatch.setattr(pages, "TIMEOUT", 60.0)
    monkeypatch.setattr(pages, "CONNECT", 60.0)


@pytest.fixture
def scraper():
    return Scraper()


@pytest.fixture
async def serve():
    servers, pages = [], []

    async def serve(page, make=pod, **how):
        server = await asyncio.start_server(page.answer, "127.0.0.1", 0)
        servers.append(server)
        pages.append(page)
        return pod_view(make(port=server.sockets[0].getsockname()[1], ready=True, **how))

    yield serve
    for server in servers:
        server.close()
    for page in pages:
        for _, writer in page.writers:
            writer.transport.abort()
    await asyncio.sleep(0)
