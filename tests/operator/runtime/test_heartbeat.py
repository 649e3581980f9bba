"""Whether the event loop turns, as /livez asks it."""

import asyncio
import contextlib

from kotatsu_operator.runtime.loop import LATE_AFTER, Heartbeat
from tests.operator.cluster import eventually


async def test_a_loop_that_turns_is_alive_and_one_that_stands_still_is_not():
    now = 100.0
    heartbeat = Heartbeat(lambda: now)
    beating = asyncio.create_task(heartbeat.run())
    await asyncio.sleep(0)
    now += LATE_AFTER - 1
    assert heartbeat.why_not_alive() == ""
    now += 2
    assert heartbeat.why_not_alive() == "the event loop has been blocked for 21 s"
    beating.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await beating


async def test_it_beats_again_when_the_loop_turns_again(monkeypatch):
    monkeypatch.setattr("kotatsu_operator.runtime.loop.EVERY", 0.001)
    now = 100.0
    heartbeat = Heartbeat(lambda: now)
    beating = asyncio.create_task(heartbeat.run())
    now += 1000
    assert heartbeat.why_not_alive()
    await eventually(lambda: heartbeat.why_not_alive() == "")
    beating.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await beating
