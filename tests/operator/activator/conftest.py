"""The activator runs on uvloop; what touches sockets is tried on asyncio's own loop too."""

import asyncio
import contextlib

import pytest
import uvloop

from kotatsu_operator.activator import pods, wake
from tests.operator.activator.in_process import ActivatorFixture
from tests.operator.activator.joined import JoinedFixture
from tests.operator.activator.published import PublisherFixture


@pytest.fixture(autouse=True)
def announced_soon(monkeypatch):
    """The pods of these tests start at once; a request would wait for its announcement."""
    monkeypatch.setattr(wake, "ANNOUNCE_AFTER", 0.002)


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """On a busy machine a second is soon over: only the tests of these limits wait for them."""
    monkeypatch.setattr(wake, "READ_AFTER", 60.0)
    monkeypatch.setattr(pods, "TIMEOUT", 60.0)
    monkeypatch.setattr(pods, "CONNECT_TIMEOUT", 60.0)


@pytest.fixture
async def activator(monkeypatch):
    """A sleeping pool behind a listening activator."""
    monkeypatch.setattr(wake, "LOOK_EVERY", 0.02)
    async with ActivatorFixture() as activator:
        yield activator


@pytest.fixture
async def joined():
    """A listening activator with one pod, whose connections are closed in the end."""
    with contextlib.ExitStack() as closing:
        joined = JoinedFixture(closing)
        await joined.start()
        yield joined
    for client in joined.owner.arrivals:
        for transport in (client.transport, client.upstream and client.upstream.transport):
            if transport is not None:
                transport.abort()
    await asyncio.sleep(0.01)  # uvloop ends only when every transport has ended


@pytest.fixture
async def make_activator():
    """Publishers whose listeners are closed in the end."""
    made = []

    def make(*args):
        made.append(PublisherFixture(*args))
        return made[-1]

    yield make
    for one in made:
        one.crash()
    await asyncio.sleep(0.01)


def pytest_asyncio_loop_factories(config, item):
    factories = {"uvloop": uvloop.new_event_loop}
    if item.path.name.startswith("test_splice"):
        factories["asyncio"] = asyncio.SelectorEventLoop
    return factories
