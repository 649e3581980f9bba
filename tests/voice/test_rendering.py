import asyncio
import gc
import weakref
from collections.abc import AsyncGenerator

import pytest

from kotatsu_voice.engine import EngineFailedError
from kotatsu_voice.rendering import Renderings, SlowClientError


class Source:
    """Chunks that a test lets out one by one."""

    def __init__(self, *chunks: bytes | BaseException) -> None:
        self.chunks = chunks
        self.go = asyncio.Semaphore(0)
        self.closed = False

    async def __call__(self) -> AsyncGenerator[bytes, None]:
        try:
            for chunk in self.chunks:
                await self.go.acquire()
                if isinstance(chunk, BaseException):
                    raise chunk
                yield chunk
        finally:
            self.closed = True

    def release(self, count: int) -> None:
        for _ in range(count):
            self.go.release()


async def heard(listener: AsyncGenerator[bytes, None]) -> list[bytes]:
    return [chunk async for chunk in listener]


async def test_a_late_listener_hears_everything_from_the_start() -> None:
    source = Source(b"a", b"b", b"c")
    rendering = Renderings(0, 0, lambda _: None).start("x", source())
    first = rendering.listen()
    source.release(2)
    assert await anext(first) == b"a"
    assert await anext(first) == b"b"
    late = asyncio.create_task(heard(rendering.listen()))
    source.release(1)
    assert await heard(first) == [b"c"]
    assert await late == [b"a", b"b", b"c"]


async def test_every_listener_gets_the_error_after_what_was_made() -> None:
    source = Source(b"a", ValueError("broken"))
    rendering = Renderings(0, 0, lambda _: None).start("x", source())
    source.release(2)
    for _ in range(2):
        listener = rendering.listen()
        assert await anext(listener) == b"a"
        with pytest.raises(ValueError, match="broken"):
            await anext(listener)


class Panic(BaseException):
    """Derives from BaseException, as what a panic in Rust raises."""


async def test_even_an_end_that_is_no_exception_never_passes_for_the_whole() -> None:
    source = Source(b"a", Panic())
    rendering = Renderings(0, 0, lambda _: None).start("x", source())
    source.release(2)
    listener = rendering.listen()
    assert await anext(listener) == b"a"
    with pytest.raises(EngineFailedError):
        await anext(listener)
    with pytest.raises(Panic):
        await rendering.task


async def test_the_work_ends_when_the_last_listener_goes() -> None:
    source = Source(b"a", b"b")
    renderings = Renderings(0, 0, lambda _: None)
    rendering = renderings.start("x", source())
    one, two = rendering.listen(), rendering.listen()
    source.release(1)
    await anext(one)
    await anext(two)
    await one.aclose()
    await asyncio.sleep(0)
    assert renderings.get("x") is rendering
    await two.aclose()
    assert renderings.get("x") is None  # nobody can join what is being abandoned
    await asyncio.gather(rendering.task, return_exceptions=True)
    assert source.closed
    assert len(renderings) == 0


async def test_what_was_taken_and_is_not_cached_leaves_memory_at_once() -> None:
    """Without the garbage collector, which comes rarely: minutes of sound are megabytes."""
    renderings = Renderings(0, 100, lambda _: None)
    source = Source(b"a", b"b")
    source.release(2)
    rendering = renderings.start("x", source())
    gc.disable()
    try:
        assert await heard(rendering.listen()) == [b"a", b"b"]
        await asyncio.sleep(0)
        gone = weakref.ref(rendering)
        del rendering
        await asyncio.sleep(0)
        assert gone() is None
    finally:
        gc.enable()


async def test_what_somebody_still_takes_is_bounded_apart_from_the_cache() -> None:
    renderings = Renderings(2, 3, lambda _: None)
    listeners = []
    for key in ("x", "y"):
        source = Source(key.encode(), key.encode())
        source.release(2)
        listener = renderings.start(key, source()).listen()
        await anext(listener)
        await asyncio.sleep(0)
        listeners.append(listener)
    slow, quick = listeners
    with pytest.raises(SlowClientError):
        await anext(slow)
    assert renderings.get("x") is None
    assert await heard(quick) == [b"y"]
    assert (renderings.cache.size, renderings.untaken.size) == (2, 0)
    assert renderings.get("y") is not None
