"""Reading a page of metrics, whatever stands on it."""

import asyncio
import contextlib
import gzip
import tracemalloc
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from rows import each

from kotatsu_operator.controller import pages, response
from kotatsu_operator.controller.demand import PodAnswer, Scraper
from kotatsu_operator.controller.pages import Coalesced, clock_skew, collect
from kotatsu_operator.core import exposition
from kotatsu_operator.core.exposition import Silence, count_of, samples_of, unix_time
from kotatsu_operator.core.pool.spec import InFlightMetric
from kotatsu_operator.kube.views import pod_view
from tests.operator.cluster import VOICE, activator_pod, eventually, pod, turns_of_others
from tests.operator.controller.served import AT, HELD, IN_FLIGHT, LAST, Page, held
from tests.operator.core.values import examples

pytestmark = pytest.mark.timeout(60)


# --- reading a page ---


def parse(page, names):
    """The samples of a page by name, collected as for each page."""
    return asyncio.run(collect(samples_of(page, names), contextlib.nullcontext))


@each(
    "values, count",
    [
        ([], 0),
        ([3.0], 3),
        ([1.0, 2.0], 3),
        ([float("nan"), 2.0], 2),
        ([float("nan")], None),
        ([-1.0], 0),
        ([float("inf")], None),
        ([float("-inf")], None),
        ([1e308, 1e308], None),
        ([1.7e308], 2**53),  # the sum over pods stays a number
    ],
)
def test_requests_are_counted_over_all_samples(values, count):
    assert count_of([({}, value) for value in values]) == count


@each(
    "seconds, at",
    [
        (AT.timestamp(), AT),
        (0.0, None),
        (253402300799.0, None),  # the last second that there is: any clock behind is beyond it
        (-5.0, None),
        (AT.timestamp() * 1000, None),
        (1e300, None),
        (float("inf"), None),
        (float("nan"), None),
    ],
)
def test_a_time_that_is_none_is_not_believed(seconds, at):
    assert unix_time(seconds) == at


# --- hostile pages ---


ESCAPED = f'{IN_FLIGHT}{{a="' + '\\"' * 1998 + '"} 0\n'
LABELED = f"{IN_FLIGHT}{{" + ",".join(f'a{i}=""' for i in range(300)) + "} 0\n"


@pytest.mark.parametrize(
    "page",
    [ESCAPED * 519, LABELED * 519, f"{IN_FLIGHT} 0\n" * 30_000, f"{IN_FLIGHT}x 0\n" * 30_000],
)
async def test_of_a_page_that_would_keep_the_loop_busy_little_is_read(
    scraper, serve, monkeypatch, page
):
    read = []
    sample = exposition._sample
    monkeypatch.setattr(exposition, "_sample", lambda *line: read.append(line) or sample(*line))
    view = await serve(Page(page.encode()[: 2 * 2**20]))
    assert isinstance(await scraper.pod(view, InFlightMetric()), Silence)
    assert 0 < sum(len(name) + len(rest) for name, rest in read) <= pages.MOST_WANTED


async def test_long_pages_of_one_namespace_keep_no_page_of_another_waiting(scraper, monkeypatch):
    """Beside a turn for each of theirs, that is."""
    come, read = asyncio.Event(), []

    async def arrive(self, *_):
        await come.wait()
        return f"{IN_FLIGHT} 0\n" * 20, timedelta()

    async def ask(namespace, name):
        view = replace(pod_view(pod(name, ready=True)), key=(namespace, name))
        assert await scraper.pod(view, InFlightMetric()) == PodAnswer(0, None)
        read.append(namespace)

    monkeypatch.setattr(pages.Pages, "_page", arrive)
    monkeypatch.setattr(pages, "TURN", 0.0)
    asking = [asyncio.create_task(ask("demo", f"voice-{i}")) for i in range(8)]
    asking.append(asyncio.create_task(ask("other", "voice")))
    await asyncio.sleep(0)
    come.set()
    await asyncio.gather(*asking)
    assert "other" in read[:2]


async def test_a_line_that_never_ends_is_not_read(scraper, serve):
    view = await serve(Page(f'{IN_FLIGHT}{{a="{"x" * 5000}"}} 0\n'.encode()))
    assert isinstance(await scraper.pod(view, InFlightMetric()), Silence)


async def test_a_long_page_of_an_activator_leaves_others_their_turns(scraper, serve, monkeypatch):
    monkeypatch.setattr(pages, "TURN", 0.0)
    page = "".join(held(1, name=f"pool-{n}") for n in range(15_000))
    with turns_of_others() as turns:
        view = await serve(Page(page.encode()), activator_pod)
        assert (await scraper.passing([view], VOICE)).held == 0
    assert turns() > 15_000


@given(st.data())
@examples(60)
def test_the_wanted_lines_of_a_page_are_the_same_in_any_pieces(data):
    wanted = st.sampled_from([IN_FLIGHT, f"{IN_FLIGHT}x", LAST, "other", "", f"x{IN_FLIGHT}"])
    page = "\n".join(f"{name} 1" for name in data.draw(st.lists(wanted, max_size=9))).encode()
    lines, at = pages._Lines((IN_FLIGHT, LAST), 1000), 0
    while at < len(page):
        size = data.draw(st.integers(1, 60))
        lines.take(page[at : at + size])
        at += size
    assert parse(lines.text(), (IN_FLIGHT, LAST)) == parse(page.decode(), (IN_FLIGHT, LAST))


@each("line", [b"# a comment\n", b"x" * 2**10, IN_FLIGHT.encode() + b" 0\n"])
def test_of_a_long_page_little_is_kept_in_memory(line):
    """So 64 long pages at once are some megabytes, and not 256."""
    lines, piece = pages._Lines((IN_FLIGHT,), pages.MOST_WANTED), line * (2**16 // len(line))
    tracemalloc.start()
    for _ in range(32):
        lines.take(piece)
    now, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert now < 5 * pages.MOST_WANTED


_VALUES = st.text('ab\\"\n,}{= #', max_size=8)
_LABELS = st.dictionaries(st.sampled_from(["a", "b_1", "name"]), _VALUES, max_size=3)


def _escaped(value):
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


@given(st.lists(st.tuples(_LABELS, st.floats(allow_nan=False), st.booleans()), max_size=4))
@examples(200)
def test_a_page_is_read_as_the_prometheus_client_reads_it(given_samples):
    lines = []
    for labels, value, has_time in given_samples:
        inner = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
        lines.append(f"{HELD}{{{inner}}} {value}{' 1700000000000' if has_time else ''}\n")
    page = "".join(lines)
    theirs = [
        (sample.labels, sample.value)
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    ]
    assert parse(page, (HELD,)).get(HELD, []) == theirs
    assert theirs == [(labels, value) for labels, value, _ in given_samples]


@pytest.mark.parametrize("layers", [1, 2])
async def test_a_packed_page_is_not_unpacked(scraper, serve, layers):
    body = f"{IN_FLIGHT} 0\n".encode()
    for _ in range(layers):
        body = gzip.compress(body)
    packed = Page(body, headers={"Content-Encoding": ", ".join(["gzip"] * layers)})
    silence = await scraper.pod(await serve(packed), InFlightMetric())
    assert silence.why.startswith("sends a compressed page")
    assert "accept-encoding: identity" in packed.heads[0].lower()


@each(
    "date",
    [
        *(None, "", "yesterday", "never", "Wed, 99 Nov 2026 10:00:00 GMT"),
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Wed, 25 Nov 2026 00:00:00 +99999999999999999",
    ],
)
def test_without_a_date_that_can_be_one_a_clock_is_taken_for_ours(date):
    assert clock_skew(date, AT) == timedelta()


async def test_a_redirect_is_not_followed(scraper, serve):
    elsewhere = Page(f"{IN_FLIGHT} 0\n".encode())
    there = await serve(elsewhere)
    url = f"http://127.0.0.1:{there.ports['http']}/"
    page = Page(status=302, headers={"Location": url})
    assert isinstance(await scraper.pod(await serve(page), InFlightMetric()), Silence)
    assert elsewhere.asked == []


@each(
    "metrics",
    [
        *(InFlightMetric(port=port) for port in ("99999", "²", "٣", "9" * 5000)),
        InFlightMetric(path="/\n"),
        InFlightMetric(path="/" + "a" * 70_000),
    ],
)
async def test_an_address_that_can_be_none_says_nothing(scraper, serve, metrics):
    assert isinstance(await scraper.pod(await serve(Page()), metrics), Silence)


async def test_a_path_leads_to_the_pod_whatever_stands_in_it(scraper, serve):
    for path in ("//elsewhere/", "/@elsewhere", "/../..", "/?x#y"):
        page = Page(f"{IN_FLIGHT} 0\n".encode())
        assert await scraper.pod(await serve(page), InFlightMetric(path=path)) == PodAnswer(0, None)


async def test_a_pod_that_drips_says_nothing_after_the_timeout(scraper, serve, monkeypatch):
    monkeypatch.setattr(pages, "TIMEOUT", 0.1)
    page = Page()

    async def drip(reader, writer):
        page.writers.append((reader, writer))
        writer.write(b"HTTP/1.1 200 .\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"# a comment\n")
                await writer.drain()
                await asyncio.sleep(0.02)

    page.answer = drip
    assert isinstance(await scraper.pod(await serve(page), InFlightMetric()), Silence)


@each(
    "how, why, lacks",
    [
        ({"ip": ""}, "has no address yet", False),
        ({"ports": []}, "has no port named http", True),
        ({"ports": [{"name": "x", "containerPort": 1}]}, "has no port named http", True),
        ({"port": 1}, "refuses connections on port 1", True),
    ],
)
async def test_a_pod_that_cannot_be_reached_says_nothing_and_why(scraper, how, why, lacks):
    answer = await scraper.pod(pod_view(pod(**how)), InFlightMetric())
    assert (answer, answer.lacks) == (Silence(why), lacks)


@pytest.mark.parametrize(("ahead", "said"), [(600, AT), (-600, AT), (2, None)])
async def test_a_pods_clock_may_be_another_than_ours(serve, ahead, said):
    """The Date of the answer tells how far it is off; what any answer is off is left alone."""
    there = AT + timedelta(seconds=ahead)
    page = Page(f"{IN_FLIGHT} 0\n{LAST} {there.timestamp()}\n".encode(), date=there)
    answer = await Scraper(clock=lambda: AT).pod(await serve(page), InFlightMetric())
    assert answer.last_request == (said or there)


async def test_never_more_are_asked_at_once_than_allowed(serve):
    waiting, most = 0, 0

    class Slow(Page):
        async def answer(self, reader, writer):
            nonlocal waiting, most
            waiting += 1
            most = max(most, waiting)
            await asyncio.sleep(0.01)
            waiting -= 1
            await super().answer(reader, writer)

    view = await serve(Slow(f"{IN_FLIGHT} 1\n".encode()))
    scraper = Scraper(parallel=2)
    answers = await asyncio.gather(*(scraper.pod(view, InFlightMetric()) for _ in range(8)))
    assert answers == [PodAnswer(1, None)] * 8
    assert most == 2


class Held:
    """In place of the reading of pages: which namespaces' are read, until the test opens it."""

    def __init__(self, monkeypatch):
        self.came, self.gate = [], asyncio.Event()
        monkeypatch.setattr(pages.Pages, "_page", self._page)

    async def _page(self, turn, *_):
        self.came.append(turn.args[0])
        await self.gate.wait()
        return f"{IN_FLIGHT} 0\n", timedelta()


@each("namespaces", [4, 40])
async def test_of_pages_that_wait_one_of_each_namespace_goes_before_another_namespaces(
    monkeypatch, namespaces
):
    held, scraper = Held(monkeypatch), Scraper()

    async def ask(namespace, name):
        view = replace(pod_view(pod(name, ready=True)), key=(namespace, name))
        return await scraper.pod(view, InFlightMetric())

    asking = [asyncio.create_task(ask(f"crowd-{n % namespaces}", f"web-{n}")) for n in range(1200)]
    await asyncio.sleep(0)
    asking.append(asyncio.create_task(ask("other", "web")))
    await asyncio.sleep(0)
    most = pages.MOST * pages.PARALLEL
    assert len(held.came) == most, "of all namespaces together"
    held.gate.set()
    assert await asyncio.gather(*asking) == [PodAnswer(0, None)] * 1201
    before = held.came[most : held.came.index("other")]
    assert len(before) == len(set(before))


async def test_pods_of_one_namespace_that_never_respond_leave_places_to_another(monkeypatch):
    held, scraper = Held(monkeypatch), Scraper()
    views = [replace(pod_view(pod(f"web-{n}", ready=True)), key=("crowd", "")) for n in range(1200)]
    views.append(replace(views[0], key=("other", "")))
    asking = [asyncio.create_task(scraper.pod(view, InFlightMetric())) for view in views]
    await asyncio.sleep(0)
    assert held.came == ["crowd"] * pages.PARALLEL + ["other"]
    held.gate.set()
    await asyncio.gather(*asking)


CHUNKS = b"1\r\n#\r\n" * 1000 + b"0\r\n\r\n"


@each(
    "parse, data",
    {
        "chunks": (lambda reader, turn: _drain(response._chunks(reader, turn)), CHUNKS),
        "a head": (response._answer, b"HTTP/1.1 200 OK\r\n" + b"a\r\n" * 9000 + b"\r\n"),
    },
)
async def test_one_pages_chunks_or_head_are_parsed_in_a_turn_of_the_loop(monkeypatch, parse, data):
    monkeypatch.setattr(pages, "TURN", 0.0)
    reading = pages.Pages()

    async def one():
        reader = asyncio.StreamReader(limit=response.FRAMING)
        reader.feed_data(data)
        await parse(reader, partial(reading._turn, "demo"))

    with turns_of_others() as turns:
        await asyncio.gather(*(one() for _ in range(64)))
    assert turns() >= 64


async def _drain(pieces):
    async for _ in pieces:
        pass


# --- whatever they say ---


_LINES = st.one_of(
    st.text(max_size=30),
    st.builds(
        f"{IN_FLIGHT}{{}}{{}}".format, st.text('{}=," a\\', max_size=10), st.text(max_size=8)
    ),
    st.builds(f"{IN_FLIGHT} {{}}".format, st.floats()),
    st.builds(f"{LAST} {{}}".format, st.floats()),
)


@given(page=st.lists(_LINES, max_size=6).map("\n".join))
@examples(60)
def test_no_page_ends_a_look(page):
    async def ask():
        made = Page(page.encode("utf-8", "surrogatepass"))
        server = await asyncio.start_server(made.answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await Scraper().pod(pod_view(pod(port=port)), InFlightMetric())

    answer = asyncio.run(ask())
    assert isinstance(answer, Silence) or answer.in_flight >= 0


# --- one question for all ---


class Oracle:
    """Answers with the number of the question, when the test lets it."""

    def __init__(self):
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self):
        self.asked += 1
        number = self.asked
        await self.gate.wait()
        if number == 13:
            raise ValueError("unlucky")
        return number


@pytest.fixture
def oracle():
    return Oracle()


async def test_who_asks_during_a_question_gets_the_answer_to_the_next_one(oracle):
    shared = Coalesced(oracle)
    oracle.gate.clear()
    first = asyncio.create_task(shared())
    await eventually(lambda: oracle.asked == 1)
    later = [asyncio.create_task(shared()) for _ in range(20)]
    await asyncio.sleep(0.01)
    assert oracle.asked == 1  # one at a time
    oracle.gate.set()
    assert await first == 1
    assert await asyncio.gather(*later) == [2] * 20


async def test_questions_begin_some_time_apart(oracle):
    shared = Coalesced(oracle, every=0.05)
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in (1, 2, 3):
        assert await shared() == number
    assert loop.time() - began >= 0.1


async def test_one_who_goes_away_takes_nobody_along(oracle):
    shared = Coalesced(oracle)
    oracle.gate.clear()
    going, staying = (asyncio.create_task(shared()) for _ in range(2))
    await eventually(lambda: oracle.asked == 1)
    going.cancel()
    await asyncio.sleep(0)
    oracle.gate.set()
    assert await staying == 1


async def test_what_the_question_raises_reaches_all_who_asked_and_not_the_next(oracle):
    shared = Coalesced(oracle)
    oracle.asked = 12
    answers = await asyncio.gather(shared(), shared(), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ValueError, ValueError]
    assert await shared() == 14
