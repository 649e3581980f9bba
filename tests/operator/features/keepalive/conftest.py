"""An activator with the feature, on uvloop."""

import pytest
import uvloop

from kotatsu_operator.activator import wake
from kotatsu_operator.features.keepalive.feature import Keepalive
from tests.operator.activator.in_process import ActivatorFixture, pool


@pytest.fixture
async def activator(monkeypatch):
    """A sleeping pool whose held streams get comments, behind a listening activator."""
    monkeypatch.setattr(wake, "ANNOUNCE_AFTER", 0.002)
    monkeypatch.setattr(wake, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(wake, "LIST_AFTER", 60.0)  # the API server of these tests has no pods
    activator = ActivatorFixture(features=[Keepalive])
    await activator.start()
    activator.see("WarmPool", pool(holdKeepalive="20ms"))
    yield activator
    await activator.close()


def pytest_asyncio_loop_factories():
    return {"uvloop": uvloop.new_event_loop}
