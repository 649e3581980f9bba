"""A spent budget as an activator reads it: whom it turns away, and for how long."""

from datetime import timedelta

from rows import each

from kotatsu_operator.activator.pool import retry_while_starting, spent_budget
from kotatsu_operator.core.pool.memory import Phase
from tests.operator.core.values import HOUR, SECOND, t

COST = {"currency": "JPY", "limit": "3000"}
SPENT = {
    "period": "Month",
    "exhaustedAt": "2026-11-25T08:00:00Z",
    "periodEnd": "2026-11-25T12:00:00Z",
}
SPEC = {"budget": {"limit": "3000"}}
WARM = {"mode": "Warm", "until": "2026-11-25T11:30:00+00:00"}


def seconds(now="11:59", phase=Phase.ASLEEP, *, cost=COST, inner=SPENT, **spec):
    spent = spent_budget(SPEC | spec, {"cost": cost, "internal": {"cost": inner}})
    return 0 if spent is None else spent.retry_after(phase, t(now))


SLEEP = {"limit": "3000", "onExhausted": "Sleep"}
WARNS = {"limit": "3000", "onExhausted": "Warn"}
UNREADABLE = [{"mode": "Warm", "until": until} for until in ("soon", "2026-11-25T11:30:00")]


@each(
    "why, now, how, refused",
    [
        ("a sleeping pool is refused until its period ends", "11:59", {}, 60),
        ("to the whole second", "11:59:59.5", {}, 1),
        ("also while it goes to sleep", "11:59", {"phase": Phase.SLEEPING}, 60),
        ("an hour at most", "03:00", {}, HOUR / SECOND),
        ("in the next period nobody is", "12:00", {}, 0),
        ("whatever the operator says", "13:00", {}, 0),
        *(("nor where there are pods", "11:59", {"phase": phase}, 0)
          for phase in (Phase.WARMING, Phase.WARM, Phase.DRAINING)),
        ("a budget that only warns refuses nobody", "11:59", {"budget": WARNS}, 0),
        ("nor one that was raised", "11:59", {"budget": {"limit": "4000"}}, 0),
        ("nor one without a limit", "11:59", {"budget": {}}, 0),
        ("a limit may be written otherwise", "11:59", {"budget": {"limit": "3000.00"}}, 60),
        *(("a status without it says nothing", "11:59", how, 0)
          for how in ({"cost": {}}, {"cost": 3}, {"inner": {}}, {"inner": [3]},
                      {"inner": SPENT | {"exhaustedAt": True}},
                      {"inner": SPENT | {"periodEnd": "soon"}})),
        ("a warm override is served", "11:29", {"override": WARM}, 0),
        ("until it ends", "11:31", {"override": WARM}, 29 * 60),
        ("not where the budget puts to sleep", "11:29", {"override": WARM, "budget": SLEEP}, 1860),
        *(("nor one that cannot be read", "11:29", {"override": asked}, 1860)
          for asked in UNREADABLE),
    ],
)  # fmt: skip
def test_a_spent_budget_refuses_for_so_many_seconds(why, now, how, refused):
    assert seconds(now, **how) == refused, why


def test_a_warm_override_ends_when_the_operator_says():
    inner = {"cost": SPENT, "override": {"seenAt": "x"}}
    status = {"cost": COST, "overrideEndsAt": "2026-11-25T11:00:00Z", "internal": inner}
    spent = spent_budget(SPEC | {"override": WARM}, status)
    assert spent.warm_until == t("11:00")


def test_the_limit_is_told_in_words():
    spent = spent_budget(SPEC, {"cost": COST, "internal": {"cost": SPENT}})
    assert (spent.limit, spent.until - t("11:00")) == ("3000 JPY a month", timedelta(hours=1))


@each(
    "usual, began, seconds",
    [
        (None, "10:00:00", 5),
        (150.0, "10:00:00", 59),  # what is longer, some clients ignore
        (40.0, "09:59:50", 30),
        (40.4, "09:59:50", 31),
        (40.0, "09:59:00", 5),  # later than usual
    ],
)
def test_a_client_may_retry_after_what_is_left_of_the_start(usual, began, seconds):
    assert retry_while_starting(usual, t(began), t("10:00:00")) == seconds
