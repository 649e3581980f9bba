"""The budget that the pools of a set share."""

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kotatsu_operator.core.budget.ledger import Ledger
from kotatsu_operator.core.pool.spec import Budget, Period
from kotatsu_operator.features.sets import purse as module
from kotatsu_operator.features.sets.purse import Purse

NOW = datetime(2030, 5, 15, 12, tzinfo=UTC)
MAY, JUNE, JULY = (datetime(2030, month, 1, tzinfo=UTC) for month in (5, 6, 7))
BUDGET = Budget(Decimal(100), Period.MONTH)


def ledger(accrued, start=MAY, end=JUNE, currency="JPY"):
    return Ledger(currency, start, Decimal(accrued), period_end=end)


def purse(**spent):
    made = Purse("JPY")
    made.turn(BUDGET, NOW)
    for uid, amount in spent.items():
        made.enter(uid, ledger(amount), NOW)
    return made


def again(made, *living):
    """What another operator reads of it, and of the pools that it finds."""
    read = Purse("JPY")
    read.turn(BUDGET, NOW)
    for uid in living:
        read.enter(uid, ledger(made.spent[uid]), NOW)
    read.recall({"internal": made.status}, NOW)
    return read


def test_a_pool_sees_what_all_others_have_spent():
    made = purse(one=5, two=7)
    assert (made.total, made.beside("one"), made.beside("two")) == (12, 7, 5)
    assert made.beside("new") == 12


def test_what_a_deleted_pool_has_spent_stays():
    made = purse(one=5, two=7)
    made.leave("one")
    assert (made.total, made.beside("two"), made.left) == (12, 5, 5)


def test_what_an_operator_does_not_find_any_more_was_deleted():
    made = again(purse(one=5, two=7), "two")
    assert (made.total, made.beside("two"), made.left) == (12, 5, 5)


def test_the_last_amount_of_a_pool_that_is_deleted_meanwhile_counts():
    made = purse(one=5, two=7)
    made.leave("one")
    made.enter("one", ledger(6), NOW)
    assert (made.total, made.beside("one"), made.left) == (13, 7, 6)


def test_a_ledger_that_is_older_than_the_last_one_is_no_other_pool():
    made = purse(one=5)
    made.enter("one", ledger(1), NOW)
    made.enter("one", ledger(5), NOW)
    assert made.total == 5


def test_a_new_period_begins_at_nothing_and_ledgers_of_the_last_one_do_not_count():
    made = purse(one=5)
    assert made.turn(BUDGET, JUNE)
    made.enter("one", ledger(9), JUNE)
    made.enter("two", ledger(2, JUNE, JULY), JUNE)
    assert made.total == 2
    assert not made.turn(BUDGET, JUNE + timedelta(days=3))


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "Pacific/Kiritimati", "Etc/GMT+12"])
def test_an_edit_of_the_time_zone_forgets_nothing_that_was_spent(zone):
    made = purse(one=5, two=7)
    made.leave("two")
    assert not made.turn(replace(BUDGET, zone=ZoneInfo(zone)), NOW)
    made.enter("one", ledger(6), NOW)
    assert (made.total, made.left) == (13, 7)


def test_amounts_of_two_currencies_are_never_added():
    made = purse(one=900)
    made.enter("two", ledger(1, currency="USD"), NOW)
    assert made.total == 900
    found = Purse("USD")
    found.turn(BUDGET, NOW)
    found.recall({"internal": made.status}, NOW)
    assert found.total == 0


def test_without_prices_nothing_is_spent():
    made = Purse("")
    made.turn(BUDGET, NOW)
    made.enter("one", Ledger(), NOW)
    assert made.total == 0


def test_a_sum_that_was_written_before_there_were_amounts_of_pools_is_not_counted():
    cost = {"periodStart": "2030-05-01T00:00:00Z", "accrued": "99999", "currency": "JPY"}
    for status in ({"cost": cost}, {"cost": cost, "internal": {"spent": "nonsense"}}):
        made = purse(one=5)
        made.recall(status, NOW)
        assert made.total == 5


def test_of_thousands_of_deleted_pools_the_oldest_are_added_up(monkeypatch):
    monkeypatch.setattr(module, "MOST_GONE", 1)
    made = purse(a=1, b=2, c=3, d=4)
    for uid in "cad":
        made.leave(uid)
    found = again(made, "b")
    assert (found.total, found.left, found.gone, found.spent) == (10, 8, {"d": 4}, {"b": 2})
    assert again(found, "b").total == 10


def test_a_limit_that_the_owner_of_a_pool_has_raised_does_not_raise_that_of_the_set():
    shared = replace(BUDGET, beside=Decimal(60))
    assert (shared.beside_own(Decimal(1000)).limit, shared.beside_own(Decimal(1000)).beside) == (
        1000,
        960,
    )
    assert shared.beside_own(Decimal(100)).beside == 60
    assert (shared.beside_own(Decimal(10)).limit, shared.beside_own(Decimal(10)).beside) == (10, 60)
    assert shared.beside_own(None).limit == 100


STEPS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["spend", "echo", "go"]), st.integers(0, 9)),
    max_size=40,
)


@given(STEPS)
def test_nothing_is_ever_lost_or_paid_twice(steps):
    """Whatever goes, comes again under its name, and is shown as it was."""
    made, spent, number = purse(), defaultdict(Decimal), dict.fromkeys("abc", 0)
    for name, what, amount in steps:
        uid = f"{name}{number[name]}"
        if what == "spend":
            spent[uid] += amount
        elif what == "echo":
            made.enter(uid, ledger(max(spent[uid] - amount, Decimal(0))), NOW)
        else:
            number[name] += 1
            made.leave(uid)
            there = (f"{n}{number[n]}" for n in "abc")
            made = again(made, *made.spent.keys() & set(there)) if amount % 2 else made
        made.enter(uid, ledger(spent[uid]), NOW)
        assert made.total == sum(spent.values())
        assert made.beside(uid) == made.total - spent[uid]
        there = [f"{n}{number[n]}" for n in "abc"]
        assert made.left == made.total - sum(spent[uid] for uid in there)
