"""An activator whose held streams get comments, on uvloop."""

import pytest
import uvloop

from kotatsu_operator.features.keepalive.feature import Keepalive
from tests.operator.activator.in_process import pool, with_feature


@pytest.fixture
async def activator(monkeypatch):
    async with with_feature(Keepalive, monkeypatch) as activator:
        activator.see("WarmPool", pool(holdKeepalive="20ms"))
        yield activator


def pytest_asyncio_loop_factories():
    return {"uvloop": uvloop.new_event_loop}
