"""What the plugin reads of a status, it reads as the operator does."""

import json
from datetime import timedelta
from typing import Any

import pytest
from fuzz.edits import edited
from fuzz.pools import specs, statuses
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plugin.kit import (
    EVENINGS,
    NOW,
    PITCH,
    Cluster,
    costing,
    cron,
    demo_mode,
    manifest,
    pool,
    shell_of,
)
from rows import each

from kotatsu_demo_mode.api import Api, explain
from kotatsu_demo_mode.completion import names
from kotatsu_demo_mode.errors import DemoModeError
from kotatsu_demo_mode.timeline import timeline
from kotatsu_operator.core.plan.plan import plan_at
from kotatsu_operator.core.pool.memory import Memory
from kotatsu_operator.core.report.status import read_memory

DAY = timedelta(days=1)
OLD = ["old", [3, 5, 0]]


def asleep(lead: str = "", **inner: Any) -> dict[str, Any]:
    shown = {"lead": lead} if lead else {}
    return {"phase": "Asleep", "reason": "Idle", **shown, "internal": inner}


# --- the lead ---


@each(
    "status",
    [
        {},
        asleep(),
        asleep(warmUps=OLD, template={"hash": "old", "proven": True}, lead="12s"),
        asleep(warmUps=OLD, template={"hash": "new", "proven": False}, lead="12s"),
        asleep(warmUps=[], template={"hash": "new"}, lead="5m"),
    ],
)
def test_pods_start_as_early_as_the_operator_will_start_them(status: dict[str, Any]):
    made = pool(status=status, windows=[PITCH, EVENINGS])
    operators = plan_at(made.spec, read_memory(made.status, Memory()), NOW)
    plugins = timeline(made, NOW, NOW + DAY)
    assert plugins.first.lead == operators.lead
    first = plugins.changes[0]
    assert operators.next is not None
    assert (first.at, first.kind) == (operators.next.at, "prewarm")


@each(
    "status, spec, said",
    [
        (
            asleep(warmUps=OLD, template={"hash": "new"}, lead="12s"),
            {},
            "68 s early (estimated: no warm-up of this pod template yet)",
        ),
        (asleep(warmUps=OLD, template={"hash": "old"}), {}, "12 s early (learned)"),
        ({}, {}, "68 s early (the default: no warm-up of this pool yet)"),
        (asleep(firstStart="4m"), {}, "248 s early (the default: no warm-up of this pool yet)"),
        ({}, {"lead": "2m"}, "120 s early (spec.lead)"),
        (
            asleep(warmUps=["new", [109, 5, 0, 91, 0.3, 12, 5], *OLD], template={"hash": "new"}),
            {},
            "128 s early (learned; 109 s: node 91, image 12, start 5)",
        ),
    ],
)
def test_the_plan_says_where_the_lead_comes_from(
    status: dict[str, Any], spec: dict[str, Any], said: str
):
    raw = manifest(windows=[PITCH], **spec) | {"status": status}
    heading = demo_mode("plan", cluster=Cluster(raw)).out.splitlines()[0]
    assert heading.partition("pods start ")[2] == said


# --- the override ---


def test_what_the_status_says_of_another_override_counts_for_none():
    override = {"mode": "Warm", "until": "2026-11-25T20:00:00Z"}
    seen = {"key": "another", "seenAt": (NOW - timedelta(hours=30)).isoformat(), "done": True}
    made = pool(status=asleep(override=seen), override=override)
    assert made.override_at(NOW) is not None


# --- the budget ---

MONTH_END = "2026-11-30T15:00:00Z"  # in Tokyo


def spent(policy: str) -> dict[str, Any]:
    written = {"accrued": "500", "periodStart": "2026-10-31T15:00:00Z"}
    inner = {"period": "Month", "periodEnd": MONTH_END, "exhaustedAt": "2026-11-24T20:00:00Z"}
    budget = {"currency": "JPY", "limit": "500", "onExhausted": policy}
    evenings = [cron("rehearsal", "0 18 * * *", "90m", 2)]
    status = asleep() | costing(written, **inner)
    return manifest(windows=evenings, budget=budget) | {"status": status}


def test_a_spent_budget_opens_no_window_before_its_period_ends():
    cluster = Cluster(spent("BlockStarts"))
    ran = demo_mode("plan", "--days", "8", cluster=cluster)
    assert "the limit of 500 JPY is reached" in ran.out
    found = demo_mode("plan", "--days", "8", "-o", "json", cluster=cluster).json["transitions"]
    assert found[0]["kind"] == "prewarm"
    assert found[0]["at"].startswith("2026-12-01T17:58:52")


def test_a_budget_that_only_warns_opens_its_windows():
    found = demo_mode("plan", "-o", "json", cluster=Cluster(spent("Warn"))).json["transitions"]
    assert found[0]["at"].startswith("2026-11-25")


def test_a_window_that_is_open_as_the_period_ends_opens_then():
    raw = spent("Sleep")
    raw["spec"]["windows"] = [cron("night", "0 23 * * *", "3h", 2)]
    words = ("--from", "2026-11-30T22:00", "--days", "1", "-o", "json")
    found = demo_mode("plan", *words, cluster=Cluster(raw)).json["transitions"]
    assert [(r["at"], r["kind"], r["replicas"]) for r in found][:2] == [
        ("2026-12-01T00:00:00+09:00", "open", 2),
        ("2026-12-01T02:00:00+09:00", "close", 0),
    ]


# --- prices ---


def priced_by_the_chart() -> dict[str, Any]:
    """A pool as an operator with a price table writes of it."""
    cost = costing({"accrued": "12.5", "ratePerHour": "0"}, podPerHour="2")
    return manifest(windows=[PITCH]) | {"status": asleep() | cost}


def test_prices_of_the_chart_count_as_they_do_for_the_operator():
    cluster = Cluster(priced_by_the_chart())
    plan = demo_mode("plan", "-o", "json", cluster=cluster).json["transitions"]
    assert plan[1]["cost"] == 5 * 2 * 2.0
    (cost,) = demo_mode("cost", "-o", "json", cluster=cluster).json
    assert (cost["currency"], cost["spent"]) == ("JPY", 12.5)
    assert cost["monthLeftOn"] == 730 * 5 * 2
    on = demo_mode("on", "voice", "--for", "1h", "--replicas", "3", "--dry-run=client",
                   cluster=cluster)  # fmt: skip
    assert "3 pods, 6.00 JPY until then" in on.out


# --- a pool that cannot be read ---

TYPO = manifest("typo", timeZone="Asia/Tokio")


@each("command", ["status", "plan", "cost"])
def test_a_pool_that_cannot_be_read_hides_no_other(command: str):
    ran = demo_mode(command, cluster=Cluster(manifest(windows=[PITCH]), TYPO))
    assert ran.code == 1
    assert "voice" in ran.out
    assert ran.err.startswith("error: WarmPool typo: spec.timeZone: 'Asia/Tokio' is not")
    assert ran.err.count("\n") == 1


@each("command", [("on",), ("off", "--now"), ("rehearse",)])
def test_beside_a_pool_that_cannot_be_read_the_other_has_to_be_named(command: tuple[str, ...]):
    ran = demo_mode(*command, cluster=Cluster(manifest(), TYPO))
    assert (ran.code, ran.out) == (1, "")
    assert "pool (voice), as in `kubectl demo-mode" in ran.err


def test_the_only_pool_that_cannot_be_read_is_an_error():
    ran = demo_mode("status", cluster=Cluster(TYPO))
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)


def test_completion_knows_the_names_of_pools_that_cannot_be_read():
    assert names(["on"], shell_of(Cluster(manifest(), TYPO))) == ["typo", "voice"]


def test_a_field_that_is_younger_than_the_plugin_is_no_error_in_a_cluster():
    ran = demo_mode("status", cluster=Cluster(manifest(younger=True)))
    assert (ran.code, ran.err) == (0, "")


# --- nothing ends in a traceback ---


@each("answer", ["<html>a login page</html>", "", "[]", "7"])
def test_an_answer_that_is_not_the_api_servers_is_said(answer: str):
    api = Api()
    api.text = lambda *_, **__: answer  # type: ignore[method-assign]
    with pytest.raises(DemoModeError, match="is not from an API server of Kubernetes"):
        api.get("/api/v1/pods")
    assert "the API server does not answer" in str(explain(502, answer))


COMMANDS = [
    ["status", "-o", "wide"],
    ["plan"],
    ["plan", "-o", "json", "--days", "2"],
    ["cost"],
    ["cost", "--lambda-price", "0.0000041667", "--lambda-memory", "3008", "-o", "json"],
    ["on", "voice", "--dry-run=client"],
    ["on", "voice", "--until", "18:30", "--wait", "--timeout", "30s"],
    ["off", "voice", "--dry-run=client"],
    ["off", "voice", "--now"],
    ["rehearse", "voice"],
]


READING = COMMANDS[:5]
RICH = manifest(
    windows=[PITCH, EVENINGS],
    budget={"limit": "500"},
    override={"mode": "Warm", "until": "2026-11-25T20:00:00Z", "by": "ann"},
)
FUZZ = settings(max_examples=40, suppress_health_check=list(HealthCheck))


def aimed(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec with a target that there is."""
    return spec | {"targetRef": {"name": "voice"}, "route": "Auto"}


@pytest.mark.slow
@FUZZ
@given(edited(statuses()))
def test_every_status_can_be_read(status: Any):
    cluster = Cluster({**RICH, "status": status})
    for command in COMMANDS:
        ran = demo_mode(*command, cluster=cluster)
        assert ran.code in (0, 1)
        assert ran.err.count("\n") == ran.code
        assert ran.code == 0 or command not in READING


@pytest.mark.slow
@FUZZ
@given(edited(specs().map(aimed)), st.booleans())
def test_no_spec_ends_in_a_traceback(spec: Any, with_status: bool):
    status = {"phase": "Warm", "cost": {"currency": "JPY", "accrued": "1"}} if with_status else {}
    cluster = Cluster({**manifest(), "spec": spec, "status": status})
    for command in COMMANDS:
        ran = demo_mode(*command, cluster=cluster)
        assert ran.code in (0, 1)
        assert ran.err.count("\n") == ran.code


@pytest.mark.slow
@FUZZ
@given(edited(specs().map(aimed)))
def test_no_manifest_ends_in_a_traceback(spec: Any):
    text = json.dumps({**manifest(), "spec": spec})
    for words in (["plan", "-f", "-"], ["plan", "-f", "-", "-o", "json"]):
        ran = demo_mode(*words, stdin=text)
        assert ran.code in (0, 1)
        assert ran.err.count("\n") == ran.code
