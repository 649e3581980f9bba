"""Days of pools that ask for nodes ahead of a window."""

from kotatsu_operator.features.capacity import TRY_AGAIN, CapacityOptions
from tests.operator.core.values import once, t
from tests.operator.day import PUNCTUAL
from tests.operator.features.day import FeaturedDay


async def asking_ahead(capacity):
    """A pool that asks for nodes five minutes before its pod starts, at 9:59."""
    window, prewarm = once("w", "10:00", "12:00", 1), {"lead": "1m", "capacityAhead": "5m"}
    day = FeaturedDay.begin(t("09:00"), windows=[window], **prewarm)
    day.kube.edit("Deployment", "voice", spec={"template": {"spec": {"containers": []}}})
    day.capacity = capacity
    await day.restart().until(t("09:53:59"))
    return day


async def test_nodes_are_asked_for_ahead_of_a_window_and_given_up_when_its_pod_is_ready():
    day = await asking_ahead(CapacityOptions("mirror/pause"))
    assert day.placeholders == []
    await day.until(t("09:54:01"), late=PUNCTUAL)
    assert (len(day.placeholders), day.status["internal"]["capacity"]) == (1, 1)
    await day.until(t("09:59:05"), late=PUNCTUAL)
    assert day.phase == "Warming"
    assert day.placeholders != []
    await day.until(t("09:59:10"), late=PUNCTUAL)
    assert day.placeholders == []


async def test_another_operator_gives_up_what_the_one_before_has_asked_for():
    day = await asking_ahead(CapacityOptions("mirror/pause"))
    await day.until(t("09:54:01"))
    day.edit(windows=[])
    await day.restart().settle()
    assert day.placeholders == []


async def test_a_placeholder_that_could_not_be_made_or_deleted_at_first_is_half_a_minute_later():
    day = await asking_ahead(CapacityOptions("mirror/pause"))
    is_away = True

    def fail(kind, *_):
        if kind == "Pod" and is_away:
            raise OSError("the API server is away")

    day.kube.on("create", fail)
    day.kube.on("delete", fail)
    day.now = t("09:54:01")
    for _ in range(3):
        assert await day.look() == day.now + TRY_AGAIN
        day.now += TRY_AGAIN
    assert day.events.count("CapacityUnavailable") == 1
    is_away = False
    await day.look()
    assert len(day.placeholders) == 1
    is_away = True
    day.edit(windows=[])
    assert await day.look() == day.now + TRY_AGAIN
    is_away, day.now = False, day.due
    await day.look()
    assert day.placeholders == []


async def test_without_the_permission_a_pool_says_once_what_to_set():
    day = await asking_ahead(CapacityOptions())
    await day.until(t("10:01"))
    assert day.events.count("CapacityUnavailable") == 1
    assert day.phase == "Warm"
