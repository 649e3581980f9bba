"""The process that reads a calendar: what strangers can ask of it ends in time, with a sentence."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta

import pytest
from rows import each

from kotatsu_operator.core.calendar.occasions import CalendarError
from kotatsu_operator.features.calendars import child
from tests.operator.core.calendar.icalendar_files import CUSTOM_ZONE, calendar, event

NOW = datetime(2030, 12, 1, tzinfo=UTC)
AHEAD = NOW + timedelta(days=62)
TIMES = {"DTSTART": "20280101T100000Z", "DURATION": "PT1H"}
CUSTOM = {"DTSTART__TZID=Customized Time Zone": "20301218T100000", "DURATION": "PT1H"}
DATES = [datetime(2031, 1, 1) + timedelta(minutes=7 * n) for n in range(20_000)]
LISTED = ",".join(f"{at:%Y%m%dT%H%M%S}" for at in DATES)


async def test_what_is_left_out_is_named_beside_what_is_found():
    data = calendar(event("bad@x", "Bad"), event(**TIMES, RRULE="FREQ=WEEKLY;BYDAY=MO"))
    found, skipped = await child.occasions(data, NOW, AHEAD)
    assert len(found) == 9
    assert skipped == "1 events are no windows: 'Bad': it is not valid iCalendar: No DTSTART given."


@pytest.mark.slow
@each("parts", {
    "days that do not exist": [
        event(f"{i}", RRULE="FREQ=DAILY;BYMONTH=2;BYMONTHDAY=31", **TIMES) for i in range(100)],
    "a zone of many dates": [
        CUSTOM_ZONE.replace("END:STANDARD", f"RDATE:{LISTED}\nEND:STANDARD"),
        *(event(f"{i}", **CUSTOM) for i in range(4000))],
})  # fmt: skip
async def test_a_calendar_that_is_too_much_work_is_refused_with_a_sentence(parts):
    with pytest.raises(CalendarError, match="takes more than 1 s of CPU to read: its rules or"):
        await child.occasions(calendar(*parts), NOW, AHEAD, work=1)


async def test_a_calendar_that_takes_much_memory_is_refused_with_a_sentence():
    data = calendar(event(EXDATE=",".join(["20301218T100000Z"] * 110_000), **TIMES))
    with pytest.raises(CalendarError, match="takes more than 32 MiB of memory to read"):
        await child.occasions(data, NOW, AHEAD, memory=32 * 2**20)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("import time; time.sleep(60)", "is not read within 0.5 s"),
        ("import os; os.kill(os.getpid(), 9)", "ends its reader with status -9"),
    ],
)
async def test_a_process_that_hangs_or_is_killed_is_one_sentence(monkeypatch, code, sentence):
    start = asyncio.create_subprocess_exec

    async def another(*_: str, **pipes: int) -> asyncio.subprocess.Process:
        return await start(sys.executable, "-c", code, **pipes)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", another)
    monkeypatch.setattr(child, "PATIENCE", 0.5 if "sleep" in code else 60.0)
    with pytest.raises(CalendarError, match=sentence):
        await child.occasions(b"", NOW, AHEAD)
