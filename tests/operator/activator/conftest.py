"""The activator runs on uvloop; what touches sockets is tried on asyncio's own loop too."""

import asyncio

import uvloop


def pytest_asyncio_loop_factories(config, item):
    factories = {"uvloop": uvloop.new_event_loop}
    if item.path.name == "test_client.py":
        factories["asyncio"] = asyncio.SelectorEventLoop
    return factories
