"""The accounts of pools in one budget group."""

from decimal import Decimal
from typing import Any

from kotatsu_operator.activator.cache.pool import spent_budget
from kotatsu_operator.controller.accounts import Account, Accounts
from kotatsu_operator.controller.groups import Groups
from kotatsu_operator.core.budget.groups import group_of, stored_group
from kotatsu_operator.core.budget.ledger import BilledPod
from kotatsu_operator.core.budget.limit import OnExhausted
from kotatsu_operator.core.pool.parse import parse
from kotatsu_operator.core.report.status import cost_status, worth_writing
from tests.operator.cluster import warm_pool
from tests.operator.core.values import t

PRICES = {"currency": "JPY", "prices": {"cpuHour": "60"}, "group": "pet"}


class House:
    """Pools, their statuses, and the accounts of the operator that leads."""

    def __init__(self) -> None:
        self.pools: dict[tuple[str, str], dict[str, Any]] = {}
        self.restart()

    def restart(self) -> None:
        self.touched: list[str] = []
        groups = Groups(self._members, lambda key: self.touched.append(key[1]))
        self.accounts = Accounts(groups=groups)

    def _members(self, _: str, group: str) -> list[tuple[tuple[str, str], dict[str, Any]]]:
        return [
            (key, pool)
            for key, pool in self.pools.items()
            if group in (group_of(pool), stored_group(pool))
        ]

    def add(self, name: str, zone: str = "UTC", **budget: Any) -> None:
        pool = warm_pool(name, timeZone=zone, budget=PRICES | budget)
        self.pools["demo", name] = pool

    def settle(self, name: str, at: str, cores: int = 0) -> Account:
        """Bring a pool's ledger up to a time; it has had one pod of so many cores since 08:00."""
        key = ("demo", name)
        pool = self.pools[key]
        bill = [BilledPod(t("08:00"), {"cpu": Decimal(cores)}, "a", t(at))] if cores else []
        account = self.accounts.settle(key, pool, parse(pool["spec"]), [], bill, t(at))
        pool["status"] = {"cost": cost_status(account.ledger), "conditions": account.conditions}
        return account


def house(**voice: Any) -> House:
    made = House()
    made.add("voice", limit="100", **voice)
    made.add("feed", limit="60", onExhausted="Sleep")
    for name in ("voice", "feed"):
        made.settle(name, "08:00")
    return made


def test_each_pool_of_a_group_acts_by_its_own_limit_on_the_sum():
    it = house()
    assert it.settle("voice", "09:00", cores=1).allowed.begins
    assert it.touched == ["feed", "feed"]  # 60 of 60, and more than 80 % of it
    feed = it.settle("feed", "09:00")
    assert (feed.ledger.accrued, feed.ledger.counted) == (0, 60)
    assert feed.allowed.sleeps
    assert feed.allowed.policy is OnExhausted.SLEEP
    assert [note.reason for note in feed.notes] == ["BudgetExhausted"]
    assert "60 JPY of budget group pet is reached" in feed.notes[0].message


def test_the_activator_reads_the_spent_budget_of_the_group_in_the_pools_status():
    it = house()
    it.settle("voice", "09:00", cores=1)
    it.settle("feed", "09:00")
    pool = it.pools["demo", "feed"]
    spent = spent_budget(pool["spec"], pool["status"])
    assert spent is not None
    assert spent.limit == "60 JPY a month of budget group pet"
    left = pool["spec"] | {
        "budget": {k: v for k, v in pool["spec"]["budget"].items() if k != "group"}
    }
    assert spent_budget(left, pool["status"]) is None


def test_the_next_operator_knows_when_the_limit_was_reached():
    it = house()
    it.settle("voice", "09:00", cores=1)
    before = it.settle("feed", "09:00").ledger.exhausted_at
    it.restart()
    after = it.settle("feed", "09:30")
    assert after.ledger.exhausted_at == before
    assert after.notes == ()


def test_what_others_spend_is_no_reason_to_write_the_status_of_a_sleeping_pool():
    it = house()
    status = it.pools["demo", "feed"]["status"]
    it.settle("voice", "08:10", cores=1)
    cost = {"cost": cost_status(it.settle("feed", "08:10").ledger)}
    assert cost["cost"]["group"]["spent"] == "10.000000"
    assert not worth_writing(cost, {"cost": status["cost"]}, quiet_too=True)


def test_a_deleted_pool_leaves_its_money_to_the_pool_that_stores_it():
    it = house()
    it.settle("voice", "08:10", cores=1)
    del it.pools["demo", "voice"]
    it.touched.clear()
    it.accounts.forget(("demo", "voice"))
    assert it.touched == ["feed"]
    assert it.settle("feed", "08:10").ledger.counted == 10
    it.restart()
    assert it.settle("feed", "08:20").ledger.counted == 10


def test_a_pool_that_leaves_is_on_its_own():
    it = house()
    it.settle("voice", "09:00", cores=1)
    del it.pools["demo", "feed"]["spec"]["budget"]["group"]
    feed = it.settle("feed", "09:00")
    assert feed.allowed.begins
    assert cost_status(feed.ledger)["group"] is None


def test_pools_that_disagree_say_so_and_keep_their_limits():
    it = house(period="Day")
    it.settle("voice", "08:00")
    voice = it.settle("voice", "09:00", cores=2)
    assert voice.conditions[0]["status"] == "False"  # its own 120 of 100
    feed = it.settle("feed", "09:00")
    assert feed.allowed.begins
    assert (feed.conditions[0]["status"], feed.conditions[0]["reason"]) == (
        "Unknown",
        "GroupDisagrees",
    )
    assert "JPY a day in UTC; JPY a month in UTC" in feed.conditions[0]["message"]
