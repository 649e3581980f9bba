"""One text being spoken, for everybody who asks for it meanwhile."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Hashable
from contextlib import aclosing

from kotatsu_voice.engine import EngineFailedError


class Rendering:
    """Chunks as they are made. Any number of listeners hear all of them, from the first one on.

    The work ends when it is done, or when the last listener has gone.
    """

    def __init__(self, source: AsyncGenerator[bytes, None]) -> None:
        self.open = True
        self._chunks: list[bytes] = []
        self._error: Exception | None = None
        self._news = asyncio.Event()
        self._listeners = 0
        self.task = asyncio.create_task(self._make(source))

    async def _make(self, source: AsyncGenerator[bytes, None]) -> None:
        try:
            async for chunk in source:
                self._chunks.append(chunk)
                self._tell()
        except Exception as error:
            self._error = error
        except BaseException:  # cancelled, or worse: what there is must not pass for the whole
            self._error = EngineFailedError("The voice was stopped.")
            raise
        finally:
            self.open = False
            self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def listen(self) -> AsyncGenerator[bytes, None]:
        """The chunks, then whatever the work raised."""
        self._listeners += 1
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
            self._listeners -= 1
            if self._listeners == 0 and self.open:
                self.open = False
                self.task.cancel()
        if self._error is not None:
            raise self._error


class Renderings:
    """At most one rendering of each key at a time."""

    def __init__(self, changed: Callable[[int], None]) -> None:
        self._running: dict[Hashable, Rendering] = {}
        self._changed = changed

    def __len__(self) -> int:
        return len(self._running)

    def get(self, key: Hashable) -> Rendering | None:
        """The one under way: neither at its end nor given up."""
        rendering = self._running.get(key)
        return rendering if rendering is not None and rendering.open else None

    def start(self, key: Hashable, source: AsyncGenerator[bytes, None]) -> Rendering:
        """Begin one. Its caller listens at once."""
        rendering = Rendering(source)
        self._running[key] = rendering
        self._changed(len(self))
        rendering.task.add_done_callback(lambda _: self._end(key, rendering))
        return rendering

    def _end(self, key: Hashable, rendering: Rendering) -> None:
        if self._running.get(key) is rendering:
            del self._running[key]
        self._changed(len(self))

    async def stop(self) -> None:
        """End all of them."""
        tasks = [rendering.task for rendering in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def begun(chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The same chunks once the first one is there; what goes wrong before is raised here."""
    return _with_first(await anext(chunks), chunks)


async def _with_first(
    first: bytes, rest: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    async with aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk
