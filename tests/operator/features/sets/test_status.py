"""What people read of a set."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.pool.spec import Budget
from kotatsu_operator.core.poolset.wanted import Refused, Wanted
from kotatsu_operator.features.sets.purse import Purse
from kotatsu_operator.features.sets.status import Seen, member_of, set_status, visited

NOW = datetime(2030, 5, 15, 12, tzinfo=UTC)
MAY, JUNE = datetime(2030, 5, 1, tzinfo=UTC), datetime(2030, 6, 1, tzinfo=UTC)


def pool(name="web", phase="Asleep", *conditions, **status):
    owner = {"kind": "WarmPoolSet", "name": "previews"}
    labels = {"kotatsu.dev/set": "previews"}
    meta = {"namespace": "shop", "name": name, "uid": name, "labels": labels}
    meta["ownerReferences"] = [owner]
    return {"metadata": meta, "status": {"phase": phase, "conditions": list(conditions), **status}}


def condition(kind, reason, message=""):
    return {"type": kind, "status": "False", "reason": reason, "message": message}


def seen(
    *pools,
    limit=50,
    spent=0,
    found=(),
    failed=(),
    why="",
    forbidden="",
    currency="JPY",
):
    purse = Purse(currency) if limit else None
    if purse:
        purse.turn(Budget(Decimal(limit)), NOW)
        purse.enter("web", Ledger(currency, MAY, Decimal(spent), period_end=JUNE), NOW)
    members = {("shop", one["metadata"]["name"]): member_of(one) for one in pools}
    return Seen("previews", why, forbidden, purse, members, found, failed)


def conditions(status):
    return {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}


def test_pools_are_counted_by_what_they_do():
    status = set_status(
        seen(
            pool("a"),
            pool("b", "Warm"),
            pool("c", "Warming"),
            pool("d", "Asleep", condition("Visited", "Unused")),
            found=[Wanted(selected={"previews": 5, "other": 9})],
        )
    )
    counted = {name: status[name] for name in ("selected", "made", "asleep", "awake", "unused")}
    assert counted == {"selected": 5, "made": 4, "asleep": 2, "awake": 2, "unused": 1}
    assert status["unusedPools"] == ["shop/d"]


def test_workloads_without_a_pool_and_pools_that_are_not_accepted_are_named_with_the_reason():
    left = Refused("shop", "Deployment worker", "ServiceNotFound", "create one")
    failed = Refused("shop", "Deployment api", "Conflict", "change it back")
    refused = pool("web", "", condition("Accepted", "TargetClaimed", "delete one"))
    status = set_status(
        seen(refused, found=[Wanted(refused={"previews": [left]})], failed=[failed])
    )
    assert status["refused"] == 3
    assert [one["reason"] for one in status["refusals"]] == [
        *("ServiceNotFound", "Conflict", "TargetClaimed"),
    ]
    assert status["refusals"][2]["workload"] == "WarmPool web"


def test_twenty_are_named_and_all_are_counted():
    many = [Refused("shop", f"Deployment {n}", "HasPool", "") for n in range(30)]
    status = set_status(seen(found=[Wanted(refused={"previews": many})]))
    assert (status["refused"], len(status["refusals"])) == (30, 20)


@pytest.mark.parametrize(
    ("spent", "holds", "reason"),
    [(1, "True", "WithinLimit"), (45, "True", "NearLimit"), (50, "False", "Exhausted")],
)
def test_the_budget_says_what_is_spent_together(spent, holds, reason):
    priced = pool(cost={"forecast": "61.5"})
    status = set_status(seen(priced, spent=spent))
    assert conditions(status)["BudgetAvailable"] == (holds, reason)
    assert status["cost"]["text"] == f"{spent}.00 of 50 JPY"
    assert status["cost"]["forecast"] == "61.50"


def test_a_budget_without_prices_says_so():
    status = set_status(seen(pool(), currency=""))
    assert conditions(status)["BudgetAvailable"] == ("Unknown", "NoPrices")


def test_a_condition_does_not_change_with_each_amount_that_is_spent():
    before, after = (
        set_status(seen(pool(cost={"forecast": f"{spent}.5"}), spent=spent)) for spent in (1, 2)
    )
    assert before["conditions"] == after["conditions"]
    assert before["cost"] != after["cost"]


def test_a_set_without_a_budget_has_no_cost():
    status = set_status(seen(pool(), limit=0))
    assert status["cost"] is None
    assert "BudgetAvailable" not in conditions(status)


def test_a_set_that_is_not_accepted_says_why_and_keeps_its_last_budget():
    status = set_status(seen(why="spec.template: no", spent=50))
    assert conditions(status) == {
        "Accepted": ("False", "InvalidSpec"),
        "BudgetAvailable": ("False", "Exhausted"),
    }
    assert status["cost"]["accrued"] == "50.000000"


def test_a_set_whose_template_a_quota_forbids_now_says_that_it_is_tried_again():
    status = set_status(seen(forbidden="spec.template: exceeded quota"))
    (accepted,) = [c for c in status["conditions"] if c["type"] == "Accepted"]
    assert (accepted["status"], accepted["reason"]) == ("Unknown", "Forbidden")
    assert accepted["message"] == "spec.template: exceeded quota; this is tried again"


@pytest.mark.parametrize("name", [("previews", "other"), ("other", "previews")])
def test_both_sets_that_select_a_workload_say_it(name):
    status = set_status(seen(found=[Wanted(twice={name: 3})]))
    assert conditions(status)["Exclusive"] == ("False", "SelectedTwice")


@pytest.mark.parametrize(
    ("status", "used"),
    [
        ({"lastActive": "2030-05-14T12:00:00Z"}, "True"),
        ({"lastActive": "2030-05-01T12:00:00Z"}, "False"),
        ({}, "False"),
    ],
)
def test_a_pool_is_unused_that_had_no_request_for_the_time(status, used):
    made = pool(**status)
    made["metadata"]["creationTimestamp"] = "2030-04-01T00:00:00Z"
    assert visited(made, timedelta(days=7), NOW)["status"] == used


def test_a_new_pool_is_not_unused():
    made = pool()
    made["metadata"]["creationTimestamp"] = "2030-05-15T00:00:00Z"
    assert visited(made, timedelta(days=7), NOW)["status"] == "True"
