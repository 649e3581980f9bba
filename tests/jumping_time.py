"""An event loop whose time jumps: tests that wait for seconds take none, on a busy machine too."""

import asyncio

import pytest


def let_time_jump(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on the running loop's time stands still, and jumps to the next timer when idle.

    For tests without sockets, threads and processes: the loop does not wait for those.
    """
    loop = asyncio.get_running_loop()
    look, now = loop._selector.select, loop.time()

    def select(timeout: float | None = None) -> list[object]:
        nonlocal now
        events = look(None if timeout is None else 0)
        if timeout and not events:
            now += timeout
        return events

    monkeypatch.setattr(loop._selector, "select", select)
    monkeypatch.setattr(loop, "time", lambda: now)
