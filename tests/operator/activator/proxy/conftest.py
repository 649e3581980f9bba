"""A listening activator with one pod, whose connections are closed in the end."""

import asyncio
import contextlib

import pytest

from tests.operator.activator.proxy.joined import ActivatorFixture


@pytest.fixture
async def activator():
    with contextlib.ExitStack() as closing:
        activator = ActivatorFixture(closing)
        await activator.start()
        yield activator
    for client in activator.owner.arrivals:
        for transport in (client.transport, client.upstream and client.upstream.transport):
            if transport is not None:
                transport.abort()
    await asyncio.sleep(0.01)  # uvloop ends only when every transport has ended
