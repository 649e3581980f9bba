"""Answers without an end, many at once, fit into a part of the operator's memory."""

import asyncio
import json
import subprocess
import sys

import pytest

from tests.operator.cluster import pod

PAGES = """
from kotatsu_operator.controller import pages
from kotatsu_operator.kube.views import pod_view
pages.TIMEOUT = pages.CONNECT = 60
made = pages.Pages()
async def ask(pod):
    return (await made.read(pod_view(pod), "http", "/metrics", ("kotatsu_",))).why
"""
CALENDARS = """
from kotatsu_operator.features.calendars.fetch import FetchError, fetch
from kotatsu_operator.kube.views import pod_view
async def ask(pod):
    try:
        await fetch(f"http://127.0.0.1:{pod_view(pod).ports['http']}/")
    except FetchError as error:
        return str(error)
"""
RUN = """
import asyncio, json, re, sys, uvloop
from pathlib import Path
async def main(pod, times):
    for why in await asyncio.gather(*(ask(pod) for _ in range(times))):
        assert "2 MiB" in why, why
    # Not ru_maxrss: that is at least what the test's process had, from which this one comes.
    print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
uvloop.run(main(json.loads(sys.argv[1]), int(sys.argv[2])))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asks", "times", "most"),
    [(PAGES, 64, 128), (CALENDARS, 32, 192)],
    ids=["64 pages", "32 calendars"],
)
async def test_answers_without_an_end_take_less_memory_than_the_operator_has(asks, times, most):
    """In MiB, with what such a process takes without them: 30 and 50. Its limit is 768."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(b"kotatsu_requests_in_flight 3\n" * 2000)
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        there = json.dumps(pod(port=server.sockets[0].getsockname()[1], ready=True))
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-c", asks + RUN, there, str(times)), stdout=subprocess.PIPE
        )
        said, _ = await child.communicate()
    assert 0 < int(said) < most
