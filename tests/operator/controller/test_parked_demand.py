"""What the reconciler asks of a parked pool, and pods that cannot be as they are to be."""

from kotatsu_operator.controller.reconciler import BEAT, RETRY
from tests.operator.controller.test_parked_days import DEFERRED, PARKED, cpus, parked
from tests.operator.core.values import MINUTE


async def test_after_an_announcement_the_demand_is_asked_for_when_the_pods_are_restored():
    day = await parked()
    day.ticket()
    assert await day.look() == day.now + RETRY
    day.now += RETRY
    asked = day.scraper.asked
    assert await day.look() == day.now + BEAT
    assert day.scraper.asked > asked


async def test_what_was_unknown_of_the_demand_stays_unknown():
    """The activators' connections count since the pods have been silent for half an hour."""
    day = await parked()
    day.scraper.in_flight = None
    await day.until(PARKED + 40 * MINUTE)
    assert (day.phase, day.condition("DemandKnown")["reason"]) == ("Parked", "Silent")
    day.ticket()
    await day.look()
    assert (day.phase, day.condition("DemandKnown")["reason"]) == ("Warm", "Silent")
    assert day.status["route"]["counted"]


async def test_a_request_that_reached_a_pod_directly_restores_it_at_the_next_beat():
    day = await parked()
    day.scraper.in_flight = 1
    await day.until(day.now + BEAT)
    assert (day.phase, cpus(day)) == ("Warm", ["1"])


async def test_another_pod_stays_beside_one_that_its_node_can_never_restore():
    day = await parked(maxReplicas=2)
    day.ticket()
    await day.look()
    day.pod_conditions[day.pods[0].name] = DEFERRED | {"reason": "Infeasible"}
    await day.until(PARKED + MINUTE)
    assert (day.phase, day.replicas, day.status["reduced"]) == ("Warm", 2, True)


async def test_a_pod_that_takes_the_place_of_a_parked_one_starts_in_full_and_is_parked_then():
    day = await parked()
    day.pods[0].ended = day.now
    await day.look()
    assert (day.phase, cpus(day)[-1]) == ("Warming", "1")
    await day.until(PARKED + MINUTE)
    assert (day.phase, day.replicas, cpus(day)[-1]) == ("Parked", 1, "0.005")
