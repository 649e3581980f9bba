"""Days on which a pool comes down while requests are in flight: docs/protocol.md, Lowering."""

import contextlib
from random import Random

import pytest

from kotatsu_operator.core.pool.decision import Demand
from kotatsu_operator.core.pool.lowering import LIMIT
from kotatsu_operator.kube.errors import ApiError, ConflictError
from tests.operator.cluster import forbidden
from tests.operator.core.values import MINUTE, SECOND, once, override, t
from tests.operator.day import PUNCTUAL, Day

PITCH = [once("pitch", "09:00", "10:05", 3)]
CLOSES = t("10:05")
VOICES = ("voice-1", "voice-2", "voice-3")


def with_a_gauge(busy, **spec):
    """Three pods until 10:05, and one after that; `busy` of them have requests at all times."""
    day = Day.begin(
        t("10:00"), replicas=3, ready=True, **{"minReplicas": 1, "windows": PITCH} | spec
    )
    day.scraper.in_flight, day.scraper.busy_pods = 1, busy
    return day


def through_activators(**spec):
    day = with_a_gauge(0, route="Activator", **spec)
    day.scraper.passing_now = Demand(passing=1)
    return day


def marks(day):
    return [(call[1], *call[2].values()) for call in day.kube.called("annotate")]


# --- a gauge ---


async def test_a_window_that_ends_takes_pods_without_requests_alone():
    day = with_a_gauge(1)
    await day.until(CLOSES + MINUTE, late=PUNCTUAL)
    assert (day.replicas, day.events.count("LoweredInUse")) == (1, 0)
    assert [made.name for made in day.pods] == ["voice-1"]
    assert day.marked == []


async def test_pods_in_use_stay_until_the_limit_and_the_condition_and_an_event_say_so():
    day = with_a_gauge(3)
    await day.until(CLOSES + LIMIT - MINUTE)
    assert (day.replicas, day.status["desiredReplicas"]) == (3, 3)
    assert (
        "lowering to 1 waits for requests in flight, until 10:1"
        in (day.condition("Ready")["message"])
    )
    await day.until(CLOSES + LIMIT + 2 * MINUTE)
    assert (day.replicas, day.events.count("LoweredInUse")) == (1, 1)
    assert "lowering" not in day.condition("Ready")["message"]


async def test_pods_that_do_not_answer_stay_until_the_limit():
    day = with_a_gauge(3)
    day.scraper.in_flight = None
    await day.until(CLOSES + LIMIT - MINUTE)
    assert day.replicas == 3


async def test_an_override_that_ends_drains_as_a_window_does():
    day = with_a_gauge(3, windows=[])
    day.edit(override=override("Warm", CLOSES, replicas=3))
    await day.until(CLOSES + MINUTE, late=PUNCTUAL)
    assert day.replicas == 3
    day.scraper.busy_pods = 1
    await day.until(CLOSES + 2 * MINUTE, late=PUNCTUAL)
    assert day.replicas == 1


# --- through activators ---


async def test_the_pods_to_end_are_marked_and_end_once_their_connections_have():
    day = through_activators()
    day.scraper.used.update(VOICES)
    await day.until(CLOSES + SECOND, late=PUNCTUAL)
    marked = day.marked
    assert len(marked) == 2
    day.scraper.used[marked[0]] = 0
    await day.until(CLOSES + 2 * LIMIT)
    assert (day.replicas, day.marked) == (3, marked)
    assert day.condition("Ready")["message"].endswith("lowering to 1 waits for requests in flight")
    day.scraper.used.clear()
    await day.until(CLOSES + 2 * LIMIT + MINUTE)
    assert (day.replicas, day.events.count("LoweredInUse")) == (1, 0)
    assert not {made.name for made in day.pods} & set(marked)


async def test_a_restarted_operator_goes_on_with_the_same_marks():
    day = through_activators()
    day.scraper.used.update(VOICES)
    await day.until(CLOSES + MINUTE)
    marked = day.marked
    await day.restart().until(CLOSES + 3 * MINUTE)
    assert (day.replicas, day.marked) == (3, marked)


async def test_pods_that_are_wanted_again_lose_their_marks():
    day = through_activators()
    day.scraper.used.update(VOICES)
    await day.until(CLOSES + MINUTE)
    day.edit(windows=[], override=override("Warm", t("11:00"), replicas=3))
    await day.until(CLOSES + 2 * MINUTE)
    assert (day.replicas, day.marked) == (3, [])


async def test_activators_that_know_no_mark_keep_the_pods_until_the_limit():
    day = through_activators()
    day.scraper.marked = tuple
    await day.until(CLOSES + LIMIT - MINUTE)
    assert day.replicas == 3
    await day.until(CLOSES + LIMIT + 2 * MINUTE)
    assert (day.replicas, day.events.count("LoweredInUse")) == (1, 1)


async def test_without_the_permission_to_mark_it_waits_until_the_pool_is_quiet():
    day = through_activators()
    day.marks_pods = False
    await day.restart().until(CLOSES + MINUTE)
    assert (day.replicas, marks(day)) == (3, [])
    day.scraper.passing_now = Demand()
    await day.until(CLOSES + 2 * MINUTE)
    assert day.replicas == 1


@pytest.mark.parametrize("error", [forbidden(), ApiError(422, "metadata.uid: field is immutable")])
async def test_a_mark_that_is_rejected_is_tried_again(error):
    day = through_activators()
    day.kube.on("annotate", error, times=3)
    await day.until(CLOSES + MINUTE)
    assert (day.replicas, len(marks(day))) == (1, 5)


async def test_a_pod_that_the_watch_has_not_shown_is_not_ended():
    """It would be ended first: it is not Ready, and may have requests as it was."""
    day = through_activators()
    await day.until(CLOSES - SECOND, late=PUNCTUAL)
    unseen = day.kube.stored("Pod", "voice-1")
    unseen["metadata"] |= {"name": "voice-9", "uid": "uid-9"}
    unseen["status"]["conditions"][1]["status"] = "False"
    day.kube.put(unseen)
    await day.until(CLOSES + MINUTE)
    assert day.replicas == 3
    day.kube.remove("Pod", "voice-9")
    await day.until(CLOSES + 2 * MINUTE)
    assert day.replicas == 1


# --- a walk: requests come and go, writes fail, answers get lost, operators start again ---


def ended(day):
    return {made.name for made in day.pods if made.ended is not None}


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 12))]
)
@pytest.mark.parametrize("counts", [with_a_gauge, through_activators])
async def test_no_walk_ends_a_pod_in_use(counts, seed):
    dice = Random(seed)
    day = through_activators() if counts is through_activators else with_a_gauge(0)
    used = day.scraper.used
    day.scraper.busy = used if counts is with_a_gauge else None
    await day.until(t("10:04"))
    for _ in range(150):
        day.now += SECOND * dice.choice((1, 2, 30))
        before, verb = ended(day), dice.choice(("annotate", "put_scale", "patch_status", "find"))
        day.kube.on(
            verb, dice.choice((ConflictError("late"), OSError("away"))), dice.choice((0, 1))
        )
        with contextlib.suppress(OSError):
            await day.look()
        day.watch()
        assert not [name for name in ended(day) - before if used[name]]
        for made in [made for made in day.pods if made.name not in ended(day)]:
            if dice.random() < 0.4:
                takes = counts is with_a_gauge or made.name not in day.marked
                used[made.name] = int(takes and dice.random() < 0.6)
        if dice.random() < 0.2:
            many = dice.choice((1, 2, 3, 5))
            day.edit(windows=[], override=override("Warm", day.now + LIMIT, replicas=many))
        if dice.random() < 0.05:
            day.restart()
