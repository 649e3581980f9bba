"""The budget that the pools of a set share."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.formats import stamp
from kotatsu_operator.core.pool.spec import Budget, Period
from kotatsu_operator.features.sets.purse import Purse

NOW = datetime(2030, 5, 15, 12, tzinfo=UTC)
MAY, JUNE, JULY = (datetime(2030, month, 1, tzinfo=UTC) for month in (5, 6, 7))
BUDGET = Budget(Decimal(100), Period.MONTH)
ONE, TWO = ("shop", "one"), ("shop", "two")


def ledger(accrued, start=MAY, end=JUNE, currency="JPY"):
    return Ledger(currency, start, Decimal(accrued), period_end=end)


def purse(**spent):
    made = Purse()
    made.turn(BUDGET, ZoneInfo("UTC"), NOW)
    for name, amount in spent.items():
        made.enter(("shop", name), ledger(amount))
    return made


def test_a_pool_sees_what_all_others_have_spent():
    made = purse(one=5, two=7)
    assert (made.total, made.beside(ONE), made.beside(TWO)) == (12, 7, 5)
    assert made.beside(("shop", "new")) == 12


def test_what_a_deleted_pool_has_spent_stays():
    made = purse(one=5, two=7)
    made.leave(ONE)
    assert (made.total, made.beside(TWO), made.gone) == (12, 5, 5)


def test_a_pool_that_was_made_again_begins_at_nothing_and_the_former_one_stays_paid():
    made = purse(one=5)
    made.enter(ONE, ledger(1))
    assert (made.total, made.beside(ONE)) == (6, 5)


def test_a_new_period_begins_at_nothing_and_ledgers_of_the_last_one_do_not_count():
    made = purse(one=5)
    assert made.turn(BUDGET, ZoneInfo("UTC"), JUNE)
    made.enter(ONE, ledger(9))
    made.enter(TWO, ledger(2, JUNE, JULY))
    assert made.total == 2
    assert not made.turn(BUDGET, ZoneInfo("UTC"), JUNE + timedelta(days=3))


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "Pacific/Kiritimati", "Etc/GMT+12"])
def test_an_edit_of_the_time_zone_forgets_nothing_that_was_spent(zone):
    made = purse(one=5, two=7)
    made.leave(TWO)
    assert not made.turn(BUDGET, ZoneInfo(zone), NOW)
    made.enter(ONE, ledger(6))
    assert (made.total, made.gone) == (13, 7)


@pytest.mark.parametrize("period", Period)
@pytest.mark.parametrize("hours", [-14, 12])
def test_a_pool_whose_owner_has_set_another_time_zone_pays_as_well(period, hours):
    counted = 0
    for periods in range(-2, 3):
        made = Purse()
        made.turn(Budget(Decimal(100), period), ZoneInfo("UTC"), NOW)
        start, end = made.period
        ends = end + periods * (end - start) + timedelta(hours=hours)
        made.enter(ONE, replace(ledger(5, end=ends), period=period))
        counted += made.total
    assert counted == 5


def test_amounts_of_two_currencies_are_never_added():
    made = purse(one=900, two=900)
    assert made.turn(BUDGET, ZoneInfo("UTC"), NOW, "USD")
    made.enter(ONE, ledger(1, currency="USD"))
    made.enter(TWO, ledger(900))  # the status that another operator has written
    made.recall({"cost": {"periodStart": stamp(MAY), "accrued": "1800", "currency": "JPY"}})
    assert (made.total, made.currency) == (1, "USD")


def test_without_prices_nothing_is_spent():
    made = purse()
    made.enter(ONE, Ledger())
    assert made.total == 0


def test_what_was_spent_by_pools_that_went_without_an_operator_is_missing_of_the_total():
    made = purse(two=7)
    cost = {"periodStart": stamp(MAY), "accrued": "12", "currency": "JPY"}
    made.recall({"cost": cost})
    assert (made.gone, made.total) == (5, 12)
    made.recall({"cost": cost})
    assert made.total == 12


def test_the_total_of_another_period_is_not_recalled():
    made = purse(two=7)
    april = {"periodStart": "2030-04-01T00:00:00Z", "accrued": "99", "currency": "JPY"}
    made.recall({"cost": april})
    made.recall({"cost": {"accrued": "nonsense"}})
    assert made.total == 7


def test_a_limit_that_the_owner_of_a_pool_has_raised_does_not_raise_that_of_the_set():
    shared = BUDGET.shared_with(Decimal(1000), Decimal(60), "WarmPoolSet previews")
    assert (shared.limit, shared.beside) == (1000, 960)
    assert BUDGET.shared_with(Decimal(100), Decimal(60), "").beside == 60
    assert BUDGET.shared_with(Decimal(10), Decimal(60), "").beside == 60
    assert BUDGET.shared_with(None, Decimal(60), "").limit == 100


STEPS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["spend", "go"]), st.integers(0, 9)),
    max_size=40,
)


@given(STEPS)
def test_nothing_is_ever_lost_or_paid_twice(steps):
    made, spent, living = purse(), Decimal(0), dict[str, Decimal]()
    for name, what, amount in steps:
        if what == "spend":
            living[name] = living.get(name, Decimal(0)) + amount
            spent += amount
            made.enter(("shop", name), ledger(living[name]))
        else:
            living.pop(name, None)
            made.leave(("shop", name))
        assert made.total == spent
        assert all(made.beside(("shop", n)) == spent - living.get(n, 0) for n in "abc")
