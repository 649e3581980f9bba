"""A repetition: begin something, cause a fault, undo it, and check the result."""

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from e2e.fault_pools import LEDGER_INTERVAL, PATIENCE, Course, FaultPools
from e2e.kit import App, take_hits
from e2e.soak import Outcome
from e2e.stream import Stream
from e2e.transition_faults import Fault

BEFORE = 6.0
"""Seconds after its beginning within which a transition is struck; most take somewhat longer."""

AFTERMATH = timedelta(seconds=3)
"""How long kube-proxy and clients may take to notice that what was killed is back."""

REMAINS = 60.0
"""Seconds after which nothing may be left of what has gone."""

UNCONNECTED = ("connection.connect_tcp.failed",)
"""The last step of a request that never got a connection."""

OVERCHARGE = 3.0
"""Pod seconds that a ledger may be above the truth: a pod's start is told by the second."""


@dataclass
class Scene:
    """The pools of one namespace in one repetition."""

    fault_pools: FaultPools
    streams: dict[str, Stream] = field(init=False)
    courses: list[Course] = field(init=False)
    transitions: int = 0
    converged: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fault_pools.recovered = None
        self.streams = {
            app.name: Stream(
                app, clients=0 if app is self.fault_pools.quiet else 3, pause=0.4, timeout=PATIENCE
            )
            for app in self.fault_pools.apps
        }

    async def begin(self, after: float, moment: float, chance: random.Random) -> None:
        """Begin the transitions after so many seconds, and return at that moment of them."""
        await asyncio.sleep(after)
        self.courses = await self.fault_pools.begin(self.streams, chance)
        await asyncio.sleep(moment)

    async def settle(self, within: float) -> None:
        """Wait until all is well and nothing is left of what has gone."""
        began = time.monotonic()
        self.wrong = await converge(self.fault_pools, self.courses, within)
        self.converged = time.monotonic() - began
        if (code := self.fault_pools.operator.returncode) is not None:
            self.wrong.append(f"the operator has ended by itself, with {code}")
            await self.fault_pools.operate()
        with contextlib.suppress(AssertionError):
            await self.fault_pools.watcher.sees(
                "nothing left", lambda: not self.fault_pools.remains(), REMAINS
            )
        self.wrong += [self.fault_pools.remains()] if self.fault_pools.remains() else []

    async def outcome(self, struck: datetime, *, kills: bool, hangs: bool) -> Outcome:
        """What has come of it, once the streams have ended."""
        streams = list(self.streams.values())
        forgiven, lost = judge(
            streams, struck, self.fault_pools.recovered, kills=kills, hangs=hangs
        )
        wrong = [*self.wrong, *(f"{stream.app.name}: {failure}" for stream, failure in lost[:5])]
        twice, unheard = await count(self.fault_pools.apps, self.fault_pools.recorder)
        wrong += [f"answered, but never acted on: {unheard}"] if unheard else []
        astray, books = audit(self.fault_pools)
        return Outcome(
            transitions=self.transitions,
            requests=sum(stream.done + len(stream.failures) for stream in streams),
            lost=len(lost),
            forgiven=forgiven,
            twice=twice,
            converged=round(self.converged, 2),
            astray=round(astray, 2),
            wrong=(*wrong, *books, *(["acted on twice"] if twice else [])),
        )


async def repeat_fault(
    all_fault_pools: Sequence[FaultPools], fault: Fault, chance: random.Random
) -> list[Outcome]:
    """Cause a fault once in each namespace; returns the outcomes.

    What the whole node feels breaks once for all of them, anything else in each by itself.
    """
    groups = (
        [list(all_fault_pools)]
        if fault.alone
        else [[fault_pools] for fault_pools in all_fault_pools]
    )
    chances = [random.Random(chance.random()) for _ in groups]
    found = await asyncio.gather(
        *(_repeat_fault(group, fault, own) for group, own in zip(groups, chances, strict=True))
    )
    return [outcome for outcomes in found for outcome in outcomes]


async def _repeat_fault(
    all_fault_pools: list[FaultPools], fault: Fault, chance: random.Random
) -> list[Outcome]:
    scenes = [Scene(fault_pools) for fault_pools in all_fault_pools]
    # One blow finds each in the middle of its transition: they begin at different times for it.
    moments = [chance.uniform(0, BEFORE) for _ in scenes]
    async with contextlib.AsyncExitStack() as running:
        for scene in scenes:
            for stream in scene.streams.values():
                await running.enter_async_context(stream)
        await asyncio.gather(
            *(
                scene.begin(max(moments) - moment, moment, chance)
                for scene, moment in zip(scenes, moments, strict=True)
            )
        )
        struck = datetime.now(UTC)
        for scene in scenes:
            scene.transitions = sum(bool(course.unended()) for course in scene.courses)
        async with fault.breaks(all_fault_pools[0], chance):
            await asyncio.sleep(chance.uniform(*fault.lasts))
        await asyncio.gather(*(scene.settle(fault.within) for scene in scenes))
    # What is killed is the first one's: nothing of the others may go with it.
    return [
        await scene.outcome(struck, kills=fault.kills and scene is scenes[0], hangs=fault.hangs)
        for scene in scenes
    ]


async def converge(fault_pools: FaultPools, courses: list[Course], within: float) -> list[str]:
    """Wait until every pool is what its spec says; what is still wrong."""
    with contextlib.suppress(AssertionError):
        await fault_pools.watcher.sees(
            "all well", lambda: not any(c.unended() for c in courses), within
        )
    return [f"{c.app.name} ({c.asked}): {c.unended()}" for c in courses if c.unended()]


def judge(
    streams: list[Stream],
    struck: datetime,
    recovered: datetime | None,
    *,
    kills: bool,
    hangs: bool = False,
) -> tuple[int, list[tuple[Stream, object]]]:
    """Which failures went with what was killed (how many), and which are lost.

    Who tries to connect to a pod that is gone may do so for much longer than it takes another to
    come: the kernel repeats what nobody answers for two minutes. So may a request that what hangs
    has got.
    """
    lost: list[tuple[Stream, object]] = []
    forgiven = 0
    for stream in streams:
        for failure in stream.failures:
            end = (recovered or datetime.now(UTC)) + AFTERMATH
            unconnected = failure.steps[-1:] == UNCONNECTED
            met = failure.began if hangs or unconnected else failure.ended
            if kills and struck <= failure.ended and met <= end:
                forgiven += 1
            else:
                lost.append((stream, failure))
    return forgiven, lost


async def count(apps: list[App], recorder: str) -> tuple[int, int]:
    """How many requests were acted on twice, and how many that were answered never."""
    twice = unheard = 0
    for app in apps:
        counted = await take_hits(app.sent, recorder)
        twice += sum(counted.get(name, 0) > 1 for name in app.sent)
        unheard += sum(not counted.get(name) for name in app.sent if name not in app.unanswered)
        app.sent.clear()
        app.unanswered.clear()
    return twice, unheard


def audit(fault_pools: FaultPools) -> tuple[float, list[str]]:
    """By how many pod seconds a ledger is off at most, and which are off by too much."""
    worst, wrong = 0.0, []
    for app in fault_pools.apps:
        off, went = fault_pools.audit(app)
        worst = max(worst, off, key=abs)
        if off > OVERCHARGE or off < -LEDGER_INTERVAL * went - OVERCHARGE:
            wrong.append(f"{app.name}: its ledger is off by {off:+.1f} pod seconds")
    return worst, wrong
