"""When a pool was in use: what is seen of it, and what is stored."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from kotatsu_operator.core.pool.decision import Demand
from kotatsu_operator.core.pool.memory import Announced, Memory, Phase
from kotatsu_operator.core.report.usage import (
    HOURLY,
    NOTHING,
    SLOT,
    SLOTS,
    Usage,
    Watched,
    known_usage,
    read_usage,
    slot_of,
    usage_field,
)
from tests.operator.core.values import HOUR, MINUTE, SECOND, t

WARM = Memory(phase=Phase.WARM, since=t("09:00"))
ASLEEP = Memory(phase=Phase.ASLEEP, since=t("09:00"))
PARKED = Memory(phase=Phase.PARKED, since=t("09:00"))
IDLE, BUSY, SILENT = Demand(), Demand(in_flight=1), Demand(known=False)


def watched(memory, *looks) -> Watched:
    """What is seen at these times of this demand."""
    now = Watched.begun("uid", looks[0][0])
    for at, demand in looks:
        now = now.looked(memory, demand, at)
    return now


def drawn(usage: Usage, begin, end) -> str:
    """A letter for each slot: `x` used, `.` idle, `?` not known."""
    marks = []
    for slot in range(slot_of(begin), slot_of(end)):
        bit = 1 << (usage.last - slot) if slot <= usage.last else 0
        marks.append("x" if usage.used & bit else "." if usage.known & bit else "?")
    return "".join(marks)


def every(seconds, begin, end, demand=IDLE):
    """Looks of an awake pool."""
    return [(begin + n * SECOND, demand) for n in range(0, int((end - begin) / SECOND), seconds)]


def test_a_warm_pool_is_used_in_the_slots_with_requests():
    looks = every(20, t("10:00"), t("10:30"))
    looks += every(20, t("10:30"), t("10:38"), BUSY) + every(20, t("10:38"), t("10:50"))
    found = watched(WARM, *looks).usage
    assert drawn(found, t("09:55"), t("10:55")) == "?......xx..?"
    assert found.busy == timedelta(minutes=7, seconds=40) + 30 * SECOND


def test_a_request_between_two_looks_is_seen_by_its_time():
    late = replace(IDLE, last_request=t("10:04:50"))
    found = watched(WARM, (t("10:04:40"), IDLE), (t("10:05:10"), late), (t("10:05:40"), late)).usage
    assert drawn(found, t("10:00"), t("10:10")) == "x."
    assert found.busy == 30 * SECOND


def test_while_the_demand_is_unknown_so_is_the_use():
    looks = [*every(20, t("10:00"), t("10:05")), *every(20, t("10:05"), t("10:15"), SILENT)]
    looks += every(20, t("10:15"), t("10:20"))
    assert drawn(watched(WARM, *looks).usage, t("10:00"), t("10:20")) == ".??."


def test_a_time_without_an_operator_is_not_known_of_a_warm_pool():
    found = watched(WARM, (t("10:00"), IDLE), (t("10:30"), IDLE)).usage
    assert drawn(found, t("10:00"), t("10:35")) == ".?????."


def test_a_sleeping_pool_and_a_parked_one_had_no_request_before_the_one_that_is_announced():
    for memory in (ASLEEP, PARKED):
        called = Demand(ticket=t("10:12"))
        assert drawn(watched(memory, (t("10:20"), IDLE)).usage, t("09:00"), t("10:25")) == "." * 17
        # The operator was away: what came after the first request is not known.
        found = watched(memory, (t("10:32"), called)).usage
        assert drawn(found, t("10:00"), t("10:35")) == "..x???."
        known = replace(memory, announced=Announced(t("10:12"), t("10:12")))
        found = watched(known, (t("10:32"), called))
        assert drawn(found.usage, t("10:00"), t("10:35")) == "......."


def test_a_pool_that_was_refused_or_suspended_meanwhile_is_not_known_before():
    found = Watched.begun("uid", t("10:00")).unseen(t("10:20")).looked(ASLEEP, IDLE, t("10:31"))
    assert drawn(found.usage, t("10:15"), t("10:35")) == "??.."


def test_an_awake_pool_writes_once_an_hour_and_never_right_after_a_wake():
    one = watched(ASLEEP, (t("10:00"), IDLE), (t("13:00"), IDLE))
    one = one.looked(WARM, BUSY, t("13:00:10"))
    assert not one.is_due(WARM, t("13:59"))
    assert one.is_due(WARM, t("14:00"))
    assert not one.is_due(replace(WARM, phase=Phase.WARMING), t("14:00"))
    one = one.written(t("14:00")).looked(WARM, IDLE, t("14:00:20"))
    assert not one.is_due(WARM, t("14:59"))
    assert one.is_due(WARM, t("15:00"))


def test_a_parked_pool_that_nobody_asks_for_is_never_written():
    one = Watched.begun("uid", t("09:00")).looked(PARKED, IDLE, t("09:00"))
    assert not one.looked(PARKED, IDLE, t("23:00")).is_due(PARKED, t("23:00"))


def test_many_pools_take_turns_after_a_start():
    due = {Watched.begun(f"uid-{n}", t("10:00")).due for n in range(100)}
    assert min(due) >= t("10:00") + HOURLY
    assert max(due) <= t("10:00") + 2 * HOURLY
    assert len({int((at - t("11:00")) / (6 * MINUTE)) for at in due}) == 10


def test_what_is_stored_is_bounded_and_the_oldest_slots_go():
    first = NOTHING.knowing(slot_of(t("10:00")), slot_of(t("11:00"))).using(slot_of(t("10:00")))
    first = replace(first, busy=MINUTE)
    later = slot_of(t("10:00")) + SLOTS
    full = first.plus(NOTHING.knowing(0, later - 1))
    assert full.used == 1 << SLOTS - 1
    assert full.plus(NOTHING.knowing(later, later)) == Usage(later, 0, (1 << SLOTS) - 1)
    field = usage_field(full)
    assert len(field["used"]) == len(field["known"]) == 2688
    assert read_usage({"usage": field}) == full


def test_a_clock_that_is_set_back_drops_what_was_in_the_future():
    ahead = NOTHING.using(slot_of(t("12:00"))).using(slot_of(t("10:00")))
    assert ahead.plus(NOTHING.using(slot_of(t("11:00")))).used.bit_count() == 2
    assert ahead.plus(NOTHING.using(slot_of(t("10:00") - 60 * 24 * HOUR))).used == 1


def test_what_is_known_includes_that_a_pool_sleeps_since():
    stored = NOTHING.using(slot_of(t("08:00")))
    known = known_usage({"usage": usage_field(stored)}, ASLEEP, t("10:00"))
    assert drawn(known, t("08:00"), t("10:00")) == "x???????????" + "............"
    assert known_usage({"usage": usage_field(stored)}, WARM, t("10:00")) == stored


def test_a_field_that_was_edited_says_nothing_or_less():
    good = usage_field(NOTHING.using(slot_of(t("10:00"))))
    for broken in (
        {"used": 3}, {"used": "x"}, {"known": "A" * 2692}, {"end": "soon"}, {"known": None},
    ):  # fmt: skip
        assert read_usage({"usage": good | broken}) == NOTHING
    assert read_usage({"usage": good | {"known": ""}}).used == 0
    assert read_usage({"usage": good | {"busySeconds": 9000}}).busy == SLOT


@given(st.lists(st.tuples(st.integers(0, 40_000), st.booleans()), max_size=30))
def test_what_is_written_in_parts_is_what_is_written_at_once(marks):
    whole, parts = NOTHING, NOTHING
    for slot, is_used in sorted(marks):
        more = NOTHING.using(slot) if is_used else NOTHING.knowing(slot, slot)
        whole = whole.using(slot) if is_used else whole.knowing(slot, slot)
        parts = read_usage({"usage": usage_field(parts.plus(more))})
    assert parts == whole.up_to(whole.last)


def test_a_sleeping_pool_whose_scale_an_activator_has_raised_had_a_request():
    seen = watched(ASLEEP, (t("10:00"), IDLE)).looked(ASLEEP, IDLE, t("10:12"), woken=True)
    assert drawn(seen.usage, t("10:00"), t("10:20")) == "..x?"
    # A new process does not know when: of the time before, it says nothing.
    seen = Watched.begun("uid", t("10:12")).looked(ASLEEP, IDLE, t("10:12"), woken=True)
    assert drawn(seen.usage, t("10:00"), t("10:20")) == "??x?"
