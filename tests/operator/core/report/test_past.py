"""Reading a pool's past from statuses that somebody may have edited."""

from datetime import timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_operator.core.report.episodes import KEPT, StoredHistory, read_stored
from kotatsu_operator.core.report.past import pods_awake, read_past, recorded_week
from tests.operator.core.values import MINUTE, examples, t, utc

_TIMES = st.sampled_from(
    ["2026-11-25T09:00:00Z", "2026-11-25T10:30:00Z", "9999-12-31T00:00:00Z", "0002-01-01T00:00:00Z"]
)
_WORDS = st.sampled_from(["Window", "JPY", "1e31", "-3", "NaN", "0.5", "", "x" * 99])
_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | _TIMES | _WORDS
_NAMES = (
    "from", "to", "reason", "name", "replicas", "podSeconds", "wakes", "cold", "cost", "currency",
    "periodStart", "episodes",
)  # fmt: skip
_ITEMS = _VALUES | st.dictionaries(st.sampled_from(_NAMES), _VALUES)
_LISTS = _VALUES | st.lists(_ITEMS, max_size=4)
_HISTORIES = st.fixed_dictionaries(
    {}, optional={"since": _VALUES, "running": _ITEMS, "episodes": _LISTS, "earlier": _LISTS}
)


@examples(300)
@given(_HISTORIES | _VALUES, st.dictionaries(st.sampled_from(["at", "accrued", *_NAMES]), _VALUES))
def test_any_status_has_a_past(history, cost):
    status = {"internal": {"history": history}, "cost": cost}
    past = read_past(status, {"record": history}, t("08:00"), t("12:00"), t("11:00"))
    assert all(t("08:00") <= e.begin <= e.until <= t("12:00") for e in past.episodes)
    assert all(cost >= 0 for cost in past.costs.values())


def test_more_episodes_than_the_operator_writes_are_not_read():
    one = {"from": "2026-11-25T09:00:00Z", "to": "2026-11-25T10:00:00Z"}
    assert len(read_stored({}, {"record": {"episodes": [one] * (KEPT + 40)}}).finished) == KEPT
    assert read_stored({"internal": {"history": "none"}}, {"record": "none"}) == StoredHistory()


@each("since, wakes", {
    "ten days": ("2026-11-01T00:00:00Z", (3 + 14) * 7 / 10),
    "the nine that are recorded": ("2026-11-15T00:00:00Z", (3 + 12.6) * 7 / 9),
    "a day is too little": ("2026-11-23T00:00:00Z", None),
})  # fmt: skip
def test_the_wakes_of_a_week_are_those_of_episodes_and_a_share_of_older_sums(since, wakes):
    """From 14 to 24 November: an episode of three, and half of a sum of 28."""
    one = {"from": "2026-11-20T09:00:00Z", "to": "2026-11-20T10:00:00Z", "wakes": 3}
    before = one | {"from": "2026-11-09T09:00:00Z", "to": "2026-11-09T10:00:00Z"}
    sums = {"from": "2026-11-04T00:00:00Z", "to": "2026-11-24T00:00:00Z", "wakes": 28}
    record = {"since": since, "episodes": [before, one], "earlier": [sums]}
    begin, end = utc("2026-11-14T00:00"), utc("2026-11-24T00:00")
    found = recorded_week(read_stored({}, {"record": record}), begin, end, end, 1.0, {})
    assert (found and found.wakes) == wakes


DAY = {"from": "2026-11-20T00:00:00Z", "to": "2026-11-21T00:00:00Z", "podSeconds": 86400}
SUM = {"from": "2026-11-15T00:00:00Z", "to": "2026-11-17T00:00:00Z", "podSeconds": 2 * 86400}
IN_YEN = {"currency": "JPY", "periodStart": "2026-11-01T00:00:00Z"}


@each("episodes, sums, hours", {
    "a warm day": ([DAY], [], 24),
    "a parked day": ([DAY | {"reason": "Parked"}], [], 6),
    "a day of which half lies before": ([DAY | {"from": "2026-11-13T12:00:00Z",
                                                "to": "2026-11-14T12:00:00Z"}], [], 12),
    "a sum has the pods of its cost": ([], [SUM | IN_YEN | {"cost": "40"}], 20),
    "a sum without a cost is parked like the episodes": ([DAY | {"reason": "Parked"}], [SUM], 18),
    "a sum in another currency too": ([DAY], [SUM | IN_YEN | {"currency": "USD", "cost": "1"}], 72),
})  # fmt: skip
def test_the_pod_hours_of_a_week_are_those_that_were_recorded(episodes, sums, hours):
    record = {"since": "2026-11-01T00:00:00Z", "episodes": episodes, "earlier": sums}
    begin, end = utc("2026-11-14T00:00"), utc("2026-11-21T00:00")
    read = read_stored({}, {"record": record})
    assert recorded_week(read, begin, end, end, 0.25, {"JPY": Decimal(2)}).hours == hours


def test_the_running_episode_counts_up_to_now():
    running = {"from": "2026-11-20T00:00:00Z", "reason": "Request", "podSeconds": 36000}
    status = {"internal": {"history": {"since": "2026-11-01T00:00:00Z", "running": running}}}
    begin, end, now = utc("2026-11-13T12:00"), utc("2026-11-20T12:00"), utc("2026-11-21T00:00")
    assert recorded_week(read_stored(status, None), begin, end, now, 1.0, {}).hours == 5


def test_the_pods_of_an_awake_pool_are_those_of_its_requests():
    three = DAY | {"reason": "Request", "podSeconds": 3 * 86400}
    record = {"episodes": [DAY | {"reason": "Parked"}, three]}
    assert pods_awake(read_stored({}, {"record": record})) == 3
    assert pods_awake(StoredHistory()) == 1


PAID = {"currency": "JPY", "periodStart": "2026-11-25T00:00:00Z", "cost": "1.000001"}


@each("middle, end, shares", {
    "an episode is shared": ("09:20", "10:00", ([20 * MINUTE], [40 * MINUTE])),
    "one of no length is in one of them": ("09:00", "09:00", ([], [timedelta()])),
})  # fmt: skip
def test_two_ranges_that_touch_have_each_minute_once(middle, end, shares):
    one = {"from": "2026-11-25T09:00:00Z", "to": f"2026-11-25T{end}:00Z", **PAID}
    history = {"record": {"since": "2026-11-25T08:00:00Z", "episodes": [one]}}
    ranges = (t("08:00"), t(middle)), (t(middle), t("11:00"))
    pasts = [read_past({}, history, *times, t("11:00")) for times in ranges]
    assert tuple([e.until - e.begin for e in past.episodes] for past in pasts) == shares
    assert sum(past.costs.get("JPY", 0) for past in pasts) == Decimal("1.000001")
