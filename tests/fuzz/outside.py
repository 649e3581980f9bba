"""What servers outside the cluster send: calendars, and answers to the operator's requests."""

import asyncio
import contextlib
import time
from datetime import timedelta
from typing import Any

from fuzz.kit import NOW, SOON, Target, attempt, mixed
from hypothesis import strategies as st

from kotatsu_operator.core.calendar.occasions import MOST_BYTES, CalendarError
from kotatsu_operator.core.calendar.repeats import occasions_of
from kotatsu_operator.core.calendar.schedule import occurrences
from kotatsu_operator.core.pool.calendars import with_calendars
from kotatsu_operator.core.pool.memory import Memory
from kotatsu_operator.core.pool.parse import parse
from kotatsu_operator.features.calendars.fetch import Fetched, FetchError, fetch
from kotatsu_operator.features.calendars.windows import AHEAD, Reading, follow
from kotatsu_operator.features.notices.notices import Notice
from kotatsu_operator.features.notices.receivers import (
    LONGEST_PAUSE,
    Format,
    Receiver,
    message,
    post,
)

POOLS = [
    parse(
        {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "voice"},
            "timeZone": zone,
            "windows": [
                {"name": "noon", "schedule": "0 12 * * *", "duration": "1h", "replicas": 1}
            ],
            "calendars": [{"name": "team", "replicas": 2}, {"name": "team", "mode": "Closed"}],
        }
    )
    for zone in ("Pacific/Kiritimati", "America/New_York", "Pacific/Pago_Pago")
]


def calendar(text: str) -> None:
    """A file is read, or refused in a sentence; what was read opens windows of any pool."""
    began, data = time.process_time(), text.encode("utf-8")
    first, last = NOW - timedelta(days=1), NOW + AHEAD
    found, _ = attempt(lambda: occasions_of(data, first, last, work=SOON / 2), CalendarError)
    if found is None:
        return
    assert all(skipped.reason for skipped in found.skipped)
    for pool in POOLS:
        used = with_calendars(
            pool, follow(pool, Memory(), {"team": Reading(NOW, found.occasions)}, NOW)
        )
        assert all(o.start < o.end for o in occurrences(used.windows, used.zone, NOW, NOW + AHEAD))
    assert time.process_time() - began < SOON


_TIMES = st.one_of(
    st.sampled_from(
        [
            *("20261125T100000Z", "20261126T100000", "20261127", "00010101T000000Z", "99991231"),
            *("99991231T235959Z", "20270228T023000", "20261125T246060", "x", "", "20261132"),
        ]
    ),
    st.datetimes().map(lambda at: f"{at:%Y%m%dT%H%M%S}"),
)
_LISTS = st.lists(_TIMES, min_size=1, max_size=3).map(",".join)
_RULES = st.one_of(
    st.sampled_from(
        [
            "FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10",
            "FREQ=WEEKLY;BYDAY=MO,TH;UNTIL=20261231T000000Z",
            "FREQ=MONTHLY;BYMONTHDAY=31;COUNT=99999999",
            "FREQ=DAILY;BYHOUR=0,1,2,3,4,5,6,7,8,9,10,11,12,13,14;BYSETPOS=-1",
            "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;INTERVAL=4",
        ]
    ),
    mixed(
        *("FREQ=DAILY", "FREQ=YEARLY", "FREQ=MONTHLY", ";", "COUNT=", "UNTIL=", "BYDAY=", "MO"),
        *("5SU", "BYMONTH=", "13", "0", "-1", "99999999", "INTERVAL=", "BYSETPOS=", "WKST=", ","),
    ),
)
_TEXTS = st.one_of(st.sampled_from(["a", "Pitch", "a\\,b\\n", "CANCELLED", "3", "🎉"]), mixed("a"))
_ZONES = st.sampled_from(["", "", ";TZID=Z", ";TZID=Europe/Berlin", ";VALUE=DATE", ";TZID=Mars"])


def _lines(values: dict[str, st.SearchStrategy[str]]) -> st.SearchStrategy[list[str]]:
    """Some properties in any order."""
    ones = [st.tuples(st.just(name), _ZONES, value) for name, value in values.items()]
    return st.lists(st.one_of(ones).map(lambda p: f"{p[0]}{p[1]}:{p[2]}"), max_size=8)


_OFFSETS = st.sampled_from(["+0100", "-0330", "+2359", "-9999", "+000001", "0100", "x"])
_CHANGE = {
    "DTSTART": _TIMES,
    "RDATE": _LISTS,
    "RRULE": _RULES,
    "TZOFFSETFROM": _OFFSETS,
    "TZOFFSETTO": _OFFSETS,
}
_EVENT = {
    "UID": st.sampled_from(["a", "b"]),
    "DTSTART": _TIMES,
    "DTEND": _TIMES,
    "DURATION": st.sampled_from(["PT1H", "P1D", "P99999W", "-PT1H", "P400D", "x"]),
    "RRULE": _RULES,
    "RDATE": _LISTS,
    "EXDATE": _LISTS,
    "RECURRENCE-ID": _TIMES,
    "RECURRENCE-ID;RANGE=THISANDFUTURE": _TIMES,
    "SUMMARY": _TEXTS,
    "STATUS": _TEXTS,
    "SEQUENCE": _TEXTS,
    "CATEGORIES": _TEXTS,
}


def _within(name: str, lines: list[str]) -> list[str]:
    return [f"BEGIN:{name}", *lines, f"END:{name}"]


@st.composite
def _files(draw: st.DrawFn) -> str:
    """Files with a zone of their own and some events, of which a part may be cut out."""
    change = ["DTSTART:20200101T000000", "TZOFFSETFROM:+0100", "TZOFFSETTO:+0200"]
    zone = ["TZID:Z"]
    for kind in draw(st.lists(st.sampled_from(["STANDARD", "DAYLIGHT"]), max_size=3)):
        zone += _within(kind, draw(_lines(_CHANGE)) + change)
    lines = _within("VTIMEZONE", zone)
    for _ in range(draw(st.integers(1, 4))):
        lines += _within("VEVENT", [*draw(_lines(_EVENT)), "DURATION:PT1H"])
    text = "\r\n".join(_within("VCALENDAR", lines))
    begin = draw(st.integers(0, len(text)))
    return text[:begin] + draw(_TEXTS) + text[begin + draw(st.integers(0, 40)) :]


SECRET = "hunter2"


def answer(given: list[Any]) -> None:
    """An answer to each request of the operator is taken, or refused without the address."""
    cuts, text = given
    asyncio.run(_answered(text.encode("latin-1"), sorted({min(cut, len(text)) for cut in cuts})))


async def _answered(data: bytes, cuts: list[int]) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
                writer.write(data[begin:end])
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/{SECRET}"
        began = time.process_time()
        await _is_fetched(url)
        await _is_posted(url)
        assert time.process_time() - began < SOON


async def _is_fetched(url: str) -> None:
    said, data = "", b""
    try:
        data = (await fetch(url, Fetched(b"", etag='"1"'))).data
    except FetchError as error:
        said = str(error)
    assert SECRET not in said
    assert len(data) <= MOST_BYTES


async def _is_posted(url: str) -> None:
    headers, body = message(Format.SLACK, ("demo", "voice"), NOTICE, NOW)
    attempted = await post(Receiver(name="hook", url=url), headers, body)
    assert SECRET not in attempted.problem
    assert 0 <= attempted.pause <= LONGEST_PAUSE


NOTICE = Notice("u1/WindowCold/1", "WindowCold", "window pitch", NOW)
_ANSWERS = mixed(
    "HTTP/1.1 200 OK\r\n", "HTTP/1.1 302 X\r\n", "HTTP/1.1 304 X\r\n", "HTTP/1.1 429 X\r\n",
    "HTTP/1.1 102 X\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 102 X\r\n\r\n" * 2000,
    "HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "HTTP/1.1 999 X\r\n", "HTTP/",
    "Content-Length: 5\r\n", "Content-Length: -1\r\n", "Transfer-Encoding: chunked\r\n", "\r\n",
    "5\r\nhello\r\n", "1\r\nx\r\n" * 9000, "0\r\n\r\n", "fffffffffffffffff\r\n", "hello",
    "Content-Encoding: gzip\r\n", "ETag: \xff\r\n", "ETag: a\r\n", "Set-Cookie: a=b\r\n",
    "Location: http://127.0.0.1:1/\r\n", "Retry-After: 99999999999\r\n", "Retry-After: \xb2\r\n",
    "Retry-After: 5\r\n", "A: b\r\n" * 9000, "A: " + "b" * 9000, "x" * 99999,
)  # fmt: skip
_CUTS = st.lists(st.integers(0, 400), max_size=4)

TARGETS = [
    Target("calendar", _files(), calendar, is_door=True, is_text=True),
    Target("answer", st.tuples(_CUTS, _ANSWERS).map(list), answer, 60, is_door=True),
]
