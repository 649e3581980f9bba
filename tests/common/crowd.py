"""Somebody who is asked by many at once, and counts how many wait for an answer."""

import asyncio
from typing import Any

import httpx


class Crowd:
    """Answers 200 after a moment."""

    def __init__(self, **answer: Any) -> None:
        self._answer = answer
        self._now = 0
        self.most = 0
        """The most questions that were open at a time."""

    async def answer(self, _: httpx.Request) -> httpx.Response:
        self._now += 1
        self.most = max(self.most, self._now)
        for _turn in range(10):
            await asyncio.sleep(0)
        self._now -= 1
        return httpx.Response(200, **self._answer)
