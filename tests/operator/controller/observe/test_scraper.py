"""Asking pods and activators what they do: only a clear answer counts."""

import asyncio
import contextlib
import gzip
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from kotatsu_operator.activator.metrics import ActivatorMetrics
from kotatsu_operator.controller.observe import demand as scrape
from kotatsu_operator.controller.observe import pages
from kotatsu_operator.controller.observe.demand import Passing, PodAnswer, Scraper
from kotatsu_operator.controller.observe.pages import clock_skew, collect
from kotatsu_operator.core import exposition
from kotatsu_operator.core.exposition import Silence, count_of, samples_of, unix_time
from kotatsu_operator.core.pool.spec import Metrics
from kotatsu_operator.kube.pod import pod_view
from kotatsu_operator.runtime.health import Checks, start_admin
from tests.operator.cluster import VOICE, activator_pod, pod
from tests.operator.core.values import examples

pytestmark = pytest.mark.timeout(60)

IN_FLIGHT = "kotatsu_requests_in_flight"
LAST = "kotatsu_last_request_timestamp_seconds"
HELD = "kotatsu_activator_held"
AT = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)


# --- reading a page ---


def parse(page, names):
    """The samples of a page by name, collected as for each page."""
    return asyncio.run(collect(samples_of(page, names), asyncio.Lock()))


def test_only_the_samples_asked_for_are_found():
    page = f"""# HELP {IN_FLIGHT} Requests.
# TYPE {IN_FLIGHT} gauge
{IN_FLIGHT} 3.0
{IN_FLIGHT}_other 9.0
other_{IN_FLIGHT} 9.0
python_info{{version="3"}} 1.0
{LAST} 1.7e+09
"""
    assert parse(page, (IN_FLIGHT, LAST)) == {
        IN_FLIGHT: [({}, 3.0)],
        LAST: [({}, 1.7e9)],
    }


def test_labels_come_with_their_samples():
    page = f'{HELD}{{namespace="a",name="b"}} 2\n{HELD}{{namespace="a",name="c\\"d"}} 3\n'
    assert parse(page, (HELD,)) == {
        HELD: [({"namespace": "a", "name": "b"}, 2.0), ({"namespace": "a", "name": 'c"d'}, 3.0)]
    }


def test_a_counter_is_found_by_the_name_of_its_sample():
    assert parse("# TYPE x counter\nx_total 4\n", ("x_total",)) == {"x_total": [({}, 4.0)]}


@pytest.mark.parametrize("page", ["", "\n", "<html>kotatsu</html>", "# nothing", "a b c"])
def test_a_page_without_them_has_none(page):
    assert parse(page, (IN_FLIGHT,)) == {}


def test_garbage_on_other_lines_does_not_matter():
    assert parse(f"{{{{{{\n{IN_FLIGHT} 1\n\x00\n", (IN_FLIGHT,)) == {IN_FLIGHT: [({}, 1.0)]}


@pytest.mark.parametrize(
    ("values", "count"),
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
    ],
)
def test_requests_are_counted_over_all_samples(values, count):
    assert count_of([({}, value) for value in values]) == count


@pytest.mark.parametrize(
    ("seconds", "at"),
    [
        (AT.timestamp(), AT),
        (0.0, None),
        (-5.0, None),
        (AT.timestamp() * 1000, None),
        (1e300, None),
        (float("inf"), None),
        (float("nan"), None),
    ],
    ids=["seconds", "never", "negative", "milliseconds", "huge", "infinite", "nan"],
)
def test_a_time_that_is_none_is_not_believed(seconds, at):
    assert unix_time(seconds) == at


# --- asking ---


class Page:
    """A pod's web server with one page, and a view of the pod."""

    def __init__(self, body=b"", status=200, hangs=False, date=None, headers=()):
        self.body, self.status, self.hangs = body, status, hangs
        told = dict(headers) | ({} if date is None else {"Date": format_datetime(date, True)})
        self.headers = "".join(f"{name}: {value}\r\n" for name, value in told.items()).encode()
        self.heads, self.asked = [], []
        self.writers = []

    async def answer(self, reader, writer):
        self.writers.append((reader, writer))
        with contextlib.suppress(asyncio.IncompleteReadError):
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            self.asked.append(self.heads[-1].split(" ")[1])
            if self.hangs:
                return
            writer.write(
                b"HTTP/1.1 %d .\r\n%bConnection: close\r\n\r\n" % (self.status, self.headers)
            )
            with contextlib.suppress(ConnectionError):
                writer.write(self.body)
                await writer.drain()
            writer.close()


@pytest.fixture
async def scraper():
    async with contextlib.aclosing(Scraper()) as made:
        yield made


@pytest.fixture
async def serve():
    servers, pages = [], []

    async def serve(page, make=pod, **how):
        server = await asyncio.start_server(page.answer, "127.0.0.1", 0)
        servers.append(server)
        pages.append(page)
        return pod_view(make(port=server.sockets[0].getsockname()[1], ready=True, **how))

    yield serve
    for server in servers:
        server.close()
    for page in pages:
        for _, writer in page.writers:
            writer.transport.abort()
    await asyncio.sleep(0)


async def test_a_pod_tells_its_requests_and_when_the_last_one_was(scraper, serve):
    page = Page(f"{IN_FLIGHT} 2\n{LAST} {AT.timestamp()}\n".encode())
    view = await serve(page)
    assert await scraper.pod(view, Metrics()) == PodAnswer(2, AT)
    assert page.asked == ["/metrics"]


async def test_a_pod_with_several_workers_is_summed_and_its_newest_request_counts(scraper, serve):
    workers = "".join(
        f'{IN_FLIGHT}{{pid="{i}"}} {i}\n{LAST}{{pid="{i}"}} {AT.timestamp() - i}\n'
        for i in (3, 1, 2)
    )
    view = await serve(Page(workers.encode()))
    answer = await scraper.pod(view, Metrics())
    assert answer == PodAnswer(6, datetime.fromtimestamp(AT.timestamp() - 1, UTC))


async def test_the_time_of_the_last_request_may_be_missing(scraper, serve):
    view = await serve(Page(f"{IN_FLIGHT} 0\n".encode()))
    assert await scraper.pod(view, Metrics()) == PodAnswer(0, None)


async def test_port_path_and_names_are_the_specs(scraper, serve):
    page = Page(b"busy 4\nat 1.7e9\n")
    view = await serve(page)
    metrics = Metrics(path="/m", in_flight="busy", last_request="at")
    assert await scraper.pod(view, metrics) == PodAnswer(4, datetime.fromtimestamp(1.7e9, UTC))
    assert page.asked == ["/m"]
    by_number = Metrics(port=str(view.ports["http"]), in_flight="busy", last_request="at")
    assert await scraper.pod(view, by_number) is not None


NO_METRIC = f"has no metric {IN_FLIGHT} on its page /metrics on port http"
NO_PAGE = "has no readable metrics page"


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (Page(b""), NO_METRIC),
        (Page(b"<html></html>"), NO_METRIC),
        (Page(f"{LAST} 5\n".encode()), NO_METRIC),
        (Page(f"{IN_FLIGHT}\n".encode()), NO_PAGE),
        (Page(f"{IN_FLIGHT} many\n".encode()), NO_PAGE),
        (Page(f"{IN_FLIGHT}{{a= 1\n".encode()), NO_PAGE),
        (Page(f"{IN_FLIGHT} +Inf\n".encode()), "reports no finite number"),
        (Page(f"{IN_FLIGHT} NaN\n".encode()), "reports no finite number"),
        (Page(b"\xff\xfe" + f"\n{IN_FLIGHT} 1\n".encode()), NO_PAGE),
        (Page(f"{IN_FLIGHT} 1\n".encode(), status=500), "answers 500 for /metrics on port"),
        (Page(f"{IN_FLIGHT} 1\n".encode(), status=302), "answers 302 for /metrics on port"),
        (
            Page(f"{IN_FLIGHT} 1\n".encode() + b"#" * (3 * 2**20)),
            "too much to be read (name a smaller page in spec.metrics)",
        ),
    ],
    ids=[
        "empty",
        "another page",
        "not the gauge",
        "no value",
        "no number",
        "broken labels",
        "infinite",
        "not a number",
        "not utf-8",
        "500",
        "302",
        "endless",
    ],
)
async def test_a_pod_that_does_not_say_clearly_says_nothing_and_why(scraper, serve, page, why):
    answer = await scraper.pod(await serve(page), Metrics())
    assert isinstance(answer, Silence)
    assert why in answer.why


LACKING = [
    Page(b"<html></html>"),
    Page(b"", status=404),
    Page(b"", status=302),
    Page(f"{IN_FLIGHT} 1\n".encode() + b"#" * (3 * 2**20)),
    Page(b"\xff\xfe" + f"\n{IN_FLIGHT} 1\n".encode()),
]


@pytest.mark.parametrize("page", LACKING, ids=["another page", "404", "302", "endless", "not text"])
async def test_an_answer_without_the_gauge_shows_that_there_is_none(scraper, serve, page):
    assert (await scraper.pod(await serve(page), Metrics())).lacks


@pytest.mark.parametrize("page", [Page(b"", status=503), Page(f"{IN_FLIGHT} NaN\n".encode())])
async def test_a_pod_in_trouble_shows_nothing(scraper, serve, page):
    assert not (await scraper.pod(await serve(page), Metrics())).lacks


async def test_no_such_port_and_a_refused_connection_show_that_there_is_none(scraper, serve):
    view = await serve(Page())
    assert (await scraper.pod(view, Metrics(port="metrics"))).lacks
    assert (await scraper.pod(view, Metrics(port="1"))).lacks


async def test_a_known_gauge_is_found_without_a_field(scraper, serve):
    view = await serve(Page(b"vllm:num_requests_running 2\nvllm:num_requests_waiting 1\n"))
    assert await scraper.pod(view, Metrics()) == PodAnswer(3, None)


async def test_a_name_in_the_spec_is_the_only_one_that_is_looked_for(scraper, serve):
    view = await serve(Page(b"vllm:num_requests_running 2\n"))
    answer = await scraper.pod(view, Metrics(in_flight="busy"))
    assert "has no metric busy" in answer.why


async def test_the_ports_of_the_service_are_where_a_gauge_may_count_its_own_page(scraper, serve):
    view = await serve(Page(b"http_server_active_requests 1\n"))
    assert await scraper.pod(view, Metrics(), ["other"]) == PodAnswer(1, None)
    assert (await scraper.pod(view, Metrics(), ["http"])).lacks


# --- hostile pages ---

ESCAPED = f'{IN_FLIGHT}{{a="' + '\\"' * 1998 + '"} 0\n'
LABELLED = f"{IN_FLIGHT}{{" + ",".join(f'a{i}=""' for i in range(300)) + "} 0\n"


@pytest.mark.parametrize(
    "page",
    [ESCAPED * 519, LABELLED * 519, f"{IN_FLIGHT} 0\n" * 30_000, f"{IN_FLIGHT}x 0\n" * 30_000],
)
async def test_of_a_page_that_would_keep_the_loop_busy_little_is_read(
    scraper, serve, monkeypatch, page
):
    read = []
    sample = exposition._sample
    monkeypatch.setattr(exposition, "_sample", lambda *line: read.append(line) or sample(*line))
    view = await serve(Page(page.encode()[: 2 * 2**20]))
    assert isinstance(await scraper.pod(view, Metrics()), Silence)
    assert 0 < sum(len(name) + len(rest) for name, rest in read) <= pages.MOST_WANTED


async def test_long_pages_of_one_namespace_keep_no_page_of_another_waiting(scraper, monkeypatch):
    """Beside a turn for each of theirs, that is."""
    come, read = asyncio.Event(), []

    async def arrive(self, *_):
        await come.wait()
        return f"{IN_FLIGHT} 0\n" * 20, timedelta()

    async def ask(namespace, name):
        view = replace(pod_view(pod(name, ready=True)), key=(namespace, name))
        assert await scraper.pod(view, Metrics()) == PodAnswer(0, None)
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
    assert isinstance(await scraper.pod(view, Metrics()), Silence)


async def test_a_long_page_of_an_activator_leaves_others_their_turns(scraper, serve, monkeypatch):
    monkeypatch.setattr(pages, "TURN", 0.0)
    turns = 0

    async def others():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counted = asyncio.create_task(others())
    page = "".join(held(1, name=f"pool-{n}") for n in range(15_000))
    assert (
        await scraper.passing([await serve(Page(page.encode()), activator_pod)], VOICE)
    ).held == 0
    counted.cancel()
    assert turns > 15_000


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
    silence = await scraper.pod(await serve(packed), Metrics())
    assert silence.why.startswith("sends a compressed page")
    assert "accept-encoding: identity" in packed.heads[0].lower()


@pytest.mark.parametrize(
    "date",
    ["Fri, 31 Dec 9999 23:59:59 GMT", "Wed, 25 Nov 2026 00:00:00 +99999999999999999", "never"],
)
async def test_a_date_that_can_be_none_is_no_clock(scraper, serve, date):
    page = Page(f"{IN_FLIGHT} 0\n{LAST} {AT.timestamp()}\n".encode(), headers={"Date": date})
    assert await scraper.pod(await serve(page), Metrics()) == PodAnswer(0, AT)


async def test_a_redirect_is_not_followed(scraper, serve):
    elsewhere = Page(f"{IN_FLIGHT} 0\n".encode())
    there = await serve(elsewhere)
    url = f"http://127.0.0.1:{there.ports['http']}/"
    page = Page(status=302, headers={"Location": url})
    assert isinstance(await scraper.pod(await serve(page), Metrics()), Silence)
    assert elsewhere.asked == []


@pytest.mark.parametrize(
    "metrics",
    [
        *(Metrics(port=port) for port in ("99999", "²", "٣", "9" * 5000)),
        Metrics(path="/\n"),
        Metrics(path="/" + "a" * 70_000),
    ],
)
async def test_an_address_that_can_be_none_says_nothing(scraper, serve, metrics):
    assert isinstance(await scraper.pod(await serve(Page()), metrics), Silence)


async def test_a_path_leads_to_the_pod_whatever_stands_in_it(scraper, serve):
    for path in ("//elsewhere/", "/@elsewhere", "/../..", "/?x#y"):
        page = Page(f"{IN_FLIGHT} 0\n".encode())
        assert await scraper.pod(await serve(page), Metrics(path=path)) == PodAnswer(0, None)


async def test_a_pod_that_hangs_says_nothing_after_the_timeout(scraper, serve, monkeypatch):
    monkeypatch.setattr(pages, "TIMEOUT", 0.05)
    answer = await scraper.pod(await serve(Page(hangs=True)), Metrics())
    assert "does not respond on port" in answer.why


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
    assert isinstance(await scraper.pod(await serve(page), Metrics()), Silence)


async def test_a_pod_that_refuses_says_nothing(scraper, serve):
    view = await serve(Page())
    refused = await scraper.pod(pod_view(pod(port=1)), Metrics())
    assert refused == Silence("refuses connections on port 1")
    assert view.ready


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"ip": ""}, "has no address yet"),
        ({"ports": []}, "has no port named http"),
        ({"ports": [{"name": "x", "containerPort": 1}]}, "has no port named http"),
    ],
)
async def test_a_pod_without_address_or_port_is_not_asked(scraper, how, why):
    assert await scraper.pod(pod_view(pod(**how)), Metrics()) == Silence(why)


@pytest.mark.parametrize(("ahead", "said"), [(600, AT), (-600, AT), (2, None)])
async def test_a_pods_clock_may_be_another_than_ours(serve, ahead, said):
    """The Date of the answer tells how far it is off; what any answer is off is left alone."""
    there = AT + timedelta(seconds=ahead)
    page = Page(f"{IN_FLIGHT} 0\n{LAST} {there.timestamp()}\n".encode(), date=there)
    async with contextlib.aclosing(Scraper(clock=lambda: AT)) as scraper:
        answer = await scraper.pod(await serve(page), Metrics())
    assert answer.last_request == (said or there)


@pytest.mark.parametrize("date", [None, "", "yesterday", "Wed, 99 Nov 2026 10:00:00 GMT"])
def test_without_a_date_a_clock_is_taken_for_ours(date):
    assert clock_skew(date, AT) == timedelta()


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
    async with contextlib.aclosing(Scraper(parallel=2)) as scraper:
        answers = await asyncio.gather(*(scraper.pod(view, Metrics()) for _ in range(8)))
    assert answers == [PodAnswer(1, None)] * 8
    assert most == 2


# --- silent pods ---


async def test_a_pod_that_let_the_time_pass_is_not_asked_again_for_a_moment(
    scraper, serve, monkeypatch
):
    monkeypatch.setattr(pages, "TIMEOUT", 0.02)
    page = Page(hangs=True)
    view = await serve(page)
    first, again = [await scraper.pod(view, Metrics()) for _ in range(2)]
    assert first == again
    assert len(page.asked) == 1


async def test_a_pod_that_stays_silent_is_asked_less_and_less_and_heard_when_it_speaks(
    scraper, serve, monkeypatch
):
    monkeypatch.setattr(pages, "TIMEOUT", 0.02)
    monkeypatch.setattr(scrape, "QUIET", 0.0)
    page = Page(f"{IN_FLIGHT} 2\n".encode(), hangs=True)
    view = await serve(page)
    await scraper.pod(view, Metrics())
    for lasting in (1.0, 2.0, 16.0, 16.0):
        scraper._quiet[view.uid] = replace(scraper._quiet[view.uid], lasting=lasting, until=0.0)
        await scraper.pod(view, Metrics())
        assert scraper._quiet[view.uid].lasting == min(2 * lasting, 16.0)
    page.hangs = False
    monkeypatch.setattr(pages, "TIMEOUT", 10.0)
    scraper._quiet[view.uid] = replace(scraper._quiet[view.uid], until=0.0)
    assert await scraper.pod(view, Metrics()) == PodAnswer(2, None)
    assert scraper._quiet == {}


async def test_a_pod_that_refuses_is_asked_each_time(scraper):
    view = pod_view(pod(port=1))
    await scraper.pod(view, Metrics())
    assert scraper._quiet == {}


async def test_silent_pods_of_one_namespace_keep_no_page_of_another_waiting(serve):
    async with contextlib.aclosing(Scraper(parallel=1)) as scraper:
        hanging = replace(await serve(Page(hangs=True)), key=("other", "voice"))
        speaking = await serve(Page(f"{IN_FLIGHT} 1\n".encode()))
        waiting = asyncio.create_task(scraper.pod(hanging, Metrics()))
        await asyncio.sleep(0)
        assert await scraper.pod(speaking, Metrics()) == PodAnswer(1, None)
        assert not waiting.done()
        waiting.cancel()


async def test_when_many_pods_of_a_pool_are_silent_the_rest_is_not_waited_for(
    scraper, serve, monkeypatch
):
    monkeypatch.setattr(pages, "TIMEOUT", 0.02)
    monkeypatch.setattr(scrape, "AT_ONCE", 2)
    page = Page(hangs=True)
    view = await serve(page)
    pods = [replace(view, uid=f"pod-{n}") for n in range(50)]
    answers = await scraper.pods(pods, Metrics())
    assert all(isinstance(answer, Silence) for answer in answers)
    assert "was not asked" in answers[-1].why
    assert len(page.asked) <= 4


# --- held ---


def held(number, namespace="demo", name="voice"):
    return f'{HELD}{{namespace="{namespace}",name="{name}"}} {number}\n'


async def test_what_all_activators_hold_for_a_pool_is_summed(scraper, serve):
    mine_and_others = held(2) + held(9, name="feed") + held(9, namespace="other")
    pages = [mine_and_others, held(3), ""]
    views = [await serve(Page(page.encode()), activator_pod) for page in pages]
    assert (await scraper.passing(views, VOICE)).held == 5


async def test_all_pools_of_a_namespace_ask_an_activator_together_and_for_nothing_else(
    scraper, serve
):
    page = Page((held(2) + held(9, name="feed")).encode())
    views = [await serve(page, activator_pod)]
    asked = [scraper.passing(views, ("demo", name)) for name in ("voice", "feed", "other") * 10]
    assert [said.held for said in await asyncio.gather(*asked)] == [2, 9, 0] * 10
    (path,) = map(unquote, page.asked)
    assert path.startswith("/metrics?name[]=kotatsu_activator_held&name[]=")


async def test_a_question_names_the_pools_that_may_be_put_to_sleep_on_its_answer(scraper, serve):
    page = Page(held(2).encode())
    views = [await serve(page, activator_pod)]

    async def ask(*names, looks):
        asked = [scraper.passing(views, ("demo", name), looks=looks) for name in names]
        await asyncio.gather(*asked, scraper.passing(views, ("demo", "web")))
        return [value for key, value in parse_qsl(page.asked[-1], True) if key == "looks"]

    assert await ask("voice", looks=False) == [""]
    assert await ask("voice", "feed", looks=True) == ["feed", "voice"]
    assert await ask("voice", looks=False) == [""]
    # More than fit into a question: it is about every pool.
    assert await ask(*(f"pool-{number}" for number in range(300)), looks=True) == []


async def test_a_real_activators_page_tells_what_is_asked_for(scraper):
    registry = CollectorRegistry()
    told = {
        "held": lambda: 2,
        "spliced": lambda: 7,
        "active": lambda: 3,
        "last_activity": lambda: 0,
    }
    ActivatorMetrics(registry).follow(*VOICE, **told)
    server = start_admin("127.0.0.1", 0, registry, Checks(str, str))
    try:
        view = pod_view(activator_pod(port=server.server_port))
        assert await scraper.passing([view], VOICE) == Passing(3, 2, None)
    finally:
        server.shutdown()
        server.server_close()


async def test_without_activators_nothing_is_held(scraper):
    assert (await scraper.passing([], VOICE)).held == 0


async def test_one_activator_that_does_not_answer_makes_it_unknown(scraper, serve):
    views = [
        await serve(Page(held(2).encode()), activator_pod),
        await serve(Page(status=503), activator_pod),
    ]
    found = await scraper.passing(views, VOICE)
    assert found.silent.startswith("activator activator-1 answers 503")


async def test_an_activator_without_the_metrics_port_makes_it_unknown(scraper):
    view = pod_view(pod(ready=True))
    assert "has no port named metrics" in (await scraper.passing([view], VOICE)).silent


# --- what passes through them ---

ACTIVE = "kotatsu_activator_active"
LAST_ACTIVITY = "kotatsu_activator_last_activity_timestamp_seconds"


def passing(active, waiting, at=None, name="voice"):
    labels = f'{{namespace="demo",name="{name}"}}'
    last = f"{LAST_ACTIVITY}{labels} {at.timestamp()}\n" if at else ""
    return Page(f"{HELD}{labels} {waiting}\n{ACTIVE}{labels} {active}\n{last}".encode())


async def test_what_passes_through_all_activators_is_summed_and_its_newest_byte_counts(
    scraper, serve
):
    earlier = AT - timedelta(seconds=9)
    pages = [passing(2, 1, earlier), passing(3, 0, AT), passing(9, 9, name="feed"), Page(b"")]
    views = [await serve(page, activator_pod) for page in pages]
    assert await scraper.passing(views, VOICE) == Passing(5, 1, AT)


async def test_an_activator_that_ends_still_carries_connections(scraper, serve):
    view = await serve(passing(1, 0), activator_pod, terminating=True)
    assert await scraper.passing([view], VOICE) == Passing(1, 0, None)


async def test_only_the_silence_of_a_ready_activator_makes_it_unknown(scraper, serve):
    crashed = pod_view(activator_pod(port=1, ready=False))
    busy = await serve(passing(1, 0), activator_pod)
    assert not (await scraper.passing([busy, crashed], VOICE)).silent
    failing = await serve(Page(status=503), activator_pod)
    assert "activator-1 answers 503" in (await scraper.passing([busy, failing], VOICE)).silent


async def test_without_activators_nothing_passes(scraper):
    assert await scraper.passing([], VOICE) == Passing(0, 0, None)


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
        async with server, contextlib.aclosing(Scraper()) as scraper:
            port = server.sockets[0].getsockname()[1]
            return await scraper.pod(pod_view(pod(port=port)), Metrics())

    answer = asyncio.run(ask())
    assert isinstance(answer, Silence) or answer.in_flight >= 0
