"""What is written into a WarmPool's status, and read back after a restart."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from rows import each

from kotatsu_operator.core.budget.ledger import Ledger, Spent
from kotatsu_operator.core.formats import stamp
from kotatsu_operator.core.pool.decision import Decision, Observation
from kotatsu_operator.core.pool.memory import (
    Announced,
    Contest,
    KnownOverride,
    Memory,
    Opening,
    Original,
    Parts,
    Phase,
    Process,
    Reason,
    Route,
    Routing,
    Tally,
    Template,
    Trend,
    WarmUp,
)
from kotatsu_operator.core.pool.news import Transition
from kotatsu_operator.core.pool.spec import Period
from kotatsu_operator.core.report.status import (
    decided_status,
    left_status,
    memory_status,
    read_ledger,
    read_memory,
    worth_writing,
)
from tests.operator.core.values import examples, kept_in_status, override, pool_spec, t

SPEC = pool_spec()
OVERRIDDEN = pool_spec(override=override("Asleep", t("12:00"), by="ada"))
SEEN = Observation(replicas=2, ready=2, pods=2, acknowledged=1)


def stored(status):
    """A status as the API server hands it out again: JSON, without what was None."""

    def without_none(value):
        if isinstance(value, dict):
            return {k: without_none(v) for k, v in value.items() if v is not None}
        return value

    return json.loads(json.dumps(without_none(status)))


# --- there and back ---

_TIMES = st.integers(-(10**14), 10**14).map(lambda us: t("10:00") + timedelta(microseconds=us))
_MAYBE = st.none() | _TIMES
_WARM_UPS = st.builds(
    WarmUp,
    seconds=st.integers(0, 10**7).map(lambda ms: ms / 1000),
    replicas=st.integers(1, 100),
    template=st.sampled_from(["", "a1b2"]),
    parts=st.none() | st.builds(Parts, *[st.integers(0, 900).map(float)] * 4),
)
_CONTESTS = st.builds(
    Contest, by=st.just("helm"), written_at=_MAYBE, seen_at=_TIMES, count=st.integers(1, 9)
)
_ORIGINALS = st.builds(Original, name=st.just("voice"), min_replicas=st.integers(0, 9))
_OPENINGS = st.builds(
    Opening,
    window=st.sampled_from(["demo", "pitch"]),
    at=_TIMES,
    ready_at=_MAYBE,
    cold=...,
    replicas=st.integers(0, 9),
    excused=...,
)
_MEMORIES = st.builds(
    Memory,
    phase=st.sampled_from(Phase),
    reason=st.sampled_from(Reason),
    since=_TIMES,
    route=st.builds(Routing, st.sampled_from(Route), st.integers(0, 10**6)),
    announced=st.builds(Announced, _TIMES, _MAYBE),
    template=st.builds(Template, st.sampled_from(["", "a1b2"]), st.booleans()),
    last_active=_MAYBE,
    unknown_since=_MAYBE,
    raised_at=_MAYBE,
    warm_ups=st.lists(_WARM_UPS, max_size=4).map(tuple),
    opening=st.none() | _OPENINGS,
    first_start=st.sampled_from([60, 240]).map(lambda seconds: timedelta(seconds=seconds)),
    lead=st.integers(0, 90_000).map(lambda seconds: timedelta(seconds=seconds)),
    original=st.none() | _ORIGINALS,
    contest=st.none() | _CONTESTS,
    found=st.integers(0, 9),
    keeps_one=st.booleans(),
    woken_soon=st.integers(0, 9),
    ahead=st.integers(0, 900).map(lambda seconds: timedelta(seconds=seconds)),
    windows=st.builds(Tally, st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)),
    process=st.builds(
        Process,
        acknowledged_at=_MAYBE,
        looked_at=_MAYBE,
        trend=st.just(Trend(((t("10:00"), 2),), ((t("10:00"), 3),))),
    ),
)


@given(memory=_MEMORIES, seen=_MAYBE, done=st.booleans())
@examples(100)
def test_a_restarted_operator_finds_its_memory_and_has_nothing_to_write(memory, seen, done):
    spec = SPEC if seen is None else OVERRIDDEN
    if seen is not None:
        key = OVERRIDDEN.override.key
        memory = replace(memory, override=KnownOverride(key, seen, done))
    status = stored(memory_status(memory, spec))
    found = read_memory(status, Memory())
    assert found == kept_in_status(memory)
    again = memory_status(found, spec)
    assert stored(again) == status
    assert not worth_writing(again, status, quiet_too=True)


@given(memory=_MEMORIES)
@examples(40)
def test_an_operator_that_runs_on_forgets_nothing(memory):
    status = stored(memory_status(memory, SPEC))
    assert read_memory(status, memory) == memory


def test_a_pool_without_a_status_leaves_the_memory_as_it_is():
    known = Memory(phase=Phase.WARM, since=t("10:00"))
    assert read_memory({}, known) == known
    assert read_memory({"demand": {"at": "2026-11-25T10:00:00Z"}}, known) == known


@each("elsewhere", [
    {"phase": Phase.ASLEEP}, {"route": Routing(epoch=8)},
    {"phase": Phase.WARMING, "route": Routing(epoch=8)},
])  # fmt: skip
def test_when_the_status_has_moved_on_what_only_the_process_knew_is_dropped(elsewhere):
    known = Memory(
        phase=Phase.DRAINING, since=t("10:00"), route=Routing(epoch=7), unknown_since=t("10:01"),
        last_active=t("10:02"), process=Process(acknowledged_at=t("10:01"), looked_at=t("10:01")),
    )  # fmt: skip
    read = read_memory(stored(memory_status(replace(known, **elsewhere), SPEC)), known)
    assert (read.process, read.last_active) == (Process(), t("10:02"))


def test_requests_that_have_timed_out_are_counted_on_when_the_status_has_moved_on():
    counts = Process(counted={"uid-1": 3}, timed_out=2, timed_out_since=t("10:01"))
    known = Memory(phase=Phase.WARMING, since=t("10:00"), process=counts)
    read = read_memory(stored(memory_status(replace(known, phase=Phase.WARM), SPEC)), known)
    assert read.process == counts


def test_activity_that_is_not_written_down_yet_is_not_forgotten():
    memory = Memory(phase=Phase.WARM, since=t("10:00"), last_active=t("10:00"))
    status = stored(memory_status(memory, SPEC))
    assert read_memory(status, replace(memory, last_active=t("10:05"))).last_active == t("10:05")


def test_when_an_override_really_ends_can_be_read():
    later = Memory(since=t("10:00"), override=KnownOverride(seen_at=t("10:00")))
    far = pool_spec(override=override("Warm", t("10:00") + timedelta(days=9)))
    assert memory_status(later, far)["overrideEndsAt"] == "2026-11-26T10:00:00Z"


def test_an_override_that_was_taken_back_is_taken_out():
    memory = Memory(since=t("10:00"), override=KnownOverride("old"))
    status = memory_status(memory, SPEC)
    assert (status["overrideEndsAt"], status["internal"]["override"]) == (None, None)


@each("ready_at, early", [("09:58", "2m"), ("10:00:07", "-7s"), ("10:00", "0s"), (None, None)])
def test_how_early_a_window_was_ready_can_be_read(ready_at, early):
    opening = Opening("demo", t("10:00"), ready_at and t(ready_at))
    status = memory_status(Memory(since=t("09:00"), opening=opening), SPEC)
    assert status["lastOpening"]["early"] == early


def test_times_are_written_in_utc():
    tokyo = datetime.fromisoformat("2026-11-25T19:00:00.5+09:00")
    assert stamp(tokyo) == "2026-11-25T10:00:00.500000Z"
    assert stamp(None) is None


def test_a_restarted_operator_finds_its_ledger():
    ledger = Ledger(
        "JPY", t("09:00"), Decimal("12.345678"), t("10:00"), period=Period.WEEK,
        period_end=t("23:00"), exhausted_at=t("09:30"), pod_hour=Decimal("1.84"),
        previous=Spent("USD", t("08:00"), Decimal("1.5")),
    )  # fmt: skip
    seen_only = {"rate": Decimal("13.5"), "limit": Decimal(12), "forecast": Decimal("99.999")}
    decision = Decision(Memory(since=t("09:00")), None, t("10:01"))
    status = stored(decided_status(SPEC, SEEN, decision, replace(ledger, **seen_only)))
    cost = status["cost"]
    assert (cost["ratePerHour"], cost["limit"], cost["forecast"]) == ("13.500000", "12", "100.00")
    assert status["internal"]["cost"]["podPerHour"] == "1.840000"
    assert read_ledger(status) == ledger


def test_a_pool_without_prices_has_no_cost():
    decision = Decision(Memory(since=t("09:00")), None, t("10:01"))
    status = decided_status(SPEC, SEEN, decision, Ledger())
    assert (status["cost"], status["internal"]["cost"]) == (None, None)
    assert read_ledger({}) == Ledger()


def test_a_decision_is_written_in_words_people_know():
    memory = Memory(phase=Phase.WARMING, reason=Reason.WINDOW, since=t("09:58"))
    opens = Transition(t("10:00"), "demo", "open")
    decision = Decision(memory, 3, t("10:00"), floor=3, window="demo", next=opens)
    status = decided_status(SPEC, SEEN, decision, Ledger())
    assert (status["phase"], status["reason"]) == ("Warming", "Window")
    assert (status["desiredReplicas"], status["readyReplicas"]) == (3, 2)
    assert status["activeWindow"] == "demo"
    coming = {"at": "2026-11-25T10:00:00Z", "window": "demo", "kind": "open"}
    assert status["nextTransition"] == coming
    assert status["internal"]["shown"]["next"] == "opens 2026-11-25 10:00"


def test_a_decision_that_leaves_the_scale_alone_desires_what_there_is():
    decision = Decision(Memory(since=t("09:00")), None, t("10:00"))
    status = decided_status(SPEC, SEEN, decision, Ledger())
    assert status["desiredReplicas"] == 2
    assert (status["activeWindow"], status["nextTransition"]) == (None, None)


# --- worth writing ---

OLD = {
    "phase": "Warm",
    "route": {"target": "Native", "epoch": 3},
    "lastOpening": {"window": "demo", "early": "2m"},
    "lastActive": "2026-11-25T10:00:00Z",
    "cost": {"accrued": "1", "currency": "JPY"},
    "internal": {"warmUps": ["a1", [3, 1, 0]], "cost": {"at": "2026-11-25T10:00:00Z"}},
    "demand": {"at": "2026-11-25T10:00:00Z"},
}


@each("new", [
    {"phase": "Draining"}, {"route": {"target": "Native", "epoch": 4}},
    {"internal": {"warmUps": []}}, {"lastOpening": None},
    {"lastOpening": {"window": "demo", "early": None}}, {"nextTransition": {"at": "x"}},
    {"internal": {"cost": {"exhaustedAt": "x"}}}, {"cost": {"currency": "USD"}},
    {"cost": None}, {"cost": {"accrued": "2"}, "phase": "Draining"},
])  # fmt: skip
def test_a_status_is_written_when_it_says_something_new(new):
    assert worth_writing(new, OLD, quiet_too=False)


@each("new", [
    {}, {"phase": "Warm"}, {"route": {"target": "Native"}}, {"activeWindow": None},
    {"internal": {"warmUps": ["a1", [3.0, 1, 0]]}}, {"nextTransition": {"at": None}},
    {"lastActive": "2026-11-25T10:00:00Z"}, {"cost": {"accrued": "1"}},
    {"internal": {"cost": {"at": "2026-11-25T11:00:00Z"}}},
])  # fmt: skip
def test_a_status_that_says_nothing_new_is_never_written(new):
    assert not worth_writing(new, OLD, quiet_too=False)
    assert not worth_writing(new, OLD, quiet_too=True)


@each("new", [
    {"lastActive": "2026-11-25T10:00:09Z"}, {"cost": {"accrued": "2"}},
    {"cost": {"accrued": "2", "forecast": "3", "ratePerHour": "1"}},
    {"cost": {"accrued": "2"}, "internal": {"cost": {"at": "x"}}},
])  # fmt: skip
def test_what_changes_all_the_time_is_written_only_when_its_time_has_come(new):
    assert not worth_writing(new, OLD, quiet_too=False)
    assert worth_writing(new, OLD, quiet_too=True)


# --- edited by hand ---


@each("edit", [
    {"internal": "mine"},
    {"internal": ["mine"], "route": {"target": 3}},
    {"route": ["Activator"], "internal": {"template": 5, "override": "mine", "windows": None}},
    {"route": {"epoch": "many"}, "internal": {"contest": {"by": 1, "seenAt": "now"}}},
    {"internal": {"hpa": {"name": 7}, "version": {}, "opening": [3], "capacity": -1}},
    {"internal": {"hpa": {"name": "../../theirs", "minReplicas": 1}}},
    {"internal": {"warmUps": [{"seconds": 1e300, "replicas": 5}, {"seconds": "3"}, None]}},
    {"internal": {"warmUps": [[1e300, 5, 0], ["3", 1, 0], [3, -1, 0], [3, 1], [], "a1"]}},
    {"internal": {"warmUps": {"seconds": 3}, "ahead": "-5s"}, "lead": 11},
    {"internal": {"opening": {"replicas": 3}}, "lastOpening": {"at": 0}},
    {"internal": {"opening": {"readyAt": "x"}}, "lastOpening": {"at": 0}},
    {"demand": {"seen": 1}},
])  # fmt: skip
def test_what_cannot_be_read_of_a_status_counts_as_not_there(edit):
    status = {"phase": "Asleep", "foundReplicas": 1, **edit}
    assert read_memory(status, Memory()) == Memory(found=1)


def test_of_a_thousand_warm_ups_that_somebody_wrote_the_newest_are_read():
    written = [[n, 1, 0] for n in range(1000)]
    read = read_memory({"phase": "Warm", "internal": {"warmUps": written}}, Memory()).warm_ups
    assert [w.seconds for w in read] == list(range(980, 1000))


def test_of_a_pool_that_is_not_served_any_more_the_status_has_only_what_it_has_cost():
    internal = {
        "version": 1,
        "activators": "kotatsu-system/0",
        "cost": {},
        "history": {},
        "hpa": {},
        "shown": {"next": "opens 10:00", "cost": "3.00 JPY"},
    }
    status = {"phase": "Asleep", "demand": {}, "cost": {"accrued": "3"}, "internal": internal}
    gone = {"activators": None, "hpa": None, "shown": {"next": None}}
    assert left_status(status) == {"phase": None, "demand": None, "internal": gone}
