"""What people are told, and the outbox in the status."""

import json
from dataclasses import replace
from typing import Any

from rows import each

from kotatsu_operator.core.pool.decision import Decision, Demand, Observation
from kotatsu_operator.core.pool.memory import KnownOverride, Memory, Opening, Phase
from kotatsu_operator.core.pool.news import Note
from kotatsu_operator.core.protocol import REHEARSAL_ANNOTATION
from kotatsu_operator.core.report.verdict import Verdict, read_verdict
from kotatsu_operator.features.notices.notices import (
    MOST,
    Notice,
    news,
    notices_status,
    outbox,
    read_notices,
    ready_notes,
)
from tests.operator.core.values import MINUTE, SECOND, override, pool_spec, t

COLD = Note("WindowCold", "window pitch opened before all replicas were Ready", warning=True)
WARM = Memory(phase=Phase.WARM, since=t("08:00"), last_active=t("08:30"))
SEEN = Observation(replicas=2, ready=2, pods=2)


def walked(*looks: tuple[str, dict[str, Any]]) -> list[str]:
    """The events of several looks at one pool, each with what the previous one remembered.

    A look is a time, and `override`, `memory`, `seen` or `annotations` from then on.
    """
    status: dict[str, Any] = {}
    state: dict[str, Any] = {"override": None, "memory": WARM, "seen": SEEN, "annotations": {}}
    said = []
    for clock, change in looks:
        state |= change
        spec = pool_spec(override=state["override"])
        memory = state["memory"]
        if spec.override is not None and memory.override.key != spec.override.key:
            memory = replace(memory, override=KnownOverride(spec.override.key, t(clock)))
            state["memory"] = memory
        pool = {"metadata": {"annotations": state["annotations"]}, "status": status}
        found = news(pool, spec, state["seen"], memory, t(clock))
        said += [f"{clock} {note.reason}: {note.message}" for note in found.notes]
        end = spec.override and spec.override.until.isoformat()
        status = {"internal": {"reported": found.reported}, "overrideEndsAt": end}
        if spec.override is not None:
            known = {"key": spec.override.key, "reported": found.override}
            status["internal"]["override"] = known
    return said


def test_an_override_is_announced_once_before_its_end_and_once_at_its_end():
    evening = override("Warm", t("12:00"), by="ann")
    looks = [("09:00", {"override": evening, "memory": replace(WARM, last_active=t("11:30"))})]
    looks += [(clock, {}) for clock in ("11:49", "11:50", "11:55", "12:00", "12:01")]
    assert walked(*looks) == [
        "11:50 OverrideEnding: the Warm override by ann ends in 10m",
        "12:00 OverrideEnded: the Warm override by ann has ended; the pool follows its schedule",
    ]


def test_an_override_that_a_person_removes_has_ended():
    held = {"override": override("Warm", t("12:00"), by="ann")}
    assert walked(("09:00", held), ("09:30", {"override": None}), ("09:31", {})) == [
        "09:30 OverrideEnded: the Warm override was removed; the pool follows its schedule"
    ]


FIRST, SECOND_ONE = (override("Warm", t(end), by="ann") for end in ("10:00", "11:00"))
REHEARSAL = override("Warm", t("09:30"), reason="rehearsal")


@each(
    "why, looks",
    [
        ("a short one is not announced when it begins",
         [("08:55", {"override": override("Warm", t("09:00"))}), ("08:56", {})]),
        ("one that is replaced has not ended",
         [("09:00", {"override": FIRST}), ("09:30", {"override": SECOND_ONE}), ("10:30", {})]),
        ("one of a rehearsal is not told",
         [("08:00", {"override": REHEARSAL}), ("09:25", {}), ("09:26", {"override": None})]),
        ("one that had ended before it was seen is no news",
         [("09:30", {"override": override("Warm", t("09:00"))}), ("09:31", {})]),
    ],
)  # fmt: skip
def test_of_some_overrides_nothing_is_told(why, looks):
    assert walked(*looks) == [], why


def test_forgotten_pods_are_told_once_until_a_request_comes():
    looks: list[tuple[str, dict[str, Any]]] = [
        *((clock, {}) for clock in ("11:29", "11:30", "11:31")),
        ("12:00", {"memory": replace(WARM, last_active=t("12:00"))}),
        ("15:00", {}),
    ]
    assert walked(*looks) == [
        "11:30 ForgottenWarmth: 2 pods are Ready, and no request came for 3 hours",
        "15:00 ForgottenWarmth: 2 pods are Ready, and no request came for 3 hours",
    ]


@each(
    "change",
    [
        {"memory": replace(WARM, phase=Phase.ASLEEP)},
        {"memory": replace(WARM, phase=Phase.PARKED)},
        {"seen": replace(SEEN, ready=0)},
        {"seen": replace(SEEN, demand=Demand(known=False))},
        {"memory": replace(WARM, since=t("11:00"))},
    ],
)
def test_pods_are_not_forgotten_if_they_sleep_are_new_or_do_not_report(change):
    assert walked(("13:00", change)) == []


def test_the_verdict_of_a_rehearsal_is_told_once():
    failed = Verdict(t("08:55"), passed=False, window="pitch", failures=("2 failed", "p95"))
    passed = Verdict(t("09:55"), passed=True)
    first, second = ({"annotations": {REHEARSAL_ANNOTATION: v.written()}} for v in (failed, passed))
    assert walked(("09:00", first), ("09:01", {}), ("10:00", second), ("10:01", {})) == [
        "09:00 RehearsalFailed: rehearsal of pitch: the demo would have failed: 2 failed; p95",
        "10:00 RehearsalPassed: rehearsal: the demo would have succeeded",
    ]


LONG = {"at": "2026-11-25T09:00:00Z", "failures": ["x" * 9000]}


@each("written",
    ["", "no", "[" * 5000, "[]", *map(json.dumps, ({"passed": True}, {"at": 7}, LONG))],
)  # fmt: skip
def test_an_annotation_that_is_no_verdict_is_ignored(written):
    assert read_verdict(written) is None
    assert walked(("09:00", {"annotations": {REHEARSAL_ANNOTATION: written}})) == []


def test_a_verdict_has_few_and_short_failures():
    many = Verdict(t("09:00"), passed=False, failures=tuple("x" * 500 for _ in range(50)))
    read = read_verdict(many.written())
    assert [len(failure) for failure in read.failures] == [200] * 5


def test_a_window_that_is_ready_early_is_told_with_by_how_much():
    opening = Opening("pitch", t("10:00"), t("10:00") - 14 * SECOND, replicas=2)
    made = Decision(Memory(), None, t("11:00"), punctual=(opening,))
    (note,) = ready_notes(made)
    said = "window pitch: 2 replicas are Ready 14s early"
    assert (note.reason, note.message) == ("WindowReady", said)
    assert ready_notes(replace(made, punctual=())) == []


def test_a_notice_stays_in_the_status_until_it_is_delivered():
    waiting = outbox({}, [COLD, Note("Warming", "2 pods start")], (), "u1", t("10:00"))
    assert [n.reason for n in waiting] == ["WindowCold"]
    status = {"internal": {"notices": notices_status(waiting)}}
    assert read_notices(status) == waiting
    assert outbox(status, [], (), "u1", t("10:05")) == waiting
    assert outbox(status, [], {waiting[0].id}, "u1", t("10:05")) == []
    assert notices_status([]) is None


def test_each_notice_has_an_id_of_its_own_that_another_operator_finds():
    ids = {
        notice.id
        for uid, at in (("u1", t("10:00")), ("u2", t("10:00")), ("u1", t("10:00") + MINUTE))
        for notice in outbox({}, [COLD, replace(COLD, reason="WindowLate")], (), uid, at)
    }
    assert len(ids) == 6


def test_the_newest_notices_stay_when_there_are_too_many():
    status: dict[str, Any] = {}
    times = [t("10:00") + n * MINUTE for n in range(MOST + 5)]
    for at in times:
        waiting = outbox(status, [COLD], (), "u1", at)
        status = {"internal": {"notices": notices_status(waiting)}}
    assert [n.at for n in read_notices(status)] == times[5:]


def test_edited_notices_are_left_out():
    good = Notice("id", "WindowCold", "m", t("10:00"))
    edited = [
        *(notices_status([good]) or []),
        *({}, {"id": "x", "reason": "Unknown", "at": "2026-11-25T10:00:00Z"}, "text", None),
        {"id": 7, "reason": "WindowCold", "at": "2026-11-25T10:00:00Z"},
    ]
    assert read_notices({"internal": {"notices": edited}}) == [good]
    for nonsense in (None, "text", 5, {"a": 1}):
        assert read_notices({"internal": {"notices": nonsense}}) == []
