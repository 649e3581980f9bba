"""One text being spoken, for everybody who asks for it meanwhile, and what was spoken."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Hashable
from contextlib import aclosing
from functools import partial

from kotatsu_voice.cache import ByteCache
from kotatsu_voice.engine import EngineFailedError

Chunks = AsyncGenerator[bytes, None]


class SlowClientError(Exception):
    """A client takes its speech so slowly that others needed the memory."""


class Rendering:
    """Chunks as they are made. Any number of listeners hear all of them, from the first one on.

    The work ends when it is done, or when the last listener has gone.
    """

    def __init__(
        self, source: Chunks, changed: Callable[["Rendering"], None] = lambda _: None
    ) -> None:
        self.open = True
        self.is_whole = False
        self.listeners = 0
        self.size = 0
        self._changed = changed
        self._chunks: list[bytes] = []
        self._error: Exception | None = None
        self._news = asyncio.Event()
        self.task = asyncio.create_task(self._make(source))

    async def _make(self, source: Chunks) -> None:
        try:
            async for chunk in source:
                self._chunks.append(chunk)
                self.size += len(chunk)
                self._tell()
            self.is_whole = True
        except Exception as error:
            self._error = error
        except BaseException:  # cancelled, or worse: what there is must not pass for the whole
            self._error = EngineFailedError("The voice was stopped.")
            raise
        finally:
            self.open = False
            self._changed(self)
            self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def listen(self) -> Chunks:
        """The chunks, then whatever the work raised."""
        self.listeners += 1
        self._changed(self)
        heard = 0
        try:
            while True:
                while heard < len(self._chunks):
                    heard += 1
                    yield self._chunks[heard - 1]
                if not self.open:
                    break
                await self._news.wait()
        finally:
            self.listeners -= 1
            if self.listeners == 0 and self.open:
                self.open = False
                self.task.cancel()
            self._changed(self)
        if self._error is not None:
            raise self._error

    async def whole(self) -> tuple[int, Chunks]:
        """All chunks once the last one is there, and how many bytes they are."""
        chunks = self.listen()
        try:
            first = await anext(chunks)
            while self.open:
                await self._news.wait()
            if self._error is not None:
                raise self._error
        except BaseException:
            await chunks.aclose()
            raise
        return self.size, _with_first(first, chunks)

    def drop(self) -> None:
        """Let go of what was made. Listeners that have not taken all of it get SlowClientError."""
        self.is_whole = False
        self._chunks = []
        self._error = SlowClientError()


class Renderings:
    """At most one rendering of each key at a time. What was made stays while there is room.

    `cache_bytes` bound what nobody takes just now, and `untaken_bytes` what clients still take: it
    stays in memory for as long as the slowest of them reads. Beyond it the one that was asked for
    the longest time ago is dropped.
    """

    def __init__(
        self, cache_bytes: int, untaken_bytes: int, changed: Callable[[int], None]
    ) -> None:
        self.cache: ByteCache[Rendering] = ByteCache(cache_bytes)
        self.untaken: ByteCache[Rendering] = ByteCache(untaken_bytes)
        self._running: dict[Hashable, Rendering] = {}
        self._changed = changed

    def __len__(self) -> int:
        return len(self._running)

    def get(self, key: Hashable) -> Rendering | None:
        """One that can be listened to: made, or under way and not given up."""
        running = self._running.get(key)
        if running is not None and running.open:
            return running
        return self.untaken.get(key) or self.cache.get(key)

    def start(self, key: Hashable, source: Chunks) -> Rendering:
        """Begin one. Its caller listens at once."""
        rendering = Rendering(source, partial(self._sort, key))
        self._running[key] = rendering
        self._changed(len(self))
        rendering.task.add_done_callback(lambda _: self._end(key, rendering))
        return rendering

    def _end(self, key: Hashable, rendering: Rendering) -> None:
        if self._running.get(key) is rendering:
            del self._running[key]
        self._changed(len(self))

    def _sort(self, key: Hashable, rendering: Rendering) -> None:
        """What was made belongs to those who take it, else to the cache."""
        if not rendering.is_whole:
            return
        if rendering.listeners == 0:
            self.untaken.pop(key)
            self.cache.put(key, rendering)
        elif self.untaken.get(key) is None:
            self.cache.pop(key)
            for slow in self.untaken.put(key, rendering):
                slow.drop()

    async def stop(self) -> None:
        """End all of them."""
        tasks = [rendering.task for rendering in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def begun(chunks: Chunks) -> Chunks:
    """The same chunks once the first one is there; what goes wrong before is raised here."""
    return _with_first(await anext(chunks), chunks)


async def _with_first(first: bytes, rest: Chunks) -> Chunks:
    async with aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk
