"""`window add` and `window remove`: the entry that they write, and what they say about it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from plugin.kit import EVENINGS, NOW, PITCH, costing, once, pool
from rows import each

from kotatsu_demo_mode.entries import Edit, Request, adding, removing
from kotatsu_demo_mode.errors import DemoModeError

TEN = "2026-11-25T10:00"
LAST_SUNDAY_OF_MARCH = datetime(2026, 3, 27, tzinfo=UTC)
LAST_SUNDAY_OF_OCTOBER = datetime(2026, 10, 23, tzinfo=UTC)


def request(name: str = "final-pitch", lasting: str = "2h", **more: Any) -> Request:
    return Request(name, lasting, **({"at": TEN} | more if "schedule" not in more else more))


def added(now: datetime = NOW, status: Any = None, ask: Request | None = None, **spec: Any) -> Edit:
    return adding(pool(status=status, **spec), ask or request(replicas=5), now)


def evenings(lasting: str = "90m") -> Request:
    return request("rehearsal", lasting, schedule="0 18 * * 1-5", replicas=2)


@each(
    "ask, windows, made",
    [
        (request(replicas=5), [], PITCH),
        (request(at="2026-11-25T01:00:00Z", replicas=5), [], PITCH),
        (evenings(), [], EVENINGS),
        # Without replicas it has the most of any window.
        (request(), [EVENINGS], PITCH | {"replicas": 2}),
        (request(), [], PITCH | {"replicas": 1}),
    ],
)
def test_a_window_is_written_in_the_wall_clock_of_the_pools_zone(
    ask: Request, windows: list[Any], made: dict[str, Any]
):
    edit = added(ask=ask, windows=windows)
    assert (edit.verb, edit.value) == ("added", made)
    assert edit.after.raw["spec"]["windows"] == [*windows, made]


def test_other_windows_stay_as_they_are():
    evenings = EVENINGS | {"excludeDates": ["2026-12-31"]}
    assert added(windows=[evenings]).after.raw["spec"]["windows"] == [evenings, PITCH]


def test_the_same_window_again_changes_nothing():
    for windows in ([PITCH], [EVENINGS, PITCH]):
        edit = added(windows=windows)
        assert (edit.verb, edit.is_change, edit.notes) == ("unchanged", False, ())
        assert edit.after.raw["spec"]["windows"] == windows
    assert added(ask=evenings("1h30m"), windows=[EVENINGS]).verb == "unchanged"


def test_a_window_of_the_same_name_is_replaced_and_shown():
    edit = added(windows=[EVENINGS | {"name": "final-pitch"}])
    assert edit.verb == "replaced"
    assert edit.after.raw["spec"]["windows"] == [PITCH]
    assert edit.notes[0].startswith("replaces final-pitch, `0 18 * * 1-5` for 1h30m Asia/Tokyo")


@each(
    "ask, said",
    [
        # 5 pods at 1.84375 JPY an hour for two hours and the lead of a new pool, 68 s.
        (request(replicas=5), "10:00 to 12:00 Asia/Tokyo (in 4h), 5 pods, 18.61 JPY more"),
        (
            evenings(),
            "`0 18 * * 1-5` for 1h30m Asia/Tokyo, next 18:00, 2 pods, 123.22 JPY more in 30 days",
        ),
        (
            request(schedule="*/10 * * * *", lasting="1m", replicas=1),
            "`*/10 * * * *` for 1m Asia/Tokyo, now open, 1 pod, 9.44 JPY more in 1 day",
        ),
        (
            request(at="2099-02-28T10:00", replicas=5),
            "Sat 2099-02-28 10:00 to 12:00 Asia/Tokyo (in 26393d 4h), 5 pods, 18.61 JPY more",
        ),
        (
            request(at="2026-11-25T05:00", replicas=5),
            "05:00 to 07:00 Asia/Tokyo (now open), 5 pods, 9.22 JPY more",
        ),
    ],
)
def test_the_times_the_pods_and_the_price_are_said(ask: Request, said: str):
    assert added(ask=ask).notes[0] == f"{ask.name}, {said}"


def test_a_window_that_opens_before_its_pods_can_be_ready_is_said():
    begun, soon, later = (
        added(ask=request(at=f"2026-11-25T{at}", replicas=5)).notes[1:]
        for at in ("05:00", "06:01", "07:00")
    )
    assert begun == ["final-pitch is open already: its pods start now"]
    assert soon[0].startswith("final-pitch opens in 1m and its pods need about 1m 8s: ")
    assert later == []


def test_without_prices_it_says_that_the_price_is_unknown():
    assert added(priced=False).notes[0].endswith("5 pods, price unknown")


def test_pods_that_run_anyway_are_not_paid_twice():
    (note, overlap) = added(windows=[PITCH | {"name": "talk"}]).notes
    assert note.endswith("5 pods, 0.00 JPY more")
    assert overlap == "overlaps talk from 10:00: both need 5 pods, so no pods are added"


@each(
    "ask, window, said",
    [
        (
            request(replicas=5),
            once("talk", "2026-11-25T11:00", "2026-11-25T13:00", 2),
            "overlaps talk from 11:00: final-pitch wins, and talk (2 pods) adds none",
        ),
        (
            request(replicas=5),
            once("talk", "2026-11-25T11:00", "2026-11-25T13:00", 8),
            "overlaps talk from 11:00: talk wins with 8 pods",
        ),
        (
            request("night", "12h", schedule="0 8 * * *", replicas=5),
            EVENINGS,
            "overlaps rehearsal from 18:00: night wins, and rehearsal (2 pods) adds none",
        ),
        (request(replicas=5), once("talk", "2026-11-25T12:00", "2026-11-25T13:00", 9), None),
        (request("morning", "1h", schedule="0 8 * * *", replicas=5), EVENINGS, None),
    ],
)
def test_it_says_which_window_wins_an_overlap(
    ask: Request, window: dict[str, Any], said: str | None
):
    assert added(ask=ask, windows=[window]).notes[1:] == ([said] if said else [])


def test_of_many_overlaps_three_are_named():
    others = [PITCH | {"name": f"talk-{i}", "replicas": 1} for i in range(5)]
    notes = added(windows=others).notes
    assert len(notes) == 5
    assert notes[-1] == "overlaps 2 more windows"


def test_too_many_pods_are_refused_with_the_value_to_set():
    with pytest.raises(DemoModeError) as refused:
        added(ask=request(replicas=12))
    said = str(refused.value)
    assert "--replicas: 12 is more than 10, the maxReplicas of voice; use at most 10" in said
    assert """--type=merge -p '{"spec":{"maxReplicas":12}}'""" in said


@each(
    "more, sentence",
    [
        ({"at": "2026-11-24T10:00"}, r"a window at 2026-11-24T10:00 for 2h is over \(it is"),
        ({"at": "tomorrow"}, "--at: 'tomorrow' is not a time"),
        ({"lasting": "0s"}, "--for: 0s is not longer than 0"),
        ({"lasting": "long"}, "--for: 'long' is not a duration"),
        ({"at": "9999-12-31T10:00", "lasting": "48h"}, "ends after the year 9999"),
        ({"name": "x" * 64}, "name must have at most 63 characters"),
        ({"schedule": "0 18 1 * * *"}, "'0 18 1 \\* \\* \\*' is not a five-field cron schedule"),
    ],
)
def test_what_cannot_be_a_window_is_refused(more: dict[str, Any], sentence: str):
    with pytest.raises(DemoModeError, match=sentence):
        added(ask=request(**more))


def test_a_pool_that_is_full_is_refused_with_what_to_do():
    windows = [PITCH | {"name": f"w{i}"} for i in range(64)]
    with pytest.raises(DemoModeError, match="has 64 windows, the maximum of a pool; remove one"):
        added(windows=windows)
    assert added(windows=[*windows[:63], PITCH]).verb == "unchanged"


def test_a_start_that_clocks_skip_opens_at_the_end_of_the_gap():
    ask = request(at="2026-03-29T02:30", lasting="1h", replicas=1)
    edit = added(LAST_SUNDAY_OF_MARCH, ask=ask, timeZone="Europe/Berlin")
    assert edit.value is not None
    assert (edit.value["start"], edit.value["end"]) == ("2026-03-29T03:00", "2026-03-29T04:00")
    assert edit.notes[0] == (
        "the start does not exist on that day: clocks go forward, so the window opens at 03:00"
    )


def test_a_length_is_elapsed_time_also_when_clocks_change():
    ask = request(at="2026-03-29T01:00", lasting="2h", replicas=1)
    edit = added(LAST_SUNDAY_OF_MARCH, ask=ask, timeZone="Europe/Berlin")
    assert edit.value is not None
    assert edit.value["end"] == "2026-03-29T04:00"


def test_a_start_in_the_second_of_two_equal_hours_is_refused():
    ask = request(at="2026-10-25T02:30:00+01:00", replicas=1)
    with pytest.raises(
        DemoModeError, match="02:30 occurs twice on 2026-10-25 because clocks go back"
    ):
        added(LAST_SUNDAY_OF_OCTOBER, ask=ask, timeZone="Europe/Berlin")


def test_an_end_in_two_equal_hours_is_shown_as_it_will_be():
    ask = request(at="2026-10-25T01:00", lasting="90m", replicas=1)
    edit = added(LAST_SUNDAY_OF_OCTOBER, ask=ask, timeZone="Europe/Berlin")
    assert edit.notes[0] == (
        "clocks go back at its end: it closes after 2h 30m, when it is 02:30 again"
    )
    assert "Sun 2026-10-25 01:00 to 02:30 Europe/Berlin" in edit.notes[1]


COST = {"accrued": "95", "periodStart": "2026-10-31T15:00:00Z"}
PERIOD_END = "2026-11-30T15:00:00Z"
LEDGER = costing(COST, periodEnd=PERIOD_END)


def test_a_budget_that_would_be_spent_is_said():
    notes = added(status=LEDGER, budget={"limit": "100"}).notes
    (said,) = notes[1:]
    assert said == (
        "the budget would be spent: 113.61 JPY of 100.00 until Tue 2026-12-01 00:00, and "
        "spec.budget.onExhausted is BlockStarts; raise spec.budget.limit, or use fewer pods"
    )
    assert len(added(status=LEDGER, budget={"limit": "114"}).notes) == 1


def test_the_next_period_begins_with_nothing_spent():
    ask = request(at="2026-12-02T10:00", replicas=5)
    enough = added(ask=ask, status=LEDGER, budget={"limit": "100"})
    assert len(enough.notes) == 1
    spent = added(ask=ask, status=LEDGER, budget={"limit": "10"})
    assert spent.notes[1].startswith("the budget would be spent: 18.61 JPY of 10.00 until")


def test_a_spent_budget_keeps_the_window_closed():
    spent = costing(COST, periodEnd=PERIOD_END, exhaustedAt="2026-11-20T00:00:00Z")
    notes = added(status=spent, budget={"limit": "90"}).notes
    assert notes[1].startswith("final-pitch does not open: the limit of 90 JPY is reached")


def test_what_keeps_the_pool_asleep_is_said():
    asleep = {"mode": "Asleep", "until": "2026-11-25T04:00:00Z"}
    assert "an override (Asleep) keeps the pool asleep until 13:00" in added(override=asleep).notes
    assert any("voice is suspended" in note for note in added(suspend=True).notes)


def test_a_window_is_removed_alone():
    edit = removing(pool(windows=[PITCH, EVENINGS]), "final-pitch", NOW)
    assert (edit.verb, edit.value, edit.after.raw["spec"]["windows"]) == (
        "removed",
        None,
        [EVENINGS],
    )
    assert edit.notes == [
        "removes final-pitch, 10:00 to 12:00 Asia/Tokyo (in 4h), 5 pods, 18.61 JPY less"
    ]


def test_a_window_that_is_over_or_open_is_said():
    over = PITCH | {"start": "2026-11-20T10:00", "end": "2026-11-20T12:00"}
    (note,) = removing(pool(windows=[over]), "final-pitch", NOW).notes
    assert note.endswith("5 pods; it is over")
    current = PITCH | {"start": "2026-11-25T05:00"}
    notes = removing(pool(windows=[current]), "final-pitch", NOW).notes
    assert notes[1] == "final-pitch is open: its pods end when the pool is idle"


# --- parked pods ---


def test_a_window_may_ask_for_parked_pods_at_their_price():
    # 5 pods at 0.25125 JPY an hour for two hours; for the lead before it they cost 1.84375.
    edit = added(ask=request(replicas=5, parked=True))
    assert edit.value == PITCH | {"mode": "Parked"}
    assert edit.notes == [
        "final-pitch, 10:00 to 12:00 Asia/Tokyo (in 4h), 5 pods, parked, 2.69 JPY more"
    ]


def test_a_warm_window_beside_a_parked_one_says_that_all_pods_are_warm():
    windows = [
        EVENINGS | {"name": "all-day", "schedule": "0 8 * * *", "duration": "9h", "mode": "Parked"}
    ]
    notes = added(windows=windows, parkedFor="1h").notes
    assert any(n.endswith("; while both are open, all pods are warm") for n in notes)


def test_pods_that_cannot_be_parked_are_said_to_be_warm():
    failed = {"type": "ParkingWorks", "status": "False", "reason": "Guaranteed"}
    ask = request(replicas=5, parked=True)
    notes = added(status={"conditions": [failed]}, ask=ask, parkedFor="1h").notes
    assert "its pods cannot be parked (condition ParkingWorks): they are warm" in notes
    assert notes[0].endswith("5 pods, parked, 18.61 JPY more")
