"""Notices: the events that receivers outside the cluster get, and the outbox in the status.

A notice is written to `internal.notices` together with the change that it reports, and removed when
each receiver has it. So an operator that takes over sends what its predecessor could not send, with
the same id.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from kotatsu_operator.core.formats import (
    choice,
    format_duration,
    instant,
    internal,
    stamp,
    table,
    text,
)
from kotatsu_operator.core.plan.activity import in_force, override_end
from kotatsu_operator.core.pool.decision import Decision, Observation
from kotatsu_operator.core.pool.memory import Memory, Opening, Phase
from kotatsu_operator.core.pool.news import Note
from kotatsu_operator.core.pool.spec import OverrideMode, PoolSpec
from kotatsu_operator.core.protocol import REHEARSAL_ANNOTATION, REHEARSAL_REASON
from kotatsu_operator.core.report.status import Status
from kotatsu_operator.core.report.verdict import read_verdict
from kotatsu_operator.core.schema import Schema, several

WINDOW_READY = "WindowReady"

NOTICE_REASONS = (
    WINDOW_READY,
    "WindowCold",
    "WindowLate",
    "OverrideEnding",
    "OverrideEnded",
    "BudgetNearLimit",
    "BudgetExhausted",
    "ForgottenWarmth",
    "RehearsalPassed",
    "RehearsalFailed",
)
"""The reasons of notices. All but WindowReady are also events."""

MOST = 16
"""Notices of one pool that wait at most; a newer one replaces the oldest."""

LONGEST = 1024
"""Characters of a message at most."""

UNUSED = timedelta(hours=3)
"""Pods that are Ready for this long without a request are forgotten, as in the alert."""

OVERRIDE_WARNING = timedelta(minutes=10)
"""How long before its end an override is announced."""

_NEWS = timedelta(days=1)
"""An older verdict of a rehearsal is not reported any more."""


@dataclass(frozen=True)
class Notice:
    """One event for people, until it is delivered."""

    id: str
    """Unique and stable: receivers can recognize a repetition."""
    reason: str
    message: str
    at: datetime
    warning: bool = False


_WAITING = several(Schema(Notice), MOST)


def read_notices(status: Mapping[str, Any]) -> list[Notice]:
    """The notices in a status that wait for delivery; invalid ones are left out."""
    return [
        replace(notice, id=notice.id[:LONGEST], message=notice.message[:LONGEST])
        for notice in _WAITING.read(internal(status).get("notices"))
        if notice.id and notice.reason in NOTICE_REASONS
    ]


def outbox(
    status: Mapping[str, Any],
    notes: Sequence[Note],
    delivered: Collection[str],
    uid: str,
    now: datetime,
) -> list[Notice]:
    """The notices that wait: those of the status that are not delivered, and the new ones."""
    waiting = [notice for notice in read_notices(status) if notice.id not in delivered]
    known: Counter[str] = Counter()
    for note in notes:
        if note.reason in NOTICE_REASONS:
            known[note.reason] += 1
            id_ = f"{uid}/{note.reason}/{stamp(now)}"
            if (number := known[note.reason]) > 1:
                id_ += f"/{number}"
            waiting.append(Notice(id_, note.reason, note.message[:LONGEST], now, note.warning))
    return waiting[-MOST:]


def notices_status(waiting: Sequence[Notice]) -> list[Status] | None:
    """The notices as the status has them; None for none."""
    return _WAITING.write(waiting) or None


def ready_notes(decision: Decision) -> list[Note]:
    """The notices of windows whose replicas are Ready before they open.

    It is no event: with a thousand windows it would be a thousand more calls of the API server, and
    the status has it.
    """
    return [
        Note(WINDOW_READY, _ready_text(opening, opening.early))
        for opening in decision.punctual
        if opening.early is not None
    ]


def _ready_text(opening: Opening, early: timedelta) -> str:
    pods = "1 replica is" if opening.replicas == 1 else f"{opening.replicas} replicas are"
    return f"window {opening.window}: {pods} Ready {format_duration(early)} early"


# --- events that no decision makes ---


class EndOf(StrEnum):
    """The latest event about the end of an override."""

    ENDING = "Ending"
    ENDED = "Ended"


@dataclass(frozen=True)
class Reported:
    """What events were already posted about; stored in the status."""

    unused: datetime | None = None
    """Since when pods are Ready without a request, if an event reported it."""
    rehearsal: datetime | None = None
    """Time of the latest rehearsal whose verdict was reported."""


_REPORTED = Schema(Reported)


@dataclass(frozen=True)
class News:
    """Events, and the parts of the status that remember them."""

    notes: tuple[Note, ...]
    override: EndOf | None
    """What was reported about the override in the spec."""
    reported: Status | None


def news(
    pool: Mapping[str, Any],
    spec: PoolSpec,
    seen: Observation,
    memory: Memory,
    now: datetime,
) -> News:
    """What is new about overrides, forgotten pods and rehearsals since the status was written."""
    status = table(pool.get("status"))
    said, end = _about_override(status, spec, memory, now)
    before = Reported(**_REPORTED.values(internal(status).get("reported")))
    unused, forgotten = _about_unused(before.unused, spec, seen, memory, now)
    annotations = table(pool["metadata"].get("annotations"))
    rehearsal, verdict = _about_rehearsal(before.rehearsal, annotations, now)
    after = Reported(unused, rehearsal)
    return News(
        (*said, *forgotten, *verdict),
        end,
        None if after == Reported() else _REPORTED.write(after),
    )


def _about_override(
    status: Mapping[str, Any], spec: PoolSpec, memory: Memory, now: datetime
) -> tuple[list[Note], EndOf | None]:
    before, override = table(internal(status).get("override")), spec.override
    known, ended_at = text(before.get("key")), instant(status.get("overrideEndsAt"))
    reported = choice(EndOf, before.get("reported"), None)
    if override is None:
        is_early = ended_at is not None and now < ended_at and reported is not EndOf.ENDED
        if not known or not is_early:
            return [], None
        mode = known.partition("/")[0]
        text_ = f"the {mode} override was removed; the pool follows its schedule"
        return [Note("OverrideEnded", text_)], None
    if known != memory.override.key:
        reported = None
    if override.reason == REHEARSAL_REASON:
        return [], EndOf.ENDED  # nothing is to be said of its end
    end = override_end(override, memory)
    by = f" by {override.by}" if override.by else ""
    what = f"the {override.mode.value} override{by}"
    if in_force(override, memory, now) is None:
        # The first sight of an override that had ended before is no news.
        if reported is EndOf.ENDED or known != memory.override.key:
            return [], EndOf.ENDED
        text_ = f"{what} has ended; the pool follows its schedule"
        return [Note("OverrideEnded", text_)], EndOf.ENDED
    lasts = end - (memory.override.seen_at or now)
    is_near = end - now <= OVERRIDE_WARNING < lasts
    if override.mode is OverrideMode.WARM and is_near and reported is None:
        left = format_duration(end - now)
        return [Note("OverrideEnding", f"{what} ends in {left}")], EndOf.ENDING
    return [], reported


def _about_unused(
    reported: datetime | None, spec: PoolSpec, seen: Observation, memory: Memory, now: datetime
) -> tuple[datetime | None, list[Note]]:
    active = memory.last_active
    is_known = seen.demand.known and (active is not None or not spec.target.scales_itself)
    # Parked pods are kept on purpose, for as long as the spec says.
    is_kept = memory.phase is Phase.PARKED
    if memory.phase.is_asleep or is_kept or memory.since is None or not seen.ready or not is_known:
        return None, []
    since = memory.since if active is None else max(active, memory.since)
    if now - since < UNUSED:
        return None, []
    if reported == since:
        return since, []
    pods = "1 pod is" if seen.ready == 1 else f"{seen.ready} pods are"
    text_ = f"{pods} Ready, and no request came for {UNUSED // timedelta(hours=1)} hours"
    return since, [Note("ForgottenWarmth", text_, warning=True)]


def _about_rehearsal(
    reported: datetime | None, annotations: Mapping[str, Any], now: datetime
) -> tuple[datetime | None, list[Note]]:
    verdict = read_verdict(text(annotations.get(REHEARSAL_ANNOTATION)))
    if verdict is None or verdict.at == reported or not -_NEWS < verdict.at - now < _NEWS:
        return reported, []
    what = f"rehearsal of {verdict.window}" if verdict.window else "rehearsal"
    if verdict.passed:
        return verdict.at, [Note("RehearsalPassed", f"{what}: the demo would have succeeded")]
    why = "; ".join(verdict.failures) or "no reason is recorded"
    text_ = f"{what}: the demo would have failed: {why}"[:LONGEST]
    return verdict.at, [Note("RehearsalFailed", text_, warning=True)]
