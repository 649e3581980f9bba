"""The activator runs on uvloop; what touches sockets is tried on asyncio's own loop too."""

import asyncio

import pytest
import uvloop

from kotatsu_operator.activator.wake import waker
from tests.operator.activator.in_process import ActivatorFixture


@pytest.fixture
async def activator(monkeypatch):
    """A sleeping pool behind a listening activator."""
    monkeypatch.setattr(waker, "LOOK_EVERY", 0.02)
    activator = ActivatorFixture()
    await activator.start()
    yield activator
    await activator.close()


def pytest_asyncio_loop_factories(config, item):
    factories = {"uvloop": uvloop.new_event_loop}
    if item.path.name == "test_client.py":
        factories["asyncio"] = asyncio.SelectorEventLoop
    return factories
