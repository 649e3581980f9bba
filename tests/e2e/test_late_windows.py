"""A hundred windows whose pods wait for nodes that join late: Ready before they open?

Many pools side by side on one control plane, with nodes that kwok pretends. A node takes one pod of
one pool, and is removed when its pod is gone: each window waits for a node of its own. The assumed
first start is a second, so nothing but what is learned, or capacity ahead, can cover that time.

`make test-all` does it for ten windows and nodes that join 25 s late; `make soak` for a hundred
windows and 90 s.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import Object, parse, wall
from e2e.late_world import CAPACITY, CLOUD, PLACEHOLDERS, World, late_world
from e2e.soak import Outcome, Soak
from lightkube.types import PatchType

from kotatsu_operator.core.formats import parse_duration
from kotatsu_operator.kube.objects import Pod, WarmPool

pytestmark = [pytest.mark.e2e, pytest.mark.nightly, pytest.mark.timeout(3600)]

log = logging.getLogger(__name__)

NOTICE = timedelta(seconds=5)
"""From when a window is asked for until its pods, or what asks for their nodes, have to start."""

LOOK_EVERY = 0.5
"""Seconds between two looks at all pools."""

PATIENCE = 240.0
"""Seconds beyond the delay of a node for one step of a pool, on a machine that does much else."""


@dataclass(frozen=True)
class Opening:
    """What came of one window."""

    pool: str
    number: int
    """Of the pool's windows, from 0."""
    early: float
    """Seconds between the operator's `readyAt` and the opening; below 0 it was late."""
    pod_ready: bool
    """Whether at the opening the API server showed a Ready pod."""
    lead: float

    @property
    def in_time(self) -> bool:
        return self.early > 0 and self.pod_ready


@dataclass
class Windows:
    """The pools of one world, and what came of their windows."""

    world: World
    ahead: timedelta | None
    """spec.capacityAhead; with it the lead is fixed, and shorter than a node's delay."""
    openings: list[Opening] = field(default_factory=list)
    statuses: dict[str, Object] = field(default_factory=dict)
    _looked: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def run(self, pools: int, each: int) -> None:
        """Open so many windows of each pool, one after the other."""
        names = [f"web-{n}" for n in range(pools)]
        prewarm = {}
        if self.ahead is not None:
            prewarm = {"lead": "20s", "capacityAhead": f"{self.ahead.total_seconds():g}s"}
        for name in names:
            spec = {**prewarm, "idleAfter": "5s"}
            await self.world.add(name, selects={"for": name}, **spec)
        looking = asyncio.create_task(self._look())
        try:
            await asyncio.gather(*(self._pool(name, each) for name in names))
        finally:
            looking.cancel()

    async def _look(self) -> None:
        while True:
            found = self.world.client.list(WarmPool, namespace=self.world.kubectl.namespace)
            self.statuses = {p["metadata"]["name"]: p.get("status") or {} async for p in found}
            async with self._looked:
                self._looked.notify_all()
            await asyncio.sleep(LOOK_EVERY)

    async def _until(self, what: str, holds: Callable[[], bool], within: float) -> None:
        async with self._looked:
            try:
                await asyncio.wait_for(self._looked.wait_for(holds), within)
            except TimeoutError:
                raise AssertionError(f"not within {within:.0f} s: {what}") from None

    async def _pool(self, name: str, each: int) -> None:
        patience = self.world.nodes.delay + PATIENCE

        def status() -> Object:
            return self.statuses.get(name, {})

        def is_asleep() -> bool:
            has_node = {"for": name} in self.world.nodes.present.values()
            return status().get("phase") == "Asleep" and not has_node

        for number in range(each):
            await self._until(f"{name} asleep, and its node gone", is_asleep, patience)
            lead = parse_duration(status()["lead"])
            begins = lead + (self.ahead or timedelta()) + NOTICE
            opens = datetime.now(UTC).replace(microsecond=0) + begins
            end = wall(opens + timedelta(hours=1))
            window = {"name": f"demo-{number}", "start": wall(opens), "end": end, "replicas": 1}
            await self._windows(name, [window])
            await asyncio.sleep((opens - datetime.now(UTC)).total_seconds())
            pod_ready = await self._has_ready_pod(name, opens)

            def opened(at: datetime = opens) -> bool:
                found = status().get("lastOpening") or {}
                return bool(found.get("early")) and parse(found["at"]) == at

            await self._until(f"{name} was Ready for its window {number}", opened, patience)
            early = (opens - parse(status()["internal"]["opening"]["readyAt"])).total_seconds()
            self.openings.append(Opening(name, number, early, pod_ready, lead.total_seconds()))
            await self._windows(name, [])

    async def _windows(self, name: str, windows: list[Object]) -> None:
        await self.world.client.patch(
            WarmPool,
            name,
            {"spec": {"windows": windows}},
            namespace=self.world.kubectl.namespace,
            patch_type=PatchType.MERGE,
        )

    async def _has_ready_pod(self, name: str, opens: datetime) -> bool:
        pods = self.world.client.list(
            Pod, namespace=self.world.kubectl.namespace, labels={"app": name}
        )
        return any([_was_ready(pod, opens) async for pod in pods])


def _was_ready(pod: Any, at: datetime) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(
        c["type"] == "Ready" and c["status"] == "True" and parse(c["lastTransitionTime"]) < at
        for c in conditions
    )


LATE, AHEAD = "windows whose nodes join late", "the same, with capacity ahead"
"""Their names in the table of `make soak`."""


@pytest.fixture
def size(soak: Soak) -> tuple[float, int, int]:
    """Seconds until a node joins, pools, and windows of each pool that have to be Ready."""
    return (CLOUD, 50, 2) if soak.is_long else (25.0, 10, 1)


async def test_from_the_second_window_on_all_are_ready_though_their_nodes_join_late(
    size: tuple[float, int, int], soak: Soak, tmp_path: Path
) -> None:
    delay, pools, each = size
    for _ in soak.chances(LATE, 1):
        async with late_world(tmp_path, delay, first_start="1s") as world:
            windows = Windows(world, ahead=None)
            await windows.run(pools, each + 1)
        found = windows.openings
        judge(soak, LATE, windows, [opening for opening in found if opening.number > 0])
        first = [opening for opening in found if opening.number == 0]
        assert not any(o.in_time for o in first), "the margins alone cover the delay of a node"


async def test_with_capacity_ahead_all_are_ready_from_the_first_window_on(
    size: tuple[float, int, int], soak: Soak, tmp_path: Path
) -> None:
    delay, pools, each = size
    for _ in soak.chances(AHEAD, 1):
        async with late_world(
            tmp_path, delay, *CAPACITY, **PLACEHOLDERS, first_start="1s"
        ) as world:
            windows = Windows(world, ahead=timedelta(seconds=delay + 30))
            await windows.run(pools, each)
        judge(soak, AHEAD, windows, windows.openings)


def judge(soak: Soak, row: str, windows: Windows, openings: list[Opening]) -> None:
    """All these windows were in time, and every window has waited for a node of its own."""
    late = [opening for opening in openings if not opening.in_time]
    early = sorted(opening.early for opening in openings)
    median = early[len(early) // 2]
    log.info(
        "%d windows, %d late; early by %.1f s, median %.1f s",
        len(early),
        len(late),
        early[0],
        median,
    )
    soak.add(row, Outcome(transitions=len(openings), wrong=tuple(map(str, late))))
    lost = windows.world.operator_log.read_text().count("no longer the leader")
    assert not late, f"{len(late)} late; {lost} times this machine was too busy for the Lease"
    assert len(windows.world.nodes.nodes) == len(windows.openings)
