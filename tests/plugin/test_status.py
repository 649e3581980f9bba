"""kubectl demo-mode status: one row a pool, from what its spec and status say."""

import io
from datetime import timedelta
from typing import Any

from plugin.kit import EVENINGS, NOW, PITCH, pool

from kotatsu_demo_mode.status import rows_of
from kotatsu_demo_mode.terminal import Terminal, table_lines

WARM: dict[str, Any] = {"phase": "Warm", "readyReplicas": 5, "desiredReplicas": 5}


def row(status: dict[str, Any], **spec: Any) -> dict[str, str]:
    head, only = rows_of([pool(status=status, priced=bool(status), **spec)], NOW)
    return dict(zip(head, only, strict=True))


def test_an_override_says_who_why_and_until_when():
    override = {"mode": "Warm", "until": "2026-11-24T23:00:00Z", "by": "ann", "reason": "pitch"}
    found = row(WARM | {"reason": "Override"}, override=override)
    assert (found["PHASE"], found["READY"]) == ("Warm", "5/5")
    assert (found["WHY"], found["UNTIL"]) == ("Warm by ann: pitch", "08:00")


def test_the_end_is_the_operators_when_the_override_reaches_over_a_day():
    override = {"mode": "Warm", "until": "2026-11-30T00:00:00Z"}
    key = pool(override=override).spec.override
    assert key is not None
    seen = {"key": key.key, "seenAt": (NOW - timedelta(hours=23)).isoformat()}
    assert row(WARM | {"internal": {"override": seen}}, override=override)["UNTIL"] == "07:00"


def test_an_open_window_says_until_when():
    window = PITCH | {"start": "2026-11-25T05:00"}
    status = WARM | {"reason": "Window", "activeWindow": "final-pitch"}
    found = row(status, windows=[window])
    assert (found["WHY"], found["UNTIL"]) == ("window final-pitch", "12:00")


def test_an_override_that_has_ended_counts_no_more():
    override = {"mode": "Warm", "until": "2026-11-24T20:00:00Z"}
    found = row({"phase": "Asleep", "reason": "Idle"}, override=override)
    assert (found["WHY"], found["UNTIL"]) == ("Idle", "-")


def test_what_comes_next_and_what_was_spent_of_the_budget():
    coming = {"at": "2026-11-25T09:00:00Z", "window": "rehearsal", "kind": "open"}
    status = {
        "phase": "Asleep",
        "reason": "Idle",
        "nextTransition": coming,
        "cost": {"currency": "JPY", "accrued": "125.5"},
    }
    found = row(status, windows=[EVENINGS], budget={"limit": "500", "period": "Week"})
    assert found["NEXT"] == "rehearsal open 18:00 (in 12h)"
    assert (found["SPENT"], found["BUDGET"]) == ("125.50 JPY", "25% of 500.00 a week")


def test_a_pool_that_no_operator_has_seen_has_nothing_to_say():
    assert set(row({}).values()) == {"voice", "0/0", "-"}


def test_a_pool_that_was_never_accepted_says_so_and_why():
    accepted = {"type": "Accepted", "status": "False", "reason": "Isolated", "message": "no"}
    found = row({"conditions": [accepted], "reason": "Isolated"})
    assert (found["PHASE"], found["WHY"]) == ("Refused", "Isolated")


def shown(*, color: bool, live: bool, width: int = 60) -> str:
    paper = io.StringIO()
    rows = [["POOL", "PHASE", "WHY"], ["voice", "Warm", "x" * 80]]
    return "\n".join(table_lines(Terminal(paper, paper, live, width, color), rows, 1))


def test_a_phase_has_its_color_on_a_terminal_and_none_in_a_pipe():
    assert "\x1b[32mWarm\x1b[0m" not in shown(color=False, live=False)
    assert "\x1b" not in shown(color=False, live=False)
    assert "\x1b[32m" in shown(color=True, live=True)


def test_lines_are_cut_to_the_terminal_but_whole_in_a_pipe():
    assert max(len(line) for line in shown(color=False, live=True).splitlines()) == 60
    assert "x" * 80 in shown(color=False, live=False)


def test_pods_that_find_no_node_are_named_with_the_reason():
    condition = {"type": "Ready", "status": "False", "reason": "NoNode"}
    status = {"phase": "Warming", "reason": "Request", "conditions": [condition]}
    assert row(status)["WHY"] == "Request, no node"


def test_the_wide_table_has_the_last_warm_up_and_its_parts():
    status = WARM | {"internal": {"warmUps": [[109, 5, 0, 91, 1, 12, 5]]}}
    head, only = rows_of([pool(status=status)], NOW, is_wide=True)
    found = dict(zip(head, only, strict=True))
    assert found["WARM-UP"] == "109 s (node 91, volumes and network 1, image 12, start 5)"


def test_a_parked_pool_says_until_when_and_what_an_hour_costs():
    cost = {"currency": "JPY", "accrued": "1", "ratePerHour": "0.25125"}
    status = {
        "phase": "Parked",
        "internal": {"parkedSince": "2026-11-24T20:30:00Z"},
        "reason": "Idle",
        "readyReplicas": 1,
        "desiredReplicas": 1,
        "cost": cost,
    }
    found = row(status, parkedFor="1h")
    assert (found["PHASE"], found["WHY"], found["UNTIL"]) == ("Parked", "Idle", "06:30")
    assert found["PER HOUR"] == "0.25 JPY"
