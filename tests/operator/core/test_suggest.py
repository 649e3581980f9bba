"""What weeks of use say about a pool's settings."""

from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from rows import each

from kotatsu_operator.core.calendar.schedule import Window
from kotatsu_operator.core.report.usage import WEEK as SLOTS_OF_A_WEEK
from kotatsu_operator.core.report.usage import Usage
from kotatsu_operator.core.suggest import (
    Proposal,
    RelativePrices,
    Settings,
    by_rule,
    learned,
    past_of,
    propose,
)
from tests.operator.core.values import HOUR, MINUTE, pool_spec, utc
from tests.operator.core.weeks import BEGIN, WEEK, App, app, replayed, usage_of

PARKED, NOT_PARKED = RelativePrices(0.136), RelativePrices(1.0)
TODAY = Settings(2 * MINUTE)
RULE = Settings(timedelta(seconds=30), 2.5 * HOUR)


def recorded(one: App, weeks: int = 8) -> Usage:
    end = BEGIN + weeks * WEEK
    return usage_of(one.between(BEGIN, end), BEGIN, end)


def proposed(one: App, *, weeks=8, today=TODAY, prices=PARKED, spec=None) -> Proposal | None:
    return propose(past_of(recorded(one, weeks)), today, spec or one.spec, prices)


def rows(proposal: Proposal) -> list[str | None]:
    """The schedules of a proposal."""
    return [window.schedule for window in proposal.settings.windows] if proposal.settings else []


def test_the_rule_is_the_price_of_a_cold_start_over_that_of_a_kept_minute():
    assert by_rule(TODAY, PARKED) == RULE
    assert by_rule(TODAY, NOT_PARKED) == Settings(30 * MINUTE)
    assert by_rule(TODAY, RelativePrices(0.05)).kept == 6.5 * HOUR


@each("kind", ["office", "shop", "nightly", "weekend"])
def test_regular_use_gets_few_windows_with_fewer_cold_starts_than_the_rule(kind):
    found = proposed(app(kind, 8, 1))
    assert 1 <= len(rows(found)) <= 4
    assert all(window.parked and window.replicas == 1 for window in found.settings.windows)
    assert found.proposed.cold_starts < found.rule.cold_starts / 2
    assert found.proposed.hours < found.rule.hours * 1.1
    assert (found.learned_weeks, found.held_out_weeks) == (4, 4)


def test_without_parking_the_windows_are_warm_where_they_pay():
    found = proposed(app("nightly", 8, 1), prices=NOT_PARKED)
    assert [window.parked for window in found.settings.windows] == [False]
    assert found.settings.kept == timedelta()
    assert found.proposed.cold_starts < 1


def test_an_app_that_nobody_uses_gets_no_proposal():
    assert proposed(app("never", 8, 1)).settings is None


def test_an_app_that_is_always_used_gets_no_windows():
    found = proposed(app("always", 8, 1))
    assert found.settings is None
    assert found.today.hours > 166


@each("seed", range(6))
def test_random_use_gets_no_window_that_chance_has_made(seed):
    found = proposed(app("random", 8, seed), today=RULE)
    assert rows(found) == []
    assert found.proposed.cost(PARKED) <= found.rule.cost(PARKED)


def test_a_timer_each_seven_minutes_gets_the_rule_and_no_windows():
    found = proposed(app("timer", 8, 1))
    assert found.settings == RULE
    assert found.proposed.cold_starts < 1 < 500 < found.today.cold_starts


def test_a_week_off_in_the_weeks_that_are_tested_leaves_the_rule_or_the_same_windows():
    at_work, off = proposed(app("office", 8, 3)), proposed(app("holiday", 8, 3))
    assert rows(off) in ([], rows(at_work))
    assert off.settings is not None
    assert off.proposed.cost(PARKED) < off.today.cost(PARKED)


def test_the_rows_are_in_the_pools_zone_wherever_its_people_are():
    one = app("nightly", 8, 1, zone="America/New_York")  # clocks go back on 1 November
    here = proposed(one)
    elsewhere = proposed(one, spec=pool_spec(timeZone="Asia/Tokyo"))
    assert rows(here) != rows(elsewhere)
    hour = int(rows(here)[0].split()[1])
    assert int(rows(elsewhere)[0].split()[1]) == (hour + 13) % 24
    assert elsewhere.proposed.cold_starts <= here.proposed.cold_starts + 2


def test_three_weeks_are_enough_and_less_are_not():
    one = app("office", 8, 1)
    assert proposed(one, weeks=2) is None
    found = proposed(one, weeks=3)
    assert (found.learned_weeks, found.held_out_weeks) == (2, 1)
    assert found.settings is not None
    assert propose(past_of(Usage()), TODAY, one.spec, PARKED) is None


def test_time_that_is_not_known_is_neither_use_nor_idleness():
    one = app("nightly", 8, 1)
    usage = recorded(one)
    # The operator was away on each Sunday.
    away = sum(((1 << 288) - 1) << week * SLOTS_OF_A_WEEK for week in range(8))
    used = usage.used & ~away
    busy = usage.busy * (used.bit_count() / usage.used.bit_count())
    partly = Usage(usage.last, used, usage.known & ~away, busy)
    found, whole = propose(past_of(partly), TODAY, one.spec, PARKED), proposed(one)
    assert rows(found) == rows(whole)
    assert found.today.cold_starts == pytest.approx(whole.today.cold_starts, rel=0.05)
    assert found.today.hours == pytest.approx(whole.today.hours, rel=0.05)
    # Of three weeks, half of one is too much.
    few = recorded(one, 3)
    known = few.known & ~((1 << SLOTS_OF_A_WEEK // 2) - 1)
    assert (
        propose(past_of(Usage(few.last, few.used & known, known)), TODAY, one.spec, PARKED) is None
    )


def test_windows_of_people_stay_and_those_of_a_proposal_are_proposed_anew():
    zone = ZoneInfo("Asia/Tokyo")
    mine = Window("use-1", 3, schedule="0 12 * * 3", duration=HOUR)
    pitch = Window("pitch", 1, start=utc("2026-12-18T10:00").replace(tzinfo=None),
                   end=utc("2026-12-18T12:00").replace(tzinfo=None))  # fmt: skip
    backup = Window("backup", 1, schedule="0 3 * * *", duration=HOUR)
    old = Window("use-2", 1, schedule="0 3 * * *", duration=HOUR)
    today = Settings(2 * MINUTE, windows=(mine, pitch, backup, old))
    found = proposed(app("office", 8, 4, zone=zone.key), today=today)
    assert found.by_rule.windows == (mine, pitch, backup)
    assert found.settings.windows[:3] == (mine, pitch, backup)
    assert found.settings.windows[3].name == "use-2"
    assert old not in found.settings.windows


def test_a_window_is_priced_with_all_its_pods():
    """520 hours of one pod in eight weeks, five times, and three times parked."""
    one = app("never", 8, 1)
    daily = Window("daily", 5, schedule="0 9 * * *", duration=timedelta(hours=65 / 7))
    few = Window("few", 2, schedule="0 10 * * *", duration=HOUR, parked=True)

    def hours(*windows: Window) -> float:
        return proposed(one, today=Settings(2 * MINUTE, windows=windows)).today.hours

    assert hours(replace(daily, replicas=1)) == pytest.approx(65, rel=0.01)
    assert hours(daily) == pytest.approx(5 * 65, rel=0.01)
    assert hours(replace(daily, parked=True)) == pytest.approx(5 * 65 * 0.136, rel=0.01)
    assert hours(daily, few) == hours(daily)


EACH_THREE_MINUTES = App(
    "poll",
    ZoneInfo("UTC"),
    [(BEGIN + n * 3 * MINUTE, BEGIN + (n * 3 + 0.02) * MINUTE) for n in range(8 * 7 * 480)],
)


def test_sleeps_within_ten_minutes_are_those_that_were_recorded():
    past = past_of(recorded(EACH_THREE_MINUTES))
    made = replayed(EACH_THREE_MINUTES, TODAY, BEGIN + WEEK, BEGIN + 1.1 * WEEK, 0.136)
    found = propose(past, TODAY, EACH_THREE_MINUTES.spec, PARKED, lambda *_: made)
    assert found.today == made
    assert found.today.cold_starts == pytest.approx(3360, rel=0.01)
    assert found.settings == RULE
    assert not found.rule.is_least


def every(minutes: float, times: int, first: int = 0) -> App:
    """Requests at equal distances, from the beginning of a week on."""
    begins = (BEGIN + first * WEEK + n * minutes * MINUTE for n in range(times))
    return App("poll", ZoneInfo("UTC"), [(at, at + MINUTE / 60) for at in begins])


def test_a_pool_that_requests_keep_awake_costs_what_was_recorded_and_gets_the_rule():
    one, today = every(4.7, int(8 * 7 * 1440 / 4.7)), Settings(4.8 * MINUTE)
    made = replayed(one, today, BEGIN + WEEK, BEGIN + 1.1 * WEEK, 0.136)
    assert made.hours == pytest.approx(168, rel=0.01)
    found = propose(past_of(recorded(one)), today, one.spec, PARKED, lambda *_: made)
    assert found.today.hours == made.hours
    assert found.settings == RULE
    assert found.proposed.cost(PARKED) < made.hours / 2


def test_fewer_than_ten_uses_are_no_habit():
    assert by_uses(9).settings is None
    assert by_uses(10).settings == by_uses(10).by_rule
    assert (by_uses(9).uses, by_uses(10).uses) == (9, 10)


def by_uses(many: int) -> Proposal:
    one = every(60, many, first=6)
    dear = Settings(2 * MINUTE)
    return propose(past_of(recorded(one)), dear, one.spec, RelativePrices(0.02))


def test_use_that_goes_on_for_days_counts_once_a_day():
    assert past_of(recorded(app("always", 3, 1), 3)).uses >= 21


def test_pods_that_an_autoscaler_adds_are_in_the_price_of_the_rule_too():
    one = app("office", 8, 1)
    rule = propose(past_of(recorded(one)), TODAY, one.spec, PARKED).rule
    three = propose(past_of(recorded(one)), TODAY, one.spec, replace(PARKED, awake=3.0)).rule
    parked = replayed(one, RULE, BEGIN + 4 * WEEK, BEGIN + 8 * WEEK, 0.136)
    assert three.hours > 1.5 * rule.hours
    assert three.cold_starts == rule.cold_starts == pytest.approx(parked.cold_starts, abs=1)


def test_without_a_record_the_figures_of_a_short_idle_after_are_the_least():
    found = proposed(EACH_THREE_MINUTES)
    assert found.today.is_least
    assert not found.rule.is_least
    assert not proposed(EACH_THREE_MINUTES, today=Settings(10 * MINUTE)).today.is_least


def test_a_habit_that_has_ended_is_not_proposed():
    """Of the four weeks that are held out the newest one has none of it: the mean is still good."""
    one = app("lunch", 8, 1)
    ended = App("ended", one.zone, one.between(BEGIN, BEGIN + 7 * WEEK))
    assert rows(proposed(one)) != []
    assert rows(proposed(ended)) == []


def test_a_habit_is_learned_once_more_from_all_weeks():
    one, base = app("office", 8, 1), replace(RULE, kept=30 * MINUTE)
    past = past_of(recorded(one))
    found = proposed(one)
    assert found.settings == learned(past, base, one.spec, PARKED)
    assert found.settings != learned(past.part(0, found.learned_weeks), base, one.spec, PARKED)


def test_settings_that_are_as_good_as_any_other_are_left_alone():
    one = app("office", 8, 1)
    first = proposed(one)
    assert proposed(one, today=first.settings).settings is None


def test_what_is_said_of_proposals_is_what_the_decisions_make_of_the_weeks_after():
    """`bench/suggest.py` does it for a whole cluster, and says how well."""
    begin, end = BEGIN + 8 * WEEK, BEGIN + 10 * WEEK
    rule, said, made = [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]
    for kind in ("office", "morning", "nightly"):
        one = app(kind, 10, 2)
        found = proposed(one, today=RULE)
        would = replayed(one, found.settings, begin, end, 0.136)
        for sums, part in ((rule, replayed(one, RULE, begin, end, 0.136)), (made, would)):
            sums[:] = sums[0] + part.cold_starts, sums[1] + part.hours
        said[:] = said[0] + found.proposed.cold_starts, said[1] + found.proposed.hours
    assert made[0] <= rule[0] * 0.71
    assert made[1] <= rule[1]
    assert made == pytest.approx(said, rel=0.25)
