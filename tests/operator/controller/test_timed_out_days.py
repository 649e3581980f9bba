"""Days on which requests get 503 because no pod is Ready within holdTimeout."""

import pytest

from tests.operator.core.values import SECOND, t
from tests.operator.day import PUNCTUAL, Day

HOLD = {"holdTimeout": "5s"}
"""Shorter than a pod of these days takes."""


def told(day):
    return day.messages("RequestsTimedOut")


def condition(day):
    """What does not fit; None while all durations do."""
    found = day.condition("DurationsFit")
    return None if found["status"] == "True" else found


async def late(clock, count=19, **spec):
    """A pool that a request has woken, and whose pods come too late for some others."""
    day = Day.begin(t("08:00"), **(HOLD | spec))
    await day.until(t(clock))
    day.wake()
    await day.until(day.now + 6 * SECOND, late=PUNCTUAL)
    for _ in range(count):
        day.scraper.timed_out += 1
        await day.settle()
    return day


async def test_a_condition_says_that_requests_get_503_while_no_pod_is_ready():
    day = await late("08:10")
    found = condition(day)
    assert (found["status"], found["reason"]) == ("False", "RequestsTimedOut")
    assert found["message"].startswith(
        "requests got 503, as no pod was Ready within holdTimeout (5s); see kubectl"
    )


async def test_after_the_wake_condition_and_one_event_with_the_count_say_what_to_set():
    day = await late("08:10")
    assert told(day) == []
    await day.until(t("08:11"), late=PUNCTUAL)
    why = (
        "got 503, as no pod was Ready within holdTimeout (5s); a start took 8s: set "
        "holdTimeout to 20s, and the timeouts of proxies in front above it"
    )
    assert told(day) == [f"19 requests {why}"]
    assert condition(day)["message"] == f"requests {why}"


async def test_many_timeouts_are_no_many_writes():
    day = await late("08:10", count=1)
    writes = len(day.kube.writes)
    for _ in range(100):
        day.scraper.timed_out += 1
        await day.settle()
    assert len(day.kube.writes) == writes


async def test_the_condition_stays_while_the_pool_sleeps_also_for_a_new_operator():
    day = await late("08:10")
    await day.until(t("08:20"))
    day.restart()
    await day.until(t("08:30"))
    assert day.phase == "Asleep"
    assert condition(day)["reason"] == "RequestsTimedOut"
    assert len(told(day)) == 1


async def test_a_wake_that_is_in_time_ends_the_condition():
    day = await late("08:10")
    await day.until(t("08:20"))
    day.wake()
    await day.until(t("08:21"))
    assert condition(day)["reason"] == "SlowStart"


@pytest.mark.parametrize(
    ("edit", "stays"),
    [({"holdTimeout": "20s"}, False), ({"idleAfter": "3m"}, True)],
)
async def test_only_an_edit_to_a_hold_timeout_above_the_starts_ends_the_condition(edit, stays):
    day = await late("08:10")
    await day.until(t("08:20"))
    day.edit(**edit)
    await day.settle()
    assert (condition(day) is not None) is stays


async def test_of_pods_that_never_start_there_is_an_event_each_five_minutes():
    day = await Day.lived("08:00", **HOLD)
    day.scraper.held_now = 1
    day.wake()
    await day.until(day.now + SECOND, late=PUNCTUAL)
    for _ in range(12 * 60 // 5):
        for made in day.pods:
            made.born = day.now  # none of them becomes Ready
        day.scraper.timed_out += 1
        await day.until(day.now + 5 * SECOND, late=PUNCTUAL)
    assert day.phase == "Warming"
    assert [message.split()[0] for message in told(day)] == ["60", "60"]


# --- starts that take longer than is waited for ---


async def woken(**spec):
    """A pool that a request has woken once, in eight seconds."""
    day = Day.begin(t("08:00"), **spec)
    await day.until(t("08:10"))
    day.wake()
    await day.until(t("08:11"), late=PUNCTUAL)
    return day


async def test_a_start_that_is_longer_than_requests_wait_is_said_though_none_has_timed_out():
    day = await woken(**HOLD)
    found, [event] = condition(day), day.messages("SlowStart")
    assert (found["status"], found["reason"], found["message"]) == ("False", "SlowStart", event)
    assert event == (
        "a start took 8s, and requests that wake the pool get 503 after 5s: set spec.holdTimeout "
        "to 20s, and the timeouts of clients and of proxies in front above it"
    )


async def test_a_start_that_is_longer_than_the_pool_stays_is_said():
    day = await woken(idleAfter="5s")
    assert condition(day)["message"] == (
        "a start took 8s, longer than the pool has pods after its last request (5s): set "
        "spec.idleAfter to 20s, so that clients which gave up find one when they come again"
    )


@pytest.mark.parametrize("spec", [{}, {"idleAfter": "5s", "parkedFor": "1m"}])
async def test_a_start_that_fits_is_not_mentioned(spec):
    day = await woken(**spec)
    assert (condition(day), day.messages("SlowStart")) == (None, [])


async def test_longer_timeouts_end_it():
    day = await woken(**HOLD)
    day.kube.edit("WarmPool", "voice", spec={"holdTimeout": "20s"})
    await day.settle()
    assert condition(day) is None
    assert len(day.messages("DurationsFit")) == 1
