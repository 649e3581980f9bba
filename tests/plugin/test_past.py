"""kubectl demo-mode report: text and JSON of the same episodes."""

import json

import pytest
from plugin.apiserver import Api
from plugin.evenings import COST, HISTORY, OVERRIDE, PAID, START, WINDOW, evening, said


def test_the_report_has_each_episode_and_the_ledgers_own_sum():
    ran = said("report", "voice", "-o", "json", pools=[evening()])
    (found,) = ran.json
    assert [(e["reason"], e["cost"]) for e in found["episodes"]] == [
        ("Window", "5.531250"),
        ("Override", "2.765625"),
        ("Request", "0.015365"),
    ]
    assert found["costs"] == {"JPY": "8.312240"}
    ledger = {"accrued": "8.312240", "report": "8.312240", "equal": True}
    assert found["ledger"] == [{"periodStart": START, "currency": "JPY", **ledger}]
    assert (found["wakes"], found["opened"], found["cold"]) == (1, 1, 0)
    assert found["notes"] == []


def test_the_report_for_people():
    ran = said("report", "voice", "--from", "2026-11-24T17:00", pools=[evening()])
    lines = ran.out.splitlines()
    assert lines[0] == "voice: Tue 2026-11-24 17:00 to 06:00 Asia/Tokyo"
    at = next(i for i, line in enumerate(lines) if line.startswith("FROM"))
    assert [" ".join(line.split()) for line in lines[at + 1 : at + 4]] == [
        "Tue 2026-11-24 18:00 Tue 2026-11-24 19:30 1h 30m window rehearsal 2 3.000 0 1 5.531250",
        "Tue 2026-11-24 19:30 Tue 2026-11-24 20:00 30m override <b>judges 3 1.500 0 - 2.765625",
        "05:59 runs 30s request 1 0.008 1 - 0.015365",
    ]
    assert "  cost in JPY               8.312240" in lines


def test_what_else_the_range_would_have_cost():
    ran = said(
        "report", "voice", "-o", "json", "--from", "2026-11-24T17:00", "--to", "2026-11-24T21:00",
        pools=[evening()],
    )  # fmt: skip
    others = ran.json[0]["alternatives"]
    price = 1.84375
    assert others["replicas"] == 3
    assert others["alwaysOn"] == pytest.approx(4 * 3 * price)
    # Two hours with pods, 4.5 pod-hours; and one pod for the other two.
    assert others["minScaleOne"] == pytest.approx((4.5 + 2) * price, abs=0.001)


def test_a_range_that_cuts_an_episode_counts_its_share_and_says_so():
    ran = said(
        "report", "voice", "-o", "json", "--from", "2026-11-24T19:45", "--to", "2026-11-24T21:00",
        pools=[evening()],
    )  # fmt: skip
    (found,) = ran.json
    assert [(e["cost"], e["part"]) for e in found["episodes"]] == [("1.382812", True)]
    assert found["ledger"] == []
    assert any("shares by time" in note for note in found["notes"])


def test_a_range_before_the_record_says_so():
    history = HISTORY | {"since": "2026-11-20T00:00:00Z"}
    ran = said("report", "voice", "--from", "2026-11-01T00:00", pools=[evening(history=history)])
    assert "(the record begins at 2026-11-20T00:00:00Z" in ran.out


def test_older_episodes_are_in_the_sum_and_named_as_one():
    earlier = {
        "from": "2026-11-02T00:00:00Z",
        "to": "2026-11-03T00:00:00Z",
        "episodes": 7,
        "cost": "1.000001",
        "podSeconds": 60.0,
        **PAID,
    }
    status = HISTORY | {"earlier": [earlier]}
    cost = COST | {"accrued": "9.312241"}
    (found,) = said(
        "report", "voice", "-o", "json", pools=[evening(history=status, cost=cost)]
    ).json
    assert found["costs"] == {"JPY": "9.312241"}
    assert found["ledger"][0]["equal"]
    assert found["alternatives"]["minScaleOne"] is None
    assert found["notes"] == ["7 older episodes are kept as a sum"]


def test_a_pool_of_a_set_that_is_not_used_says_so():
    unused = evening()
    said_of = {"type": "Visited", "status": "False", "message": "no request since 2026-11-01"}
    unused["status"]["conditions"] = [*unused["status"].get("conditions", ()), said_of]
    ran = said("report", "voice", pools=[unused])
    assert "(unused: no request since 2026-11-01)" in ran.out


def test_a_pool_without_a_history_or_with_nonsense_in_it_has_a_report():
    for history in (None, {"since": 3, "episodes": [None, {"from": "x"}], "running": []}):
        ran = said("report", "voice", pools=[evening(history=history, running=[])])
        assert (ran.code, ran.err) == (0, "")
        assert "no pods in this time" in ran.out


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--from", "2027-01-01T00:00"), "--from must be before --to"),
        (("--to", "never"), "--to: 'never' is not a time"),
    ],
)
def test_wrong_ranges_are_one_sentence(arguments, error):
    ran = said("report", "voice", *arguments, pools=[evening()])
    assert ran.code == 1
    assert ran.err.startswith(f"error: {error}")
    assert ran.err.count("\n") == 1


@pytest.mark.slow
def test_the_api_server_keeps_every_field_of_a_history(api: Api):
    earlier = {**OVERRIDE, "episodes": 7, "wakes": 1, "opened": 2, "cold": 3}
    del earlier["reason"], earlier["name"], earlier["replicas"]
    whole = {**WINDOW, "wakes": 1, "cold": 2}
    record = {"since": START, "episodes": [whole], "earlier": [earlier]}
    made = {
        "apiVersion": "kotatsu.dev/v1beta1",
        "kind": "WarmPoolHistory",
        "metadata": {"name": "voice"},
        "record": record,
    }
    api.kubectl("create", "-f", "-", stdin=json.dumps(made))
    assert api.get("warmpoolhistory", "voice")["record"] == record


def test_an_episode_that_waits_in_the_status_is_in_the_report_once():
    both = evening(history={"since": START, "episodes": [WINDOW, OVERRIDE]}, waits=[OVERRIDE])
    late = evening(history={"since": START, "episodes": [WINDOW]}, waits=[OVERRIDE])
    shown = [said("report", "voice", "-o", "json", pools=[pool]).json for pool in (both, late)]
    assert shown[0] == shown[1]
    assert shown[0][0]["ledger"][0]["equal"]


def parked_evening() -> dict:
    """The evening, with parked pods after its window."""
    parked = {k: v for k, v in OVERRIDE.items() if k != "name"} | {"reason": "Parked"}
    history = {"since": START, "episodes": [WINDOW, parked]}
    made = evening(history=history)
    made["spec"]["parkedFor"] = "1h"
    made["status"]["internal"]["cost"]["parkedPodPerHour"] = "0.25125"
    return made


def test_the_report_tells_parked_time_from_warm_time():
    ran = said("report", "voice", "-o", "json", pools=[parked_evening()])
    (found,) = ran.json
    assert [e["reason"] for e in found["episodes"]] == ["Window", "Parked", "Request"]
    assert found["parked"]["costs"] == {"JPY": "2.765625"}
    assert found["ledger"][0]["equal"]
    text = said("report", "voice", pools=[parked_evening()]).out
    assert "of it parked, JPY" in text
    assert "of them parked" in text
    assert "always parked" in text
