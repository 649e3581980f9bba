"""One repetition: begin something, break something, mend it, and judge what is left."""

import asyncio
import contextlib
import random
import time
from datetime import UTC, datetime, timedelta

from e2e.arena import LEDGER_INTERVAL, PATIENCE, Arena, Course
from e2e.faults import Fault
from e2e.kit import App, take_hits
from e2e.soak import Outcome
from e2e.stream import Stream

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


async def strike(arena: Arena, fault: Fault, chance: random.Random) -> Outcome:
    """Let a fault loose on the arena once."""
    arena.recovered = None
    streams = {
        app.name: Stream(app, clients=0 if app is arena.quiet else 3, pause=0.4, timeout=PATIENCE)
        for app in arena.apps
    }
    async with contextlib.AsyncExitStack() as running:
        for stream in streams.values():
            await running.enter_async_context(stream)
        courses = await arena.begin(streams, chance)
        await asyncio.sleep(chance.uniform(0, BEFORE))
        struck = datetime.now(UTC)
        transitions = sum(bool(course.unended()) for course in courses)
        async with fault.breaks(arena, chance):
            await asyncio.sleep(chance.uniform(*fault.lasts))
        began = time.monotonic()
        wrong = await converge(arena, courses, fault.within)
        converged = time.monotonic() - began
        with contextlib.suppress(AssertionError):
            await arena.witness.sees("nothing left", lambda: not arena.remains(), REMAINS)
    wrong += [arena.remains()] if arena.remains() else []
    forgiven, lost = judge(list(streams.values()), fault, struck, arena.recovered)
    wrong += [f"{stream.app.name}: {failure}" for stream, failure in lost[:5]]
    twice, unheard = await count(arena.apps, arena.recorder)
    wrong += [f"answered, but never acted on: {unheard}"] if unheard else []
    astray, books = audit(arena)
    return Outcome(
        transitions=transitions,
        requests=sum(stream.done + len(stream.failures) for stream in streams.values()),
        lost=len(lost),
        forgiven=forgiven,
        twice=twice,
        converged=round(converged, 2),
        astray=round(astray, 2),
        wrong=(*wrong, *books, *(["acted on twice"] if twice else [])),
    )


async def converge(arena: Arena, courses: list[Course], within: float) -> list[str]:
    """Wait until every pool is what its spec says; what is still wrong."""
    with contextlib.suppress(AssertionError):
        await arena.witness.sees("all well", lambda: not any(c.unended() for c in courses), within)
    return [f"{c.app.name} ({c.asked}): {c.unended()}" for c in courses if c.unended()]


def judge(
    streams: list[Stream], fault: Fault, struck: datetime, recovered: datetime | None
) -> tuple[int, list[tuple[Stream, object]]]:
    """Which failures went with what was killed (how many), and which are lost.

    Who tries to connect to a pod that is gone may do so for much longer than it takes another to
    come: the kernel repeats what nobody answers for two minutes.
    """
    lost: list[tuple[Stream, object]] = []
    forgiven = 0
    for stream in streams:
        for failure in stream.failures:
            end = (recovered or datetime.now(UTC)) + AFTERMATH
            met = failure.began if failure.steps[-1:] == UNCONNECTED else failure.ended
            if fault.kills and struck <= failure.ended and met <= end:
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


def audit(arena: Arena) -> tuple[float, list[str]]:
    """By how many pod seconds a ledger is off at most, and which are off by too much."""
    worst, wrong = 0.0, []
    for app in arena.apps:
        off, went = arena.audit(app)
        worst = max(worst, off, key=abs)
        if off > OVERCHARGE or off < -LEDGER_INTERVAL * went - OVERCHARGE:
            wrong.append(f"{app.name}: its ledger is off by {off:+.1f} pod seconds")
    return worst, wrong
