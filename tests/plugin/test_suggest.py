"""kubectl demo-mode suggest: proposals for people, as a patch and as JSON."""

from datetime import timedelta
from typing import Any

import pytest
import yaml
from plugin.kit import PITCH, Cluster, Ran, cron, demo_mode, manifest

from kotatsu_operator.core.formats import stamp
from kotatsu_operator.core.report.usage import usage_field
from tests.operator.core.weeks import BEGIN, WEEK, App, app, usage_of

END = BEGIN + 8 * WEEK
OFFICE = app("office", 8, 4, zone="Asia/Tokyo")


def history(weeks: int = 8, kind: Any = OFFICE) -> dict[str, Any]:
    """A WarmPoolHistory with this use."""
    begin = END - weeks * WEEK
    return {"usage": usage_field(usage_of(kind.between(begin, END), begin, END))}


def said(*words: str, past: Any = None, cost: bool = True, **spec: Any) -> Ran:
    """Run the command in a cluster with the pool voice, and with what is known of its use."""
    pool = manifest(**spec)
    if not cost:
        pool.pop("status")
    cluster = Cluster(pool)
    cluster.histories = {} if past == {} else {"voice": past or history()}
    return demo_mode("suggest", *words, cluster=cluster, now=END + timedelta(hours=1))


def test_people_see_today_the_rule_and_the_proposal_with_its_windows_in_words():
    ran = said("voice")
    assert ran.code == 0
    lines = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert lines[0] == (
        "voice: the use of 8 weeks is known; learned from the first 4, these are the figures of "
        "the last 4"
    )
    assert lines[1] == "COLD STARTS A WEEK PRICE A WEEK COST A WEEK SETTINGS"
    assert [line.split()[0] for line in lines[2:5]] == ["today", "the", "proposal"]
    assert lines[3].endswith("JPY idleAfter 30s, parkedFor 2h30m")
    assert "today's are the least" in lines[5]
    assert lines[6].startswith("(the cost is the price of the pods")
    assert lines[7] == "learned from all 8 weeks:"
    assert lines[8].startswith("window use-1: Monday to Friday 0")
    assert lines[8].endswith(", parked")
    assert "kubectl demo-mode check warmpool/voice" in lines[9]


def test_cold_starts_that_were_recorded_are_shown_and_else_that_it_is_the_least():
    assert " at least " in said("voice").out.splitlines()[2]
    (unknown,) = said("voice", "-o", "json").json
    hours = 8 * 7 * 12
    since = {"since": stamp(BEGIN), "earlier": [{
        "from": stamp(BEGIN), "to": stamp(END), "episodes": 4000, "wakes": 4000,
        "podSeconds": hours * 3600,
    }]}  # fmt: skip
    (found,) = said("voice", "-o", "json", past=history() | {"record": since}).json
    assert (unknown["today"]["atLeast"], found["today"]["atLeast"]) == (True, False)
    assert found["today"]["coldStartsPerWeek"] == 500
    assert found["today"]["podHoursPerWeek"] == 84
    assert found["today"]["pricePerWeek"] == pytest.approx(84 * 1.84375)
    assert found["today"]["costPerWeek"] == pytest.approx((84 + 500 / 3) * 1.84375)
    assert found["rule"] == unknown["rule"]


def test_a_proposal_with_more_cold_starts_than_the_rule_says_so():
    ran = said("voice", past=history(kind=app("demo", 8, 2, zone="Asia/Tokyo")))
    assert "it has more cold starts than the rule: 1.5 a week, not 1.0" in ran.out
    assert "more cold starts" not in said("voice").out


def test_fewer_than_ten_uses_get_no_proposal():
    few = App("few", OFFICE.zone, OFFICE.sessions[-5:])
    assert "no proposal: 3 uses in these weeks" in said(past=history(kind=few)).out


def test_yaml_is_a_patch_in_which_windows_of_people_stay():
    evening = cron("evening", "0 18 * * 1-5", "90m", 2)
    old, backup = cron("use-7", "0 3 * * *", "1h", 1), cron("backup", "0 3 * * *", "1h", 1)
    ran = said("voice", "-o", "yaml", windows=[PITCH, old, evening, backup])
    made = yaml.safe_load(ran.out)
    assert made["metadata"] == {"name": "voice", "namespace": "demo"}
    spec = made["spec"]
    assert set(spec) == {"idleAfter", "parkedFor", "windows"}
    assert spec["idleAfter"] == "30s"
    assert spec["windows"][:3] == [PITCH, evening, backup]
    assert [set(w) for w in spec["windows"][3:]] == [
        {"name", "schedule", "duration", "replicas", "mode"}
    ]
    # The pool with this patch has what is proposed, and nothing more to gain.
    again = said("voice", "-o", "json", **spec).json[0]
    assert again["proposal"] is None
    assert "5%" in again["reason"]


def test_json_has_the_figures_of_the_weeks_that_were_not_learned():
    (found,) = said("voice", "-o", "json", parkedFor="1h").json
    assert (found["knownWeeks"], found["learnedWeeks"], found["heldOutWeeks"]) == (8, 4, 4)
    assert found["parkedPrice"] == 0.1363
    assert found["proposal"]["coldStartsPerWeek"] < found["rule"]["coldStartsPerWeek"] / 2
    assert found["today"]["parkedFor"] == "1h"
    assert found["rule"]["pricePerWeek"] > 0
    assert (found["currency"], found["reason"]) == ("JPY", None)


def test_without_prices_the_price_is_in_pod_hours():
    assert "pod-hours" in said("voice", cost=False).out


def test_too_little_is_known_before_three_weeks():
    ran = said("voice", past=history(2))
    assert ran.out == (
        "voice: no proposal: 2.0 weeks of use are known, and 3 are needed: two to learn from, one "
        "to test on\n"
    )
    for none in (said("voice", past={}), said("voice", past={"usage": "broken"})):
        assert "0.0 weeks of use are known" in none.out
    ran = said("voice", "-o", "yaml", past=history(2))
    assert (ran.code, ran.out) == (0, "")
    assert "voice: no proposal: 2.0 weeks" in ran.err


def test_an_app_that_nobody_uses_stays_as_it_is():
    ran = said("voice", past=history(kind=app("never", 8, 1)))
    assert "no proposal: 0 uses in these weeks, and 10 are needed" in ran.out


def test_a_knative_service_is_not_seen():
    target = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "voice"}
    assert "Knative scales it" in said("voice", targetRef=target).out


def test_pods_that_cannot_be_parked_get_warm_windows_or_a_longer_idle_after():
    failed = {"type": "ParkingWorks", "status": "False", "reason": "NoCpuRequest", "message": "x"}
    pool = manifest(parkedFor="1h")
    pool["status"] |= {"conditions": [failed]}
    cluster = Cluster(pool)
    cluster.histories = {"voice": history()}
    ran = demo_mode("suggest", "-o", "json", cluster=cluster, now=END)
    (found,) = ran.json
    assert (found["rule"]["idleAfter"], found["rule"]["parkedFor"]) == ("30m", None)
    made = demo_mode("suggest", "-o", "yaml", cluster=cluster, now=END)
    if made.out:
        assert "parkedFor" not in yaml.safe_load(made.out)["spec"]
