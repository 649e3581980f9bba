"""Notices: the events that people outside the cluster are told, and the outbox in the status.

A notice is written to `status.notices` together with the change that it reports, and removed when
each receiver has it. So an operator that takes over sends what its predecessor could not send, with
the same id.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kotatsu_operator.core.formats import format_duration, instant, stamp, table, tables, text
from kotatsu_operator.core.plan.activity import in_force, override_end
from kotatsu_operator.core.pool.decision import Decision, Note, Observation
from kotatsu_operator.core.pool.memory import Memory, Outcome
from kotatsu_operator.core.pool.spec import OverrideMode, PoolSpec
from kotatsu_operator.core.protocol import REHEARSAL_ANNOTATION, REHEARSAL_REASON
from kotatsu_operator.core.report.status import Status

WINDOW_READY = "WindowReady"

TOLD = (
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
"""How long before its end an override is announced, unless a setting says otherwise."""

_NEWS = timedelta(days=1)
"""An older verdict of a rehearsal is not told any more."""

_LONGEST_VERDICT = 8 * 1024


@dataclass(frozen=True)
class Notice:
    """One event for people, until it is delivered."""

    id: str
    """Unique and stable: receivers can recognize a repetition."""
    reason: str
    message: str
    at: datetime
    warning: bool = False


def read_notices(status: Mapping[str, Any]) -> list[Notice]:
    """The notices in a status that wait for delivery; invalid ones are left out."""
    found = []
    for written in list(tables(status.get("notices")))[-MOST:]:
        at, id_ = instant(written.get("at")), text(written.get("id"))
        reason = text(written.get("reason"))
        if at is not None and id_ and reason in TOLD:
            message = text(written.get("message"))[:LONGEST]
            found.append(Notice(id_[:LONGEST], reason, message, at, bool(written.get("warning"))))
    return found


def outbox(
    status: Mapping[str, Any],
    notes: Sequence[Note],
    delivered: Collection[str],
    uid: str,
    now: datetime,
) -> list[Notice]:
    """The notices that wait: those of the status that are not delivered, and the new ones."""
    waiting = [notice for notice in read_notices(status) if notice.id not in delivered]
    for note in notes:
        if note.reason in TOLD:
            id_ = f"{uid}/{note.reason}/{stamp(now)}"
            waiting.append(Notice(id_, note.reason, note.message[:LONGEST], now, note.warning))
    return waiting[-MOST:]


def notices_status(waiting: Sequence[Notice]) -> list[Status] | None:
    """The notices as the status has them; None for none."""
    return [
        {
            "id": n.id,
            "reason": n.reason,
            "message": n.message,
            "warning": n.warning,
            "at": stamp(n.at),
        }
        for n in waiting
    ] or None


def ready_notes(decision: Decision) -> list[Note]:
    """The notice of a window whose replicas are Ready before it opens.

    It is no event: with a thousand windows it would be a thousand more calls of the API server, and
    the status has it.
    """
    opening = decision.memory.opening
    if Outcome.READY not in decision.outcomes or opening is None or opening.early is None:
        return []
    pods = "1 replica is" if opening.replicas == 1 else f"{opening.replicas} replicas are"
    early = format_duration(opening.early)
    return [Note(WINDOW_READY, f"window {opening.window}: {pods} Ready {early} early")]


# --- events that no decision makes ---


@dataclass(frozen=True)
class News:
    """Events, and the parts of the status that remember them."""

    notes: tuple[Note, ...]
    override_told: str | None
    """What was told about the override in the spec: Ending, Ended or nothing."""
    told: Status | None


def news(
    pool: Mapping[str, Any],
    spec: PoolSpec,
    seen: Observation,
    memory: Memory,
    now: datetime,
    warning: timedelta = OVERRIDE_WARNING,
) -> News:
    """What is new about overrides, forgotten pods and rehearsals since the status was written.

    `warning` is how long before its end an override is announced.
    """
    status = table(pool.get("status"))
    said, told = _about_override(status, spec, memory, now, warning)
    before = table(status.get("told"))
    unused, forgotten = _about_unused(text(before.get("unused")), spec, seen, memory, now)
    known = text(before.get("rehearsal"))
    rehearsal, verdict = _about_rehearsal(known, table(pool["metadata"].get("annotations")), now)
    after = {"unused": unused or None, "rehearsal": rehearsal or None}
    return News((*said, *forgotten, *verdict), told or None, after if unused or rehearsal else None)


def _about_override(
    status: Mapping[str, Any], spec: PoolSpec, memory: Memory, now: datetime, warning: timedelta
) -> tuple[list[Note], str]:
    before, override = table(status.get("override")), spec.override
    known, ended_at = text(before.get("key")), instant(before.get("endsAt"))
    told = text(before.get("told"))
    if override is None:
        is_early = bool(known) and ended_at is not None and now < ended_at and told != "Ended"
        if not is_early or known.endswith(f"/{REHEARSAL_REASON}"):
            return [], ""
        mode = known.partition("/")[0]
        text_ = f"the {mode} override was removed; the pool follows its schedule"
        return [Note("OverrideEnded", text_)], ""
    if known != memory.override_key:
        told = ""
    if override.reason == REHEARSAL_REASON:
        return [], told
    end = override_end(override, memory)
    by = f" by {override.by}" if override.by else ""
    what = f"the {override.mode.value} override{by}"
    if in_force(override, memory, now) is None:
        # The first sight of an override that had ended before is no news.
        if told == "Ended" or known != memory.override_key:
            return [], "Ended"
        return [Note("OverrideEnded", f"{what} has ended; the pool follows its schedule")], "Ended"
    lasts = end - (memory.override_seen or now)
    is_near = end - now <= warning < lasts
    if override.mode is OverrideMode.WARM and is_near and not told:
        left = format_duration(end - now)
        return [Note("OverrideEnding", f"{what} ends in {left}")], "Ending"
    return [], told


def _about_unused(
    told: str, spec: PoolSpec, seen: Observation, memory: Memory, now: datetime
) -> tuple[str, list[Note]]:
    active = memory.last_active
    is_known = seen.demand.known and (active is not None or not spec.target.scales_itself)
    if memory.phase.is_asleep or memory.since is None or not seen.ready or not is_known:
        return "", []
    since = memory.since if active is None else max(active, memory.since)
    if now - since < UNUSED:
        return "", []
    mark = str(stamp(since))
    if told == mark:
        return told, []
    pods = "1 pod is" if seen.ready == 1 else f"{seen.ready} pods are"
    hours = UNUSED // timedelta(hours=1)
    return mark, [
        Note(
            "ForgottenWarmth", f"{pods} Ready, and no request came for {hours} hours", warning=True
        )
    ]


def _about_rehearsal(
    told: str, annotations: Mapping[str, Any], now: datetime
) -> tuple[str, list[Note]]:
    verdict = read_verdict(text(annotations.get(REHEARSAL_ANNOTATION)))
    if verdict is None:
        return told, []
    mark = str(stamp(verdict.at))
    if told == mark or not -_NEWS < verdict.at - now < _NEWS:
        return told, []
    what = f"rehearsal of {verdict.window}" if verdict.window else "rehearsal"
    if verdict.passed:
        return mark, [Note("RehearsalPassed", f"{what}: the demo would have succeeded")]
    why = "; ".join(verdict.failures) or "no reason is recorded"
    text_ = f"{what}: the demo would have failed: {why}"[:LONGEST]
    return mark, [Note("RehearsalFailed", text_, warning=True)]


@dataclass(frozen=True)
class Verdict:
    """The result of a rehearsal, as `kubectl demo-mode rehearse` annotates the pool with it."""

    at: datetime
    passed: bool
    window: str = ""
    failures: tuple[str, ...] = ()

    def written(self) -> str:
        """The annotation's value."""
        return json.dumps(
            {
                "at": stamp(self.at),
                "passed": self.passed,
                "window": self.window,
                "failures": list(_short(self.failures)),
            },
            ensure_ascii=False,
        )


def read_verdict(written: str) -> Verdict | None:
    """Read the annotation; None for anything else."""
    if not written or len(written) > _LONGEST_VERDICT:
        return None
    try:
        raw = table(json.loads(written))
    except (ValueError, RecursionError):
        return None
    at = instant(raw.get("at"))
    if at is None:
        return None
    given = raw.get("failures")
    failures = tuple(_short(given if isinstance(given, list) else ()))
    return Verdict(at, raw.get("passed") is True, text(raw.get("window"))[:63], failures)


def _short(failures: Sequence[Any]) -> Iterator[str]:
    return (text(failure)[:200] for failure in failures[:5])
