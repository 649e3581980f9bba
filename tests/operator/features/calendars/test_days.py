"""Days of a pool that follows a calendar: it opens warm, moves, fails, and survives a restart."""

from datetime import timedelta
from pathlib import Path

from kotatsu_operator.core.calendar.occasions import Occasion
from kotatsu_operator.features.calendars.feature import Calendars
from kotatsu_operator.features.calendars.windows import Reading
from tests.operator.core.values import once, t
from tests.operator.day import Day


class CalendarDay(Day):
    """A day of a pool in whose operator a calendar is followed."""

    def features(self):
        self.calendars = Calendars(Path(), (), self.registry, lambda: self.now)
        return [self.calendars]


TEAM = {"name": "team", "replicas": 3}


def pitch(start):
    return Occasion("pitch@x", "Final pitch", t(start), t(start) + timedelta(minutes=20))


def reads(day, *occasions, error=""):
    """The calendar as the operator has last read it."""
    reading = Reading(day.now, occasions, error)
    day.calendars.readings = lambda: {"team": reading}


def begin(**spec):
    return CalendarDay.begin(t("09:00"), calendars=[TEAM], idleAfter="1m", **spec)


async def test_an_event_that_has_moved_opens_warm_and_the_pool_sleeps_after_it():
    day = begin()
    reads(day, pitch("09:30"))
    await day.until(t("09:20"))
    reads(day, pitch("10:00"))
    await day.until(t("09:45"))
    assert day.replicas == 0
    await day.until(t("10:10"))
    assert (day.phase, day.replicas, day.status["activeWindow"]) == ("Warm", 3, "final-pitch")
    assert day.status["lastOpening"]["cold"] is False
    await day.until(t("10:40"))
    assert (day.phase, day.replicas) == ("Asleep", 0)


async def test_a_failing_calendar_keeps_its_window_also_for_the_next_operator():
    day = begin()
    reads(day, pitch("10:00"))
    await day.until(t("09:30"))
    day.restart()
    day.calendars.readings = lambda: {"team": Reading(None, (), "is not mounted")}
    await day.until(t("10:10"))
    assert (day.phase, day.replicas) == ("Warm", 3)
    message = day.condition("CalendarsRead")["message"]
    assert message.startswith("calendar team is not mounted; 1 windows of ")
    assert "Unreadable" in day.events
    reads(day, pitch("10:00"))
    await day.settle()
    assert day.condition("CalendarsRead")["status"] == "True"
    assert "CalendarsRead" in day.events


async def test_a_pool_without_calendars_has_nothing_of_them_in_its_status():
    day = CalendarDay.begin(t("09:00"), windows=[once("pitch", "10:00", "10:20")])
    reads(day, pitch("09:10"))
    await day.until(t("09:20"))
    assert day.replicas == 0
    assert day.status["internal"].get("calendars") is None
