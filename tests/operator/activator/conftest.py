"""The activator runs on uvloop; what touches sockets is tried on asyncio's own loop too."""

import asyncio

import pytest
import uvloop

from kotatsu_operator.activator import wake
from tests.operator.activator.in_process import ActivatorFixture


@pytest.fixture(autouse=True)
def announced_soon(monkeypatch):
    """The pods of these tests start at once; a request would wait for its announcement."""
    monkeypatch.setattr(wake, "ANNOUNCE_AFTER", 0.002)


@pytest.fixture
async def activator(monkeypatch):
    """A sleeping pool behind a listening activator."""
    monkeypatch.setattr(wake, "LOOK_EVERY", 0.02)
    activator = ActivatorFixture()
    await activator.start()
    yield activator
    await activator.close()


def pytest_asyncio_loop_factories(config, item):
    factories = {"uvloop": uvloop.new_event_loop}
    if item.path.name.startswith("test_client"):
        factories["asyncio"] = asyncio.SelectorEventLoop
    return factories
