"""Following calendars: mounted files, and URLs of a server that fails, hangs and redirects."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from rows import each

from kotatsu_operator.core.calendar.occasions import MOST_BYTES, CalendarError
from kotatsu_operator.core.pool.memory import Memory
from kotatsu_operator.features.calendars import child, feature
from kotatsu_operator.features.calendars.feature import Calendars
from kotatsu_operator.features.calendars.fetch import FetchError, fetch
from kotatsu_operator.features.calendars.windows import Reading, follow
from kotatsu_operator.kube.objects import Key
from tests.operator.core.calendar.icalendar_files import calendar, event
from tests.operator.core.values import pool_spec

NOW = datetime(2030, 12, 1, tzinfo=UTC)
GOOD = calendar(event(DTSTART="20301218T100000Z", DURATION="PT2H"))
MOUNTED = ("calendar.ics", GOOD)
MOVED = calendar(event(DTSTART="20301219T100000Z", DURATION="PT2H"))


@pytest.fixture(autouse=True)
def without_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calendars are read at once: test_child.py has the process."""

    async def occasions(data: bytes, after: datetime, before: datetime) -> child.Found:
        return child.read_here(data, after, before)

    monkeypatch.setattr(child, "occasions", occasions)


@dataclass
class Desk:
    """Mounted calendars and a clock."""

    folder: Path
    now: datetime = NOW

    def __post_init__(self) -> None:
        self.metrics = CollectorRegistry()
        self.calendars = Calendars(self.folder, ["team"], self.metrics, lambda: self.now)

    def mount(self, data: bytes, name: str = "calendar.ics") -> None:
        (self.folder / "team").mkdir(exist_ok=True)
        (self.folder / "team" / name).write_bytes(data)

    async def reads(self, data: bytes, name: str = "calendar.ics", *, later: float = 0) -> None:
        self.mount(data, name)
        await self.look(later)

    async def look(self, later: float = 0) -> None:
        self.now += timedelta(seconds=later)
        await self.calendars.look("team")

    def metric(self, name: str) -> float | None:
        return self.metrics.get_sample_value(f"kotatsu_calendar_{name}", {"name": "team"})

    @property
    def reading(self) -> Reading:
        return self.calendars.readings()["team"]

    @property
    def starts(self) -> list[int]:
        """The days of its events."""
        return [o.start.day for o in self.reading.occasions]

    @property
    def error(self) -> str:
        return self.reading.error


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_a_mounted_file_is_read_again_when_it_changes(desk):
    await desk.reads(GOOD)
    first = desk.reading
    assert desk.starts == [18]
    await desk.look(later=10)
    assert desk.reading is first
    await desk.reads(MOVED, later=10)
    assert desk.starts == [19]


async def test_a_change_that_says_nothing_is_the_same_reading(desk):
    times = {"DTSTART": "20301218T100000Z", "DURATION": "PT2H"}
    await desk.reads(calendar(event(DTSTAMP="20301201T000000Z", **times)))
    first = desk.reading
    await desk.reads(calendar(event(DTSTAMP="20301201T001000Z", **times)), later=600)
    assert desk.reading is first
    assert desk.metric("read_timestamp_seconds") == desk.now.timestamp()


@pytest.mark.slow
async def test_of_a_calendar_that_changes_and_fails_one_reading_is_kept(desk):
    pool = pool_spec(timeZone="UTC", calendars=[{"name": "team", "replicas": 1}])
    memory, made = Memory(), weakref.WeakSet[Reading]()
    for day in range(1, 20):
        good = calendar(event(DTSTART=f"203012{day:02}T100000Z", DURATION="PT2H"))
        for data in (good, b"<html>"):
            await desk.reads(data, later=600)
            memory = follow(pool, memory, desk.calendars.readings(), desk.now)
            made.update(desk.calendars.readings().values())
    gc.collect()
    assert len(made) == 1


async def test_a_calendar_that_hangs_delays_no_other(tmp_path, monkeypatch):
    touched = asyncio.Queue[Key]()
    calendars = Calendars(tmp_path, ["hangs", "team"], CollectorRegistry(), lambda: NOW)
    calendars.observe(("demo", "voice"), {"spec": {"calendars": [{"name": "team"}]}})
    calendars.observe(("demo", "other"), {"spec": {"calendars": [{"name": "hangs"}]}})
    for name, file, data in (("hangs", "url", b"http://calendar.example/"), ("team", *MOUNTED)):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_bytes(data)
    monkeypatch.setattr(feature, "fetch", lambda *_, **__: asyncio.Event().wait())
    monkeypatch.setattr(feature, "EVERY", 0.01)
    task = asyncio.create_task(calendars.run(touched.put_nowait))
    assert await touched.get() == ("demo", "voice")
    (tmp_path / "team" / "calendar.ics").write_bytes(MOVED)
    assert await asyncio.wait_for(touched.get(), 10) == ("demo", "voice")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_events_come_into_reach_with_time(desk):
    await desk.reads(calendar(event(DTSTART="20310301T100000Z", DURATION="PT2H")))
    assert desk.starts == []
    await desk.look(later=40 * 86400)
    assert desk.starts == [1]


async def test_an_event_that_is_over_stays_in_reach_while_a_window_of_its_day_may_last(desk):
    await desk.reads(calendar(event(DTSTART="20301202T100000Z", DURATION="PT2H")))
    await desk.look(later=31 * 86400)
    assert desk.starts == [2]
    await desk.look(later=3 * 86400)
    assert desk.starts == []


@pytest.mark.parametrize("bad", [b"<html>", b"\xff", GOOD[:-30], b"BEGIN:VCALENDAR" + b"x" * 2**22])
async def test_a_file_that_breaks_keeps_what_was_read_until_it_is_corrected(desk, bad):
    await desk.reads(GOOD)
    await desk.reads(bad, later=10)
    assert desk.starts == [18]
    assert desk.error
    assert desk.metric("failed") == 1
    await desk.reads(GOOD, later=10)
    assert (desk.starts, desk.error, desk.metric("failed")) == ([18], "", 0)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (CalendarError("ends its reader with status -9"), "status -9; correct it"),
        (OSError("no process"), "cannot be read; the operator's log has the error"),
    ],
)
async def test_a_file_that_could_not_be_read_is_tried_again_after_an_hour(
    desk, monkeypatch, error, said
):
    tried: list[datetime] = []

    async def killed(*_: object) -> None:
        tried.append(desk.now)
        raise error

    monkeypatch.setattr(child, "occasions", killed)
    desk.mount(GOOD)
    for _ in range(370):
        await desk.look(later=10)
    assert [later - tried[0] for later in tried] == [timedelta(), timedelta(hours=1)]
    assert desk.error.endswith(said)


async def test_what_is_not_mounted_is_said(desk):
    await desk.look()
    assert desk.error.startswith("is not mounted: its ConfigMap or Secret, or the key in it")
    assert desk.metric("read_timestamp_seconds") == 0


@dataclass
class Server:
    """A calendar server that answers as a test says."""

    url: str = ""
    requests: list[web.Request] = field(default_factory=list)
    status: int = 200
    leads_to: str = "/basic.ics"
    """Of a redirect."""
    body: bytes = GOOD

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if request.path == "/moved":
            raise web.HTTPFound(self.leads_to)
        if request.path == "/endless":
            answer = web.StreamResponse()
            await answer.prepare(request)
            for _ in range(2 * MOST_BYTES // 2**16):
                await answer.write(b"x" * 2**16)
            return answer
        if request.path == "/slow":
            answer = web.StreamResponse()
            await answer.prepare(request)
            await answer.write(b"BEGIN")
            await request.content.read()
            await asyncio.sleep(60)
        if request.headers.get("If-None-Match") == '"1"' and self.status == 200:
            return web.Response(status=304)
        return web.Response(status=self.status, body=self.body, headers={"ETag": '"1"'})


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def test_a_url_is_fetched_again_only_when_it_is_due_and_has_changed(desk, server):
    await desk.reads(f"{server.url}/secret-token/basic.ics\n".encode(), "url")
    assert (desk.starts, len(server.requests)) == ([18], 1)
    await desk.look(later=60)
    assert len(server.requests) == 1
    await desk.look(later=600)
    assert (len(server.requests), desk.starts) == (2, [18])
    assert desk.metric("read_timestamp_seconds") == desk.now.timestamp()


async def test_a_server_that_fails_is_asked_less_and_less(desk, server):
    await desk.reads(f"{server.url}/secret-token".encode(), "url")
    server.status = 503
    asked = []
    for _ in range(1200):
        before = len(server.requests)
        await desk.look(later=10)
        if len(server.requests) > before:
            asked.append(desk.now)
    pauses = [(b - a).total_seconds() for a, b in pairwise(asked)]
    assert pauses[:4] == [60, 120, 240, 480]
    assert max(pauses) == 3600
    assert desk.starts == [18]
    assert "503 from 127.0.0.1" in desk.error
    server.status = 200
    await desk.look(later=3600)
    assert desk.error == ""


async def test_a_new_url_is_fetched_at_once(desk, server):
    desk.mount(f"{server.url}/404".encode(), "url")
    server.status = 404
    await desk.look()
    assert "the calendar is not there" in desk.error
    server.status = 200
    await desk.reads(f"{server.url}/new".encode(), "url", later=10)
    assert (desk.starts, desk.error) == ([18], "")


@each("path, words", [
    ("/moved", "gets 302 from 127.0.0.1: redirects are not followed; put the URL that it "),
    ("/endless", "has more than 2 MiB"),
    ("/slow", "is not answered by 127.0.0.1 within 0.5 s"),
])  # fmt: skip
async def test_a_hostile_server_is_one_sentence_without_the_url(server, path, words):
    with pytest.raises(FetchError, match=words) as error:
        await fetch(f"{server.url}{path}?key=hunter2", patience=0.5 if path == "/slow" else 30)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("where", ["/basic.ics", "http://127.0.0.2:{port}/", "file:///etc/passwd"])
async def test_no_server_leads_the_operator_to_another_address(server, where):
    server.leads_to = where.format(port=server.url.rpartition(":")[2])
    with pytest.raises(FetchError):
        await fetch(f"{server.url}/moved")
    assert [request.path for request in server.requests] == ["/moved"]


@each("begins, endless", [
    (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
])  # fmt: skip
async def test_of_an_answer_that_never_ends_little_is_taken(begins, endless):
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(begins)
        try:
            while True:
                writer.write(endless * 1000)
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            writer.transport.abort()  # a test that ends waits for nobody to read the rest

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        with pytest.raises(FetchError, match="cannot be fetched from 127"):
            await fetch(f"http://{host}:{port}/")  # and not: is not answered within 30 s


@each("url, words", [
    *((url, "has no valid URL") for url in ("file:///etc/passwd", "", "https://")),
    ("http://[hunter2", "has no valid URL in its Secret"),
    ("http://127.0.0.1:1/hunter2", "cannot be fetched from 127"),
])  # fmt: skip
async def test_an_address_that_is_none_or_does_not_answer_is_one_sentence(url, words):
    with pytest.raises(FetchError, match=words) as error:
        await fetch(url)
    assert "hunter2" not in str(error.value)
