"""Parked pools as the reconciler looks at them: what is asked, and what is written when."""

import pytest

from kotatsu_operator.controller.reconciler import BEAT, RETRY
from tests.operator.core.values import MINUTE, SECOND, t
from tests.operator.day import Day


@pytest.fixture
async def day():
    """A pool that is parked since 08:02 and has been idle for some minutes."""
    day = Day.begin(t("08:00"), replicas=1, ready=True, parked={"for": "1h"})
    await day.until(t("08:05"))
    assert (day.phase, day.replicas) == ("Parked", 1)
    return day


async def test_an_announcement_restores_a_parked_pool_before_anything_is_asked(day):
    day.ticket()
    asked = day.scraper.asked
    await day.look()
    assert (day.phase, day.scraper.asked) == ("Warm", asked)


async def test_its_demand_is_asked_for_right_after_that(day):
    day.ticket()
    assert await day.look() == day.now + RETRY
    asked = day.scraper.asked
    day.now += RETRY
    assert await day.look() == day.now + BEAT
    assert day.scraper.asked > asked


async def test_an_announcement_that_was_decided_on_is_not_decided_on_again(day):
    day.ticket()
    await day.until(day.now + 4 * MINUTE)
    assert day.phases()[-2:] == ["Warm", "Parked"]
    asked = day.scraper.asked
    await day.look()
    assert day.scraper.asked > asked


async def test_what_was_unknown_of_its_demand_stays_unknown(day):
    day.scraper.in_flight = None
    await day.until(day.now + 20 * SECOND)
    assert day.condition("DemandKnown")["reason"] == "Silent"
    day.ticket()
    await day.look()
    assert (day.phase, day.condition("DemandKnown")["reason"]) == ("Warm", "Silent")


async def test_a_request_that_reached_a_pod_directly_restores_it_at_the_next_beat(day):
    day.scraper.in_flight = 1
    await day.until(day.now + BEAT)
    assert day.phase == "Warm"
