"""Budget groups: exact sums, whatever pools do, at a cost that does not depend on their number."""

import time
from dataclasses import replace
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kotatsu_operator.controller.groups import Groups
from kotatsu_operator.core.budget.groups import Contribution, Terms
from kotatsu_operator.core.pool.spec import Period
from tests.operator.core.values import examples, utc

MONTH, NEXT = utc("2026-12-01T00:00"), utc("2027-01-01T00:00")
JPY = Terms("JPY", Period.MONTH, "Asia/Tokyo")
VOICE, AUTH, FEED = (("demo", name) for name in ("voice", "auth", "feed"))
SPENT = Contribution(JPY, MONTH, Decimal(0))


class House:
    """Groups, the pools that they touched, and what the statuses have."""

    def __init__(self, statuses: dict[tuple[str, str], dict[str, Any]] | None = None) -> None:
        self.statuses = statuses or {}
        self.touched: list[str] = []
        self.groups = Groups(
            lambda _, __: self.statuses.items(), lambda key: self.touched.append(key[1])
        )

    def enter(self, pool: tuple[str, str], accrued: str, group: str = "pet", **fields: Any) -> Any:
        """Enter what a pool has spent; its total is returned, and its status is written."""
        entry = replace(SPENT, accrued=Decimal(accrued), **fields)
        shared = self.groups.enter(pool, group, entry)
        self.statuses[pool] = {
            "spec": {"timeZone": entry.terms.zone, "budget": {"group": group}},
            "status": {
                "cost": {
                    "currency": entry.terms.currency,
                    "period": entry.terms.period.value,
                    "periodEnd": entry.period_end.isoformat() if entry.period_end else None,
                    "accrued": f"{entry.accrued:.6f}",
                    "limit": None if entry.limit is None else str(entry.limit),
                    "group": {
                        "name": group,
                        "spent": f"{shared.total:.6f}",
                        "deleted": None if shared.deleted is None else f"{shared.deleted:.6f}",
                    },
                }
            },
        }
        return shared

    def delete(self, pool: tuple[str, str]) -> None:
        del self.statuses[pool]
        self.groups.delete(pool)

    def restart(self) -> "House":
        """The next operator: it has the statuses."""
        return House(self.statuses)


def test_the_pools_of_a_group_are_added_up_and_others_are_not():
    house = House()
    house.enter(VOICE, "10")
    house.enter(FEED, "5", group="other")
    assert house.enter(AUTH, "2.5").total == Decimal("12.5")
    assert house.enter(("team-b", "voice"), "1").total == 1


def test_a_pool_that_leaves_takes_its_money_along_and_a_deleted_one_leaves_it():
    house = House()
    house.enter(VOICE, "10")
    house.enter(AUTH, "2")
    house.groups.leave(VOICE)
    assert house.enter(AUTH, "2").total == 2
    house.enter(VOICE, "10")
    house.delete(VOICE)
    assert house.enter(AUTH, "3").total == 13
    assert house.enter(VOICE, "0").total == 13  # made again under its name


def test_a_new_period_begins_at_nothing_for_each_pool_as_it_comes():
    house = House()
    house.enter(VOICE, "10")
    house.enter(AUTH, "2")
    assert house.enter(VOICE, "0", period_end=NEXT).total == 0
    assert house.enter(AUTH, "2").total == 2
    assert house.enter(AUTH, "1", period_end=NEXT).total == 1


def test_what_a_deleted_pool_has_spent_survives_the_operator_in_one_status():
    house = House()
    for pool, spent in ((AUTH, "2"), (FEED, "1"), (VOICE, "10")):
        house.enter(pool, spent)
    house.delete(VOICE)
    assert house.touched == ["auth"]
    house.enter(AUTH, "2")
    stored = [s["status"]["cost"]["group"]["deleted"] for s in house.statuses.values()]
    assert stored == ["10.000000", None]
    assert house.restart().enter(FEED, "1").total == 13


def test_pools_that_disagree_are_not_added_and_each_is_told():
    house = House()
    house.enter(VOICE, "10")
    house.enter(AUTH, "2")
    dollars = house.enter(FEED, "5", terms=Terms("USD", Period.DAY, "UTC"))
    assert dollars.total == 5
    assert sorted(house.touched) == ["auth", "voice"]
    told = house.enter(VOICE, "10")
    assert told.total == 12
    assert told.disagreement == (
        "the pools of budget group pet do not agree (JPY a month in Asia/Tokyo; USD a day in UTC), "
        "and only those that do are added up: give all of them the same currency, period and "
        "timeZone"
    )
    house.touched.clear()
    assert house.enter(FEED, "1").total == 13
    assert sorted(house.touched) == ["auth", "voice"]
    assert house.enter(VOICE, "10").disagreement == ""


def test_a_pool_is_reconciled_when_the_others_pass_its_limit_or_four_fifths_of_it():
    house = House()
    house.enter(VOICE, "0", limit=Decimal(100))
    house.enter(AUTH, "0", limit=Decimal(50))
    for spent, expected in (
        ("39.9", []),
        ("40", ["auth"]),
        ("49", []),
        ("50", ["auth"]),
        ("80", ["voice"]),
        ("99", []),
        ("100", ["voice"]),
        ("45", ["auth", "voice", "voice"]),  # the limit may no longer be reached
    ):
        house.touched.clear()
        house.enter(FEED, spent)
        assert sorted(house.touched) == expected, spent


def test_an_entry_costs_the_same_in_a_group_of_a_thousand_pools():
    def seconds(pools: int) -> float:
        house = Groups()
        keys = [("demo", f"pool-{n:04}") for n in range(pools)]
        for key in keys:
            house.enter(key, "pet", replace(SPENT, limit=Decimal(10**9)))
        used = []
        for spent in range(1, 6):
            entry = replace(SPENT, accrued=Decimal(spent), limit=Decimal(10**9))
            begin = time.process_time()
            for n in range(200):
                house.enter(keys[n % pools], "pet", entry)
            used.append(time.process_time() - begin)
        return min(used)

    assert seconds(1000) < 5 * seconds(10)


_POOLS = st.sampled_from([VOICE, AUTH, FEED])
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["spend", "spend", "delete", "move", "restart"]),
        _POOLS,
        st.integers(0, 10**9),
    ),
    max_size=30,
)


@examples(200)
@given(_STEPS)
def test_no_money_is_lost_or_counted_twice(steps: list[tuple[str, tuple[str, str], int]]):
    house = House()
    ledgers: dict[tuple[str, str], Decimal] = {}
    groups: dict[tuple[str, str], str] = {}
    kept = {"pet": Decimal(0), "other": Decimal(0)}
    for what, pool, millionths in steps:
        if what == "restart":
            house = house.restart()
            for group in set(groups.values()):  # leading begins with all pools; one is enough
                one = max(name for name in groups if groups[name] == group)
                house.enter(one, str(ledgers[one]), group=group)
        elif what == "delete" and pool in ledgers:
            kept[groups[pool]] += ledgers.pop(pool)
            group = groups.pop(pool)
            house.delete(pool)
            here = sorted(one for one in groups if groups[one] == group)
            if not here:
                kept[group] = Decimal(0)
            else:  # it was touched
                house.enter(here[0], str(ledgers[here[0]]), group=group)
        elif what != "delete":
            before = groups.get(pool, "pet")
            groups[pool] = before if what == "spend" else {"pet": "other", "other": "pet"}[before]
            spent = ledgers.get(pool, Decimal(0)) + Decimal(millionths) / 10**6
            ledgers[pool] = spent
            total = house.enter(pool, str(spent), group=groups[pool]).total
            if before not in groups.values():
                kept[before] = Decimal(0)
            elif before != groups[pool]:  # the pool that stores what stays may be another one now
                heir = min(one for one in groups if groups[one] == before)
                house.enter(heir, str(ledgers[heir]), group=before)
            others = (ledgers[one] for one in ledgers if groups[one] == groups[pool])
            assert total == sum(others, kept[groups[pool]])
