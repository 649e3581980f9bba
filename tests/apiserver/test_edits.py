"""Edits beside load and mishaps, for an hour: the operator acts on each within 35 s.

KOTATSU_EDITS_SECONDS makes it shorter.
"""

import asyncio
import itertools
import logging
import os
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest
from apiserver.conftest import MakeNamespace, install_platform
from apiserver.kit import Namespace
from apiserver.programs import Fate
from e2e.kit import pool, workload

log = logging.getLogger(__name__)

SECONDS = float(os.environ.get("KOTATSU_EDITS_SECONDS", "3600"))
POOLS = 40
ACTED_ON_WITHIN = 35.0
EDITORS = 4
MISHAP_EVERY = 20.0

pytestmark = [pytest.mark.apiserver, pytest.mark.nightly, pytest.mark.timeout(SECONDS + 600)]


def is_acted_on(kubectl: Namespace, name: str) -> bool:
    """Whether the status is of the latest spec."""
    found = kubectl.get("warmpool", name)
    written = found.get("status", {}).get("observedGeneration")
    return bool(written == found["metadata"]["generation"])


def is_accepted(kubectl: Namespace, name: str) -> bool:
    """Whether the operator has found the target of a pool."""
    conditions = kubectl.get("warmpool", name).get("status", {}).get("conditions", ())
    return any(c["type"] == "Accepted" and c["status"] == "True" for c in conditions)


async def seconds_until(holds: Callable[[], bool]) -> float:
    """How long it takes until something holds; at most a minute is waited."""
    began = time.monotonic()
    while not await asyncio.to_thread(holds) and time.monotonic() - began < 60:
        await asyncio.sleep(0.1)
    return time.monotonic() - began


async def edit(kubectl: Namespace, names: list[str], numbers: "itertools.count[int]") -> float:
    """Edit pools one after the other; the longest time until one was acted on."""
    longest, until = 0.0, time.monotonic() + SECONDS
    for name in itertools.cycle(names):
        spec = {"idleAfter": f"{next(numbers) + 60}s"}
        await asyncio.to_thread(kubectl.patch, "warmpool", name, {"spec": spec})
        took = await seconds_until(lambda name=name: is_acted_on(kubectl, name))
        longest = max(longest, took)
        if time.monotonic() > until:
            return longest
    return longest


async def come_and_go(kubectl: Namespace) -> float:
    """Create and delete the target of a pool; the longest time until one was acted on."""
    longest, until, name = 0.0, time.monotonic() + SECONDS, "target"
    kubectl.apply(pool(name))
    while time.monotonic() < until:
        for is_there in (True, False):
            if is_there:
                await asyncio.to_thread(kubectl.apply, *workload(name))
            else:
                await asyncio.to_thread(kubectl.delete, "deployment", name)
            took = await seconds_until(
                lambda is_there=is_there: is_accepted(kubectl, name) == is_there
            )
            longest = max(longest, took)
    return longest


class Operators(Fate):
    """Knows the event loop of the operator, which is in a thread of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.loop: asyncio.AbstractEventLoop | None = None

    def is_met_by(self, *_: object) -> bool:
        self.loop = asyncio.get_running_loop()
        return False

    async def suffer(self, mishap: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Let the operator have a mishap."""
        assert self.loop is not None
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(mishap(), self.loop))


async def cancel(begins: str) -> None:
    """Cancel tasks of the operator, as a defect of a library has done."""
    found = [task for task in asyncio.all_tasks() if task.get_name().startswith(begins)]
    assert found, begins
    for task in found:
        task.cancel()


async def be_busy() -> None:
    """Use up the turns of the operator's loop."""
    for _ in range(8):
        time.sleep(0.4)  # noqa: ASYNC251
        await asyncio.sleep(0)


MISHAPS = (
    partial(cancel, "watcher for warmpools"),
    be_busy,
    partial(cancel, "watch Deployment"),
    be_busy,
    partial(cancel, "multidimensional"),
    partial(cancel, "kopf"),
)


async def befall(operators: Operators) -> None:
    """Let one mishap after the other happen."""
    for mishap in itertools.cycle(MISHAPS):
        await asyncio.sleep(MISHAP_EVERY)
        await operators.suffer(mishap)


async def test_every_edit_is_acted_on_whatever_befalls_the_watches(
    make_namespace: MakeNamespace,
) -> None:
    operators = Operators()
    platform = make_namespace("edits", fate=operators)
    await install_platform(platform)
    names = [f"edited-{number}" for number in range(POOLS)]
    platform.apply(*(pool(name) for name in names))
    numbers = itertools.count()
    befalling = asyncio.create_task(befall(operators))
    try:
        longest = await asyncio.gather(
            come_and_go(platform),
            *(edit(platform, names[n::EDITORS], numbers) for n in range(EDITORS)),
        )
    finally:
        befalling.cancel()
        ended = await asyncio.gather(befalling, return_exceptions=True)
    log.info("%d edits; the longest waits in seconds: %s", next(numbers), longest)
    assert isinstance(ended[0], asyncio.CancelledError), ended
    assert max(longest) < ACTED_ON_WITHIN
