"""Commands on pools that the operator refuses, and on pools whose pods cannot start."""

from typing import Any

import pytest
from rows import each

from .kit import PITCH, Cluster, demo_mode, manifest

WHY = "Deployment demo/voice does not exist: create it"


def refused(name: str = "voice", **spec: Any) -> dict[str, Any]:
    """A pool that the operator refuses."""
    why = {"type": "Accepted", "status": "False", "message": WHY, "observedGeneration": 1}
    return manifest(name, **spec) | {"status": {"conditions": [why]}}


WARM = {"mode": "Warm", "until": "2026-11-24T23:00:00Z"}


@each(
    "command",
    [
        ["on", "voice"],
        ["off", "voice", "--now"],
        ["rehearse", "voice"],
        ["window", "add", "talk", "voice", "--at", "18:30"],
    ],
)
def test_a_command_that_starts_something_says_why_not_and_writes_nothing(command: list[str]):
    cluster = Cluster(refused())
    ran = demo_mode(*command, cluster=cluster)
    assert ran.code == 1
    assert WHY in ran.err.splitlines()[0]
    assert ran.out == ""
    assert cluster.writes == []


@pytest.mark.parametrize(
    ("command", "done"),
    [
        (["off", "voice"], "override removed: its schedule is not in effect"),
        (["window", "remove", "final-pitch", "voice"], "window final-pitch removed"),
    ],
)
def test_what_takes_something_away_is_done_and_the_refusal_is_said(command: list[str], done: str):
    cluster = Cluster(refused(windows=[PITCH], override=WARM))
    ran = demo_mode(*command, cluster=cluster)
    assert (ran.code, len(cluster.writes)) == (1, 1)
    assert WHY in ran.err.splitlines()[0]
    assert done in ran.out


def test_of_several_pools_the_others_are_warmed_and_the_refused_one_is_named_last():
    cluster = Cluster(refused(), manifest("feed"))
    ran = demo_mode("on", "--all", cluster=cluster)
    assert ran.code == 1
    assert "feed warmed until" in ran.out
    assert "voice" not in ran.out
    assert WHY in ran.err.splitlines()[0]
    assert ran.err.splitlines()[-1] == "error: refused: voice; see above"


def test_a_plan_says_that_nothing_of_it_happens_and_exits_with_1():
    ran = demo_mode("plan", cluster=Cluster(refused(windows=[PITCH])))
    assert ran.code == 1
    assert WHY in ran.err
    assert f"voice: none of this happens: the operator refuses it: {WHY}" in ran.out


def test_the_status_has_the_refusal_below_the_table():
    ran = demo_mode("status", cluster=Cluster(refused()))
    assert ran.code == 0
    assert ran.out.splitlines()[-1] == f"voice: the operator refuses it: {WHY}"


def test_a_refusal_of_an_earlier_spec_counts_no_more():
    cluster = Cluster(refused())
    cluster.change("voice", suspend=False)
    assert demo_mode("on", "voice", cluster=cluster).code == 0


FAILING = "pod voice-1 cannot start: container app: ErrImagePull (not found)"


def failing(name: str = "voice") -> dict[str, Any]:
    """A pool whose pod cannot start, as the operator reports it."""
    ready = {"type": "Ready", "status": "False", "reason": "PodsCannotStart", "message": FAILING}
    status = {"phase": "Warming", "reason": "Override", "desiredReplicas": 1}
    return manifest(name) | {"status": status | {"conditions": [ready]}}


def test_on_wait_ends_with_the_pods_own_words_as_soon_as_it_is_hopeless():
    ran = demo_mode("on", "voice", "--wait", cluster=Cluster(failing()))
    assert ran.code == 1
    assert f"voice does not become Warm: {FAILING}" in ran.err
    assert "after" not in ran.err


def test_the_others_are_waited_for_although_one_pod_cannot_start():
    warm = {"type": "Warm", "status": "True", "observedGeneration": 1}
    feed = manifest("zoo") | {"status": {"readyReplicas": 1, "conditions": [warm]}}
    cluster = Cluster(failing(), feed)
    ran = demo_mode("on", "--all", "--wait", cluster=cluster)
    assert ran.code == 1
    assert FAILING in ran.err
    assert "zoo is Warm" in ran.out


def test_the_status_has_the_pods_words_below_the_table():
    ran = demo_mode("status", cluster=Cluster(failing()))
    assert "Override, cannot start" in ran.out
    assert ran.out.splitlines()[-1] == f"voice: {FAILING}"
