"""Publishers whose listeners are closed in the end."""

import asyncio

import pytest

from tests.operator.activator.endpoints.published import ActivatorFixture


@pytest.fixture
async def make_activator():
    activators = []

    def make(*args):
        activators.append(ActivatorFixture(*args))
        return activators[-1]

    yield make
    for made in activators:
        made.crash()
    await asyncio.sleep(0.01)


@pytest.fixture
async def activator(make_activator):
    return make_activator()
