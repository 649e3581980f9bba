"""Several pools as one event: the total and the verdict of a plan."""

from pathlib import Path
from typing import Any

from plugin.kit import (
    PITCH,
    Cluster,
    costing,
    demo_mode,
    deployment,
    manifest,
    once,
    write_manifest,
)

CHECK = once("check", "2026-11-25T11:00", "2026-11-25T13:00", 2)
LEAD = {"lead": "0s"}


def plan(tmp_path: Path, *pools: dict[str, Any]) -> str:
    """The text of a plan of these pools."""
    deployments = [deployment(p["metadata"]["name"]) for p in pools]
    file = write_manifest(tmp_path / "event.json", *pools, *deployments)
    return demo_mode("plan", "-f", file, "--days", "1").out


def test_several_pools_have_one_picture_one_total_and_one_verdict(tmp_path: Path):
    pools = manifest(windows=[PITCH], **LEAD), manifest("auth", windows=[CHECK], **LEAD)
    lines = plan(tmp_path, *pools).splitlines()
    assert any(line.startswith("together ") and line.endswith(" 7") for line in lines)
    assert lines[-2] == "together: 14.0 pod hours, at most 7 pods, 25.81 JPY"
    assert lines[-1] == "Nothing is known that keeps a window of these pools from opening warm."


def test_amounts_in_two_currencies_are_never_added(tmp_path: Path):
    dollars = costing({"currency": "USD"}, podPerHour="0.01")
    auth = manifest("auth", windows=[CHECK]) | {"status": dollars}
    pools = manifest(windows=[PITCH], **LEAD), auth
    assert ", 18.44 JPY, 0.0" in plan(tmp_path, *pools)


def test_the_verdict_names_each_thing_that_is_known_to_go_wrong():
    limit = {"limit": "20"}
    until = "2026-11-25T04:00:00Z"
    cluster = Cluster(
        manifest("voice", windows=[PITCH], budget=limit)
        | {"status": costing({"accrued": "3"}, podPerHour="1.84")},
        manifest("auth", windows=[CHECK], suspend=True),
        manifest("feed", windows=[CHECK], override={"mode": "Asleep", "until": until}),
        manifest("web", windows=[CHECK])
        | {"status": {"conditions": [{"type": "Proven", "status": "False"}]}},
        manifest("old")
        | {"status": {"conditions": [{"type": "Accepted", "status": "False", "message": "why"}]}},
    )
    found = demo_mode("plan", "-l", "team=pet", "-o", "json", cluster=cluster).json["verdict"]
    assert found["warm"] is False
    assert [problem.split(";")[0] for problem in found["problems"]] == [
        "auth: suspended",
        "feed: an Asleep override is in effect when check opens at 11:00",
        "old: the operator refuses it: why",
        "voice: with this plan the budget of 20.00 JPY is spent at 11:49:44",
        "web: its current pods have never been Ready",
    ]
