"""kubectl demo-mode plan: the table, the chart and the records, without a cluster."""

from pathlib import Path

import pytest
from plugin.kit import (
    EVENINGS,
    PARKED,
    PITCH,
    Cluster,
    cron,
    demo_mode,
    deployment,
    manifest,
    once,
    write_manifest,
)
from rows import each

GOLDEN = """\
voice: 2026-11-25 06:00 to 2026-11-26 06:00 in Asia/Tokyo, pods start 60 s early (spec.lead)

AT                        POOL   KIND     WINDOW       PODS  COST       NOTE
Wed 2026-11-25 09:59 JST  voice  prewarm  final-pitch  5     0.15 JPY
Wed 2026-11-25 10:00 JST  voice  open     final-pitch  5     18.44 JPY
Wed 2026-11-25 12:00 JST  voice  close    final-pitch  0     0.00 JPY
Wed 2026-11-25 17:59 JST  voice  prewarm  rehearsal    2     0.06 JPY
Wed 2026-11-25 18:00 JST  voice  open     rehearsal    2     5.53 JPY
Wed 2026-11-25 19:30 JST  voice  close    rehearsal    0     0.00 JPY

voice                █████████                     ▄▄▄▄▄▄▄                                       5
       |06:00     |09:00     |12:00     |15:00     |18:00     |21:00     |11-26     |03:00
voice: 13.1 pod hours, 24.18 JPY
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    pool = manifest(windows=[PITCH, EVENINGS], lead="1m")
    return write_manifest(tmp_path / "pool.yaml", pool, deployment())


def test_the_plan_of_a_day(file: str):
    ran = demo_mode("plan", "-f", file, "--days", "1", width=98)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == GOLDEN


def test_a_window_below_the_least_says_what_the_pool_has(tmp_path: Path):
    pool = manifest(windows=[EVENINGS], lead="1m", minReplicas=3)
    file = write_manifest(tmp_path / "pool.yaml", pool, deployment())
    ran = demo_mode("plan", "-f", file, "--days", "1", width=98)
    opens = next(line for line in ran.out.splitlines() if " open " in line)
    assert "rehearsal  3 " in opens
    assert opens.endswith("asks for 2, and an awake pool has 3 at least")


def test_the_records_have_times_in_rfc_3339_with_the_pools_offset(file: str):
    found = demo_mode("plan", "-f", file, "--days", "1", "-o", "json").json["transitions"]
    assert found[0] == {
        "at": "2026-11-25T09:59:00+09:00",
        "pool": "voice",
        "kind": "prewarm",
        "window": "final-pitch",
        "replicas": 5,
        "cost": 0.153646,
    }


def test_yaml_says_the_same(file: str):
    import yaml

    as_yaml = demo_mode("plan", "-f", file, "-o", "yaml").out
    assert yaml.safe_load(as_yaml) == demo_mode("plan", "-f", file, "-o", "json").json


def test_from_and_to_are_wall_clock_times_of_the_pool(file: str):
    words = ("--from", "2026-11-25T11:00", "--to", "2026-11-25T18:00:01")
    found = demo_mode("plan", "-f", file, *words, "-o", "json").json["transitions"]
    assert [(r["kind"], r["at"]) for r in found] == [
        ("close", "2026-11-25T12:00:00+09:00"),
        ("prewarm", "2026-11-25T17:59:00+09:00"),
        ("open", "2026-11-25T18:00:00+09:00"),
    ]
    out = demo_mode("plan", "-f", file, *words).out
    assert "final-pitch already needs 5 pods" in out


def test_the_window_that_wins_is_named_where_two_overlap(tmp_path: Path):
    talk = once("talk", "2026-11-25T11:00", "2026-11-25T13:00", 2)
    file = write_manifest(tmp_path / "p.json", manifest(windows=[PITCH, talk]) | {"status": {}})
    lines = demo_mode("plan", "-f", file, "--days", "1").out.splitlines()
    assert [line.split("  ")[-1].strip() for line in lines if "talk" in line] == [
        "final-pitch wins",
        "final-pitch wins",
        "talk stays",
        "-",
    ]


def test_a_start_that_the_clocks_skip_is_named(tmp_path: Path):
    night = cron("night", "30 2 * * *", "1h")
    pool = manifest(timeZone="Europe/Berlin", windows=[night])
    file = write_manifest(tmp_path / "p.json", pool)
    out = demo_mode("plan", "-f", file, "--from", "2026-03-29T00:00", "--days", "1").out
    assert (
        "the start does not exist on that day: clocks go forward, so the window opens at 03:00"
        in out
    )


def test_a_window_that_lies_wholly_in_a_gap_of_the_clock_is_named(tmp_path: Path):
    lost = once("lost", "2026-03-29T02:10", "2026-03-29T02:50", 1)
    file = write_manifest(tmp_path / "p.json", manifest(timeZone="Europe/Berlin", windows=[lost]))
    out = demo_mode("plan", "-f", file, "--from", "2026-03-29T00:00", "--days", "1").out
    assert "window lost never opens" in out


def test_several_pools_are_in_one_order_of_time(tmp_path: Path):
    other = manifest("auth", windows=[once("check", "2026-11-25T09:00", "2026-11-25T11:00", 1)])
    file = write_manifest(tmp_path / "p.json", manifest(windows=[PITCH]), other)
    found = demo_mode("plan", "-f", file, "-o", "json").json["transitions"]
    assert [r["pool"] for r in found] == ["auth", "auth", "voice", "voice", "auth", "voice"]
    only = demo_mode("plan", "auth", "-f", file, "-o", "json").json["transitions"]
    assert {r["pool"] for r in only} == {"auth"}


def test_a_pool_without_windows_has_nothing_to_come(tmp_path: Path):
    file = write_manifest(tmp_path / "p.json", manifest())
    ran = demo_mode("plan", "-f", file)
    assert ran.code == 0
    assert "No transitions in this time." in ran.out


def test_a_manifest_comes_from_stdin_too(file: str):
    ran = demo_mode("plan", "-f", "-", "-o", "json", stdin=Path(file).read_text())
    assert ran.json == demo_mode("plan", "-f", file, "-o", "json").json


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--to", "2026-11-20T00:00"], "--to is not after --from; give a later --to"),
        (["--to", "2036-11-20T00:00"], "longer than three years"),
        (["--from", "soon"], "--from: 'soon' is not a time; write it like 18:30"),
        (["--from", "9999-12-31T00:00"], "--from is outside of the years 1970 to 9000"),
        (["--from", "0002-01-01T00:00"], "--from is outside of the years 1970 to 9000"),
        (["auth"], "has no WarmPool auth; it has voice"),
    ],
)
def test_what_cannot_be_planned_has_a_sentence(file: str, words: list[str], sentence: str):
    ran = demo_mode("plan", "-f", file, *words)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error: ")
    assert sentence in ran.err
    assert ran.err.count("\n") == 1


def test_the_cost_of_capacity_ahead_is_said(tmp_path: Path):
    prewarm = {"lead": "1m", "capacityAhead": "10m"}
    pool = manifest(windows=[PITCH, EVENINGS], **prewarm)
    file = write_manifest(tmp_path / "pool.yaml", pool, deployment())
    lines = demo_mode("plan", "-f", file, "--days", "1").out.splitlines()
    assert lines[1] == (
        "voice: nodes for up to 5 pods are requested 10m before they start "
        "(placeholders: up to 1.54 JPY each time)"
    )


def test_windows_of_a_calendar_are_planned_and_named_with_it():
    event = ["pitch", 3, "2026-11-25T10:00", "2026-11-25T12:00"]
    read = {"name": "team", "readAt": "2026-11-24T00:00:00Z", "windows": [event]}
    followed = manifest(
        calendars=[{"name": "team", "replicas": 3}, {"name": "holidays", "mode": "Closed"}]
    )
    followed["status"]["phase"] = "Asleep"
    followed["status"]["internal"]["calendars"] = [read]
    ran = demo_mode("plan", cluster=Cluster(followed))
    (opens,) = (line for line in ran.out.splitlines() if " open " in line)
    assert opens.split()[:8] == ["Wed", "2026-11-25", "10:00", "JST", "voice", "open", "pitch", "3"]
    assert opens.endswith("JPY  calendar team")
    assert "voice: the operator has not read the calendar holidays for this pool" in ran.out
    planned = demo_mode("plan", "-o", "json", cluster=Cluster(followed)).json["transitions"]
    assert {change["calendar"] for change in planned} == {"team"}
    listed = demo_mode("window", "list", cluster=Cluster(followed)).out
    assert "calendar team" in listed


PARKED_DAY = """\
voice: 2026-11-25 06:00 to 2026-11-26 06:00 in Asia/Tokyo, pods start 60 s early (spec.lead)
voice: an idle pool keeps one pod parked for 1h at 0.25 JPY per hour each

AT                        POOL   KIND     WINDOW       PODS      COST      NOTE
Wed 2026-11-25 09:59 JST  voice  prewarm  final-pitch  5         0.15 JPY
Wed 2026-11-25 10:00 JST  voice  open     final-pitch  5 parked  2.51 JPY
Wed 2026-11-25 12:00 JST  voice  close    final-pitch  0         0.00 JPY
Wed 2026-11-25 17:59 JST  voice  prewarm  rehearsal    2         0.06 JPY
Wed 2026-11-25 18:00 JST  voice  open     rehearsal    2         5.53 JPY
Wed 2026-11-25 19:30 JST  voice  close    rehearsal    1 parked  0.25 JPY

voice                █░░░░░░░░                     ▄▄▄▄▄▄▄░░░                                    5
       |06:00     |09:00     |12:00     |15:00     |18:00     |21:00     |11-26     |03:00
       ░ parked
voice: 14.1 pod hours (11.0 of them parked), 8.51 JPY
"""


def test_the_plan_of_a_day_with_parked_pods(tmp_path: Path):
    windows = [PARKED, EVENINGS]
    pool = manifest(windows=windows, lead="1m", parkedFor="1h")
    file = write_manifest(tmp_path / "pool.yaml", pool, deployment())
    ran = demo_mode("plan", "-f", file, "--days", "1", width=98)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == PARKED_DAY
    found = demo_mode("plan", "-f", file, "--days", "1", "-o", "json").json["transitions"]
    assert [r.get("mode") for r in found[:3]] == [None, "Parked", None]


@each(
    "policy, said",
    [
        ("BlockStarts", "10:04; windows that are open then finish: 17.82 JPY beyond it"),
        ("Sleep", "10:04, and the pool sleeps"),
        ("Warn", "10:04, and the pool continues: 17.82 JPY beyond it"),
    ],
)
def test_the_plan_says_by_how_much_a_window_overruns_the_budget(policy: str, said: str):
    """Five pods from 09:59 on have cost it at 10:04."""
    budget = {"limit": "0.7682291667", "onExhausted": policy}
    ran = demo_mode("plan", cluster=Cluster(manifest(windows=[PITCH], lead="1m", budget=budget)))
    assert f"voice: the budget of 0.77 JPY is spent at {said}" in ran.out.splitlines()


def test_a_start_that_requests_do_not_wait_for_is_said_with_the_time_of_a_new_node():
    pool = manifest(windows=[PITCH], capacityAhead="5m")
    pool["status"]["phase"] = "Asleep"
    pool["status"]["internal"] |= {"template": {"hash": "a1"}, "warmUps": ["a1", [150, 1, 0]]}
    assert (
        "voice: a start took 2m30s, a new node takes 5m more, and requests that wake the pool get "
        "503 after 45s: set spec.holdTimeout to 15m"
    ) in demo_mode("plan", cluster=Cluster(pool)).out
