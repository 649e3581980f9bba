"""An activator with the waiting page, on uvloop."""

import pytest
import uvloop

from kotatsu_operator.features.waiting_page.page import Visitors
from tests.operator.activator.in_process import with_feature


@pytest.fixture
async def activator(monkeypatch):
    async with with_feature(Visitors, monkeypatch) as activator:
        yield activator


def pytest_asyncio_loop_factories():
    return {"uvloop": uvloop.new_event_loop}
