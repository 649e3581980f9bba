"""Punctuality: when the replicas of each opening were Ready, and the events about it."""

from collections import deque
from dataclasses import replace
from datetime import datetime

from kotatsu_operator.core.plan.plan import Plan
from kotatsu_operator.core.pool.decision import Note, Observation
from kotatsu_operator.core.pool.memory import Memory, Opening, Outcome, changed


def remember_opening(
    plan: Plan, seen: Observation, memory: Memory, now: datetime, *, excused: bool
) -> tuple[Memory, tuple[Note, ...], tuple[Outcome, ...]]:
    """Record when the floor of an opening was Ready; a late one gets an event.

    One opening is tracked at a time: the newest open one, then each one that the pool pre-warms
    for. These count as punctual: a window that was open when the operator could first act on the
    pool, and an edit that requested a window too late to pre-warm for it.
    """
    opening = memory.opening
    notes: list[Note] = []
    outcomes: list[Outcome] = []
    followed = [o for o in plan.current if o.start <= now][-1:]
    followed += [o for o in plan.current if o.start > now]
    if opening is not None and opening.at > now and opening.at not in {o.start for o in followed}:
        # The tracked window was edited before it opened: the recorded result of an open one stays.
        opening = replace(opening, at=now)
    asked, coming = 0, deque(plan.current)
    for o in followed:
        while coming and coming[0].start <= o.start:
            asked = max(asked, coming.popleft().replicas)
        floor = seen.within(asked)
        known = opening.replicas if opening is not None and opening.at == o.start else 0
        if opening is None or o.start > opening.at:
            opening = Opening(o.window, o.start)
        elif o.start < opening.at:
            continue  # a newer window has opened since; this one does not open again
        if opening.ready_at is None:
            is_sudden = seen.edited and floor > known and now > plan.starts_at(o)
            opening = replace(
                opening, replicas=floor, excused=opening.excused or (is_sudden and not opening.cold)
            )
        opening, note, outcome = _judge(opening, floor, seen, now, excused=excused)
        notes += [note] if note else []
        outcomes += [outcome] if outcome else []
        if opening.ready_at is None:
            break
    tally = memory.windows
    for outcome in outcomes:
        tally = tally.plus(outcome)
    return changed(memory, opening=opening, windows=tally), tuple(notes), tuple(outcomes)


def _judge(
    opening: Opening, floor: int, seen: Observation, now: datetime, *, excused: bool
) -> tuple[Opening, Note | None, Outcome | None]:
    if opening.ready_at is not None:
        return opening, None, None
    if (excused or opening.excused) and not opening.cold and now >= opening.at:
        return replace(opening, ready_at=opening.at), None, None
    if seen.ready >= floor:
        late = (now - opening.at).total_seconds()
        if late <= 0:
            return replace(opening, ready_at=now), None, Outcome.READY
        note = Note(
            "WindowLate", f"window {opening.window} was Ready {late:.0f} s late", warning=True
        )
        return replace(opening, ready_at=now), note, Outcome.LATE
    if now >= opening.at and not opening.cold:
        text = f"window {opening.window} opened before all replicas were Ready"
        note = Note("WindowCold", text, warning=True)
        return replace(opening, cold=True), note, Outcome.COLD
    return opening, None, None
