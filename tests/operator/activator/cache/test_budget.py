"""A spent budget as an activator reads it: whom it turns away, and for how long."""

from datetime import timedelta

import pytest

from kotatsu_operator.activator.cache.pool import spent_budget
from kotatsu_operator.core.pool.memory import Phase
from tests.operator.core.values import HOUR, SECOND, t

COST = {
    "currency": "JPY",
    "period": "Month",
    "limit": "3000",
    "exhausted": True,
    "periodEnd": "2026-11-25T12:00:00Z",
}
SPEC = {"budget": {"limit": "3000"}}
WARM = {"mode": "Warm", "until": "2026-11-25T11:30:00+00:00"}


def seconds(now="11:59", phase=Phase.ASLEEP, *, cost=COST, **spec):
    spent = spent_budget(SPEC | spec, {"cost": cost})
    return 0 if spent is None else spent.retry_after(phase, t(now))


def test_a_sleeping_pool_is_refused_until_its_period_ends():
    assert seconds() == 60
    assert seconds(phase=Phase.SLEEPING) == 60
    assert seconds("11:59:59.5") == 1


def test_nobody_is_sent_away_for_more_than_an_hour():
    assert seconds("03:00") == HOUR / SECOND


def test_in_the_next_period_nobody_is_refused_even_if_the_operator_has_not_said_so():
    assert seconds("12:00") == seconds("13:00") == 0


@pytest.mark.parametrize("phase", [Phase.WARMING, Phase.WARM, Phase.DRAINING])
def test_who_comes_while_there_are_pods_is_held_as_always(phase):
    assert seconds(phase=phase) == 0


@pytest.mark.parametrize(
    "budget",
    [
        {"limit": "3000", "onExhausted": "Warn"},
        {"limit": "4000"},
        {},
    ],
    ids=["only warns", "raised since", "no limit any more"],
)
def test_a_budget_that_forbids_nothing_refuses_nobody(budget):
    assert seconds(budget=budget) == 0


def test_a_limit_may_be_written_in_several_ways():
    assert seconds(budget={"limit": "3000.00"}) == 60


@pytest.mark.parametrize("cost", [{}, COST | {"exhausted": False}, {"exhausted": True}])
def test_a_status_that_says_nothing_of_it_refuses_nobody(cost):
    assert seconds(cost=cost) == 0


def test_a_warm_override_is_served_until_it_ends():
    assert seconds("11:29", override=WARM) == 0
    assert seconds("11:31", override=WARM) > 0


def test_a_warm_override_does_not_help_where_the_budget_puts_to_sleep():
    budget = {"limit": "3000", "onExhausted": "Sleep"}
    assert seconds("11:29", override=WARM, budget=budget) > 0


def test_a_warm_override_ends_when_the_operator_says():
    status = {"cost": COST, "override": {"seenAt": "x", "endsAt": "2026-11-25T11:00:00Z"}}
    spent = spent_budget(SPEC | {"override": WARM}, status)
    assert spent.warm_until == t("11:00")


@pytest.mark.parametrize("until", ["soon", "2026-11-25T11:30:00"])
def test_an_override_nobody_can_read_is_none(until):
    assert seconds("11:29", override={"mode": "Warm", "until": until}) > 0


def test_the_limit_is_told_in_words():
    spent = spent_budget(SPEC, {"cost": COST})
    assert (spent.limit, spent.until - t("11:00")) == ("3000 JPY a month", timedelta(hours=1))
