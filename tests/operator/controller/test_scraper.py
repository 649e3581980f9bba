"""Asking pods and activators what they do: only a clear answer counts."""

import asyncio
import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, unquote

import pytest
from prometheus_client import CollectorRegistry
from rows import each

from kotatsu_operator.activator.metrics import ActivatorMetrics
from kotatsu_operator.controller import demand as scrape
from kotatsu_operator.controller import pages
from kotatsu_operator.controller.cache import Cache
from kotatsu_operator.controller.demand import Observer, PodAnswer, Scraper
from kotatsu_operator.core.exposition import Silence
from kotatsu_operator.core.pool.decision import Demand, Wake
from kotatsu_operator.core.pool.spec import InFlightMetric
from kotatsu_operator.core.protocol import LOOKED_AT
from kotatsu_operator.kube.views import pod_view
from kotatsu_operator.runtime.health import Checks, Named, start_admin
from tests.operator.cluster import VOICE, activator_pod, pod, served
from tests.operator.controller.served import AT, HELD, IN_FLIGHT, LAST, Page, held
from tests.operator.core.values import pool_spec

pytestmark = pytest.mark.timeout(60)


# --- asking ---


async def test_a_pod_tells_its_requests_and_when_the_last_one_was(scraper, serve):
    page = Page(f"{IN_FLIGHT} 2\n{LAST} {AT.timestamp()}\n".encode())
    view = await serve(page)
    assert await scraper.pod(view, InFlightMetric()) == PodAnswer(2, AT)
    assert page.asked == ["/metrics"]


async def test_a_pod_with_several_workers_is_summed_and_its_newest_request_counts(scraper, serve):
    workers = "".join(
        f'{IN_FLIGHT}{{pid="{i}"}} {i}\n{LAST}{{pid="{i}"}} {AT.timestamp() - i}\n'
        for i in (3, 1, 2)
    )
    view = await serve(Page(workers.encode()))
    answer = await scraper.pod(view, InFlightMetric())
    assert answer == PodAnswer(6, datetime.fromtimestamp(AT.timestamp() - 1, UTC))


async def test_port_path_and_names_are_the_specs(scraper, serve):
    page = Page(f"busy 4\n{LAST} 1.7e9\n".encode())
    view = await serve(page)
    metrics = InFlightMetric(path="/m", name="busy")
    assert await scraper.pod(view, metrics) == PodAnswer(4, datetime.fromtimestamp(1.7e9, UTC))
    assert page.asked == ["/m"]
    by_number = InFlightMetric(port=str(view.ports["http"]), name="busy")
    assert await scraper.pod(view, by_number) is not None


NO_METRIC = f"has no metric {IN_FLIGHT} on its page /metrics on port http"
NO_PAGE = "has no readable metrics page"


TOO_MUCH = "too much to be read (name a smaller page in spec.inFlightMetric)"
BUSY = f"{IN_FLIGHT} 1\n".encode()


@each(
    "page, why, lacks",
    [
        (Page(b""), NO_METRIC, True),
        (Page(b"<html></html>"), NO_METRIC, True),
        (Page(f"{LAST} 5\n".encode()), NO_METRIC, True),
        (Page(f"{IN_FLIGHT}_other 9.0\nother_{IN_FLIGHT} 9.0\n".encode()), NO_METRIC, True),
        (Page(f"{IN_FLIGHT}\n".encode()), NO_PAGE, True),
        (Page(f"{IN_FLIGHT} many\n".encode()), NO_PAGE, True),
        (Page(f"{IN_FLIGHT}{{a= 1\n".encode()), NO_PAGE, True),
        (Page(f"{IN_FLIGHT} +Inf\n".encode()), "reports no finite number", False),
        (Page(f"{IN_FLIGHT} NaN\n".encode()), "reports no finite number", False),
        (Page(BUSY.replace(b" ", b'{a="\xff"} ')), NO_PAGE, True),
        (Page(BUSY, status=503), "answers 503 for /metrics on port", False),
        (Page(BUSY, status=404), "answers 404 for /metrics on port", True),
        (Page(BUSY, status=302), "answers 302 for /metrics on port", True),
        (Page(BUSY + b"#" * (3 * 2**20)), TOO_MUCH, True),
    ],
)
async def test_a_pod_that_does_not_say_clearly_says_nothing_and_why_and_if_it_lacks_the_gauge(
    scraper, serve, page, why, lacks
):
    answer = await scraper.pod(await serve(page), InFlightMetric())
    assert isinstance(answer, Silence)
    assert why in answer.why
    assert answer.lacks is lacks


async def test_a_known_gauge_is_found_without_a_field(scraper, serve):
    view = await serve(Page(b"vllm:num_requests_running 2\nvllm:num_requests_waiting 1\n"))
    assert await scraper.pod(view, InFlightMetric()) == PodAnswer(3, None)


async def test_a_name_in_the_spec_is_the_only_one_that_is_looked_for(scraper, serve):
    view = await serve(Page(b"vllm:num_requests_running 2\n"))
    answer = await scraper.pod(view, InFlightMetric(name="busy"))
    assert "has no metric busy" in answer.why


async def test_the_ports_of_the_service_are_where_a_gauge_may_count_its_own_page(scraper, serve):
    view = await serve(Page(b"http_server_active_requests 1\n"))
    assert await scraper.pod(view, InFlightMetric(), ["other"]) == PodAnswer(1, None)
    assert (await scraper.pod(view, InFlightMetric(), ["http"])).lacks


# --- silent pods ---


async def test_a_pod_that_let_the_time_pass_is_not_asked_again_for_a_moment(
    scraper, serve, monkeypatch
):
    monkeypatch.setattr(pages, "TIMEOUT", 1.0)
    monkeypatch.setattr(scrape, "QUIET", 60.0)
    page = Page(hangs=True)
    view = await serve(page)
    first, again = [await scraper.pod(view, InFlightMetric()) for _ in range(2)]
    assert first == again
    assert len(page.asked) == 1


async def test_a_pod_that_stays_silent_is_asked_less_and_less_and_heard_when_it_speaks(
    scraper, serve, monkeypatch
):
    monkeypatch.setattr(pages, "TIMEOUT", 0.02)
    monkeypatch.setattr(scrape, "QUIET", 0.0)
    page = Page(f"{IN_FLIGHT} 2\n".encode(), hangs=True)
    view = await serve(page)
    await scraper.pod(view, InFlightMetric())
    for lasting in (1.0, 2.0, 16.0, 16.0):
        scraper._quiet[view.uid] = replace(scraper._quiet[view.uid], lasting=lasting, until=0.0)
        await scraper.pod(view, InFlightMetric())
        assert scraper._quiet[view.uid].lasting == min(2 * lasting, 16.0)
    page.hangs = False
    monkeypatch.setattr(pages, "TIMEOUT", 60.0)
    scraper._quiet[view.uid] = replace(scraper._quiet[view.uid], until=0.0)
    assert await scraper.pod(view, InFlightMetric()) == PodAnswer(2, None)
    assert scraper._quiet == {}


@pytest.mark.parametrize("metered", [False, True])
async def test_a_pod_without_a_page_is_asked_each_time_if_its_pool_may_have_a_gauge(
    scraper, serve, metered
):
    page = Page(status=403)
    view = await serve(page)
    for _ in range(3):
        assert (await scraper.pod(view, InFlightMetric(), metered=metered)).lacks
    assert len(page.asked) == 3


@each("mark", ["application_ready_time_seconds", "target_info", "python_info"])
async def test_before_its_first_request_a_pod_of_a_metered_pool_has_none(scraper, serve, mark):
    view = await serve(Page(f'{mark}{{a="b"}} 1\n'.encode()))
    assert await scraper.pod(view, InFlightMetric(), metered=True) == PodAnswer(0, None)
    assert (await scraper.pod(view, InFlightMetric())).lacks
    assert (await scraper.pod(view, InFlightMetric(name="busy"), metered=True)).lacks


async def test_another_page_that_has_lost_its_gauge_hides_the_requests(scraper, serve):
    """An nginx that its exporter cannot reach may be full of requests."""
    view = await serve(Page(b"nginx_up 0\n"))
    assert (await scraper.pod(view, InFlightMetric(), metered=True)).lacks


async def test_silent_pods_of_one_namespace_keep_no_page_of_another_waiting(serve):
    scraper = Scraper(parallel=1)
    hanging = replace(await serve(Page(hangs=True)), key=("other", "voice"))
    speaking = await serve(Page(f"{IN_FLIGHT} 1\n".encode()))
    waiting = asyncio.create_task(scraper.pod(hanging, InFlightMetric()))
    await asyncio.sleep(0)
    assert await scraper.pod(speaking, InFlightMetric()) == PodAnswer(1, None)
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
    answers = await scraper.pods(pods, InFlightMetric())
    assert all(isinstance(answer, Silence) for answer in answers)
    assert "was not queried" in answers[-1].why
    assert len(page.asked) <= 4


# --- held ---


async def test_all_pools_of_a_namespace_ask_an_activator_together_and_for_nothing_else(
    scraper, serve
):
    page = Page((held(2) + held(9, name="feed")).encode())
    views = [await serve(page, activator_pod)]
    asked = [scraper.passing(views, ("demo", name)) for name in ("voice", "feed", "other") * 10]
    assert [said.held for said in await asyncio.gather(*asked)] == [2, 9, 0] * 10
    (path,) = map(unquote, page.asked)
    assert path.startswith("/metrics?looks=&name[]=kotatsu_activator_held&name[]=")


def requests(page, *keys):
    """The requests that a page got: their methods, paths and the values of a part of the query."""
    for method, target, _ in (head.split(" ", 2) for head in page.heads):
        path, _, query = target.partition("?")
        said = parse_qsl(query, keep_blank_values=True)
        yield f"{method} {path}", [value for key, value in said if key in keys]
    page.heads.clear()


async def test_a_look_is_a_post_and_names_the_pools_that_may_be_put_to_sleep_on_its_answer(
    scraper, serve
):
    page = Page((held(2) + held(3, name="feed") + held(5, "shop", "web")).encode())
    views = [await serve(page, activator_pod)]

    async def ask(*names, looks):
        asked = [scraper.passing(views, ("demo", name), looks=looks) for name in names]
        said = await asyncio.gather(*asked, scraper.passing(views, ("shop", "web")))
        assert [one.held for one in said] == [*([2, 3][: len(names)]), 5]
        return dict(requests(page, "pool"))

    assert await ask("voice", looks=False) == {"GET /metrics": ["demo/voice", "shop/web"]}
    assert await ask("voice", "feed", looks=True) == {
        "POST /looks": ["demo/feed", "demo/voice"],
        "GET /metrics": ["shop/web"],
    }
    assert await ask("voice", looks=False) == {"GET /metrics": ["demo/voice", "shop/web"]}


async def test_an_activator_of_the_version_before_is_looked_at_by_its_page(scraper, serve):
    page = Page(held(2).encode(), lacks="/looks")
    views = [await serve(page, activator_pod)]
    for _ in range(2):  # it may be of this version the next time
        assert (await scraper.passing(views, VOICE, looks=True)).held == 2
        assert list(requests(page, "pool", "looks")) == [
            ("POST /looks", ["demo/voice"]),
            ("GET /metrics", ["", "demo/voice", "demo/voice"]),
        ]
    page.lacks = "none"
    assert (await scraper.passing(views, VOICE, looks=True)).held == 2
    assert list(requests(page, "pool")) == [("POST /looks", ["demo/voice"])]


async def test_a_question_that_is_no_look_names_no_pool_as_looked_at(scraper, serve):
    """Without `looks`, an activator of the version before takes it for a look at all pools."""
    page = Page(held(2).encode())
    views = [await serve(page, activator_pod)]
    await scraper.passing(views, VOICE)
    assert list(requests(page, "looks")) == [("GET /metrics", [""])]


@pytest.mark.parametrize("status", [403, 405, 500, 503])
async def test_an_activator_that_refuses_a_look_is_silent(scraper, serve, status):
    page = Page(held(2).encode(), status=status)
    views = [await serve(page, activator_pod)]
    said = await scraper.passing(views, VOICE, looks=True)
    assert f"answers {status}" in said.silent_activator
    assert [method for method, _ in requests(page)] == ["POST /looks"]


@pytest.mark.parametrize(("letters", "questions"), [(8, 2), (120, 3)])
async def test_a_question_about_many_pools_is_asked_in_parts(scraper, serve, letters, questions):
    pools = [("demo", f"{number:0{letters}}") for number in range(300)]
    page = Page("".join(held(number, name=key[1]) for number, key in enumerate(pools)).encode())
    views = [await serve(page, activator_pod)]
    said = await asyncio.gather(*(scraper.passing(views, key, looks=True) for key in pools))
    assert [one.held for one in said] == list(range(300))
    assert len(page.asked) == questions
    named = [name for _, names in requests(page, "pool") for name in names]
    assert sorted(named) == sorted(map("/".join, pools))


@pytest.mark.parametrize("letters", [1, 8, 120, 253])
async def test_no_question_is_longer_than_a_server_reads(scraper, serve, letters):
    """Also the longest one, for an activator of the version before, which names a pool twice."""
    page = Page(lacks="/looks")
    views = [await serve(page, activator_pod)]
    pools = [("d" * 63, f"{number:0{letters}}") for number in range(300)]
    await asyncio.gather(*(scraper.passing(views, key, looks=True) for key in pools))
    assert max(map(len, page.asked)) < 2**16 - len("POST  HTTP/1.1")


@contextlib.contextmanager
def activators(count):
    """The metrics of some activators, and views of the pods that serve them."""
    registries = [CollectorRegistry() for _ in range(count)]
    metrics = [ActivatorMetrics(registry) for registry in registries]
    checks = Checks(str, str)
    servers = [
        start_admin("127.0.0.1", 0, registry, checks, Named(LOOKED_AT, part=one.part))
        for registry, one in zip(registries, metrics, strict=True)
    ]
    ports = [server.server_port for server in servers]
    pods = [activator_pod(f"activator-{n}", port=port) for n, port in enumerate(ports)]
    try:
        yield metrics, [pod_view(made) for made in pods]
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


@pytest.mark.parametrize("looks", [False, True])
async def test_a_real_activators_page_tells_what_is_asked_for(scraper, looks):
    told = {"held": 2, "spliced": 7, "active": 3, "last_activity": 0, "marked": {"voice-3": 4}}
    with activators(1) as ([metrics], views):
        metrics.follow(*VOICE, **{name: lambda n=n: n for name, n in told.items()})
        said = await scraper.passing(views, VOICE, looks=looks)
        uses = {"voice-3": 4}
        assert said == Demand(passing=3, held=2, timed_out={views[0].uid: 0}, uses=uses)


async def test_connections_to_marked_pods_are_known_if_all_activators_know_the_same(scraper):
    told = {"held": 0, "spliced": 0, "active": 0, "last_activity": 0}
    with activators(2) as (both, views):
        for other, uses in (({"a": 2}, {}), ({"b": 4, "a": 2}, {"a": 3, "b": 4})):
            for metrics, marked in zip(both, ({"a": 1, "b": 0}, other), strict=True):
                gauges = told | {"marked": marked}
                metrics.follow(*VOICE, **{name: lambda n=n: n for name, n in gauges.items()})
            assert (await scraper.passing(views, VOICE)).uses == uses
        silent = pod_view(pod("activator-0", ready=True))
        assert (await scraper.passing([*views, silent], VOICE)).uses == {}


async def test_requests_that_time_out_are_told_as_each_activator_counts_them(scraper):
    with activators(2) as (both, views):
        for late in (0, 3, 1):
            for _ in range(late):
                both[0].refused(*VOICE, "timeout")
            both[0].refused(*VOICE, "full")
        both[1].know(*VOICE)
        silent = pod_view(pod("activator-0", ready=True))
        for _ in range(2):
            said = (await scraper.passing([*views, silent], VOICE)).timed_out
            assert said == {views[0].uid: 4, views[1].uid: 0, silent.uid: None}


async def test_the_newest_wake_that_an_activator_knows_is_told(scraper):
    with activators(3) as ([_, *woken], views):  # the first one has woken nothing
        for number, activator in enumerate(woken, start=1):
            activator.woke(*VOICE, AT.timestamp() - number, 1.5 * number)
        assert (await scraper.passing(views[:1], VOICE)).last_wake is None
        said = await scraper.passing(views, VOICE)
        assert said.last_wake == Wake(AT - timedelta(seconds=1), timedelta(seconds=1.5))
        woken[1].raised(*VOICE, AT.timestamp())
        assert (await scraper.passing(views, VOICE)).last_wake == Wake(AT, None)


async def test_an_activator_without_the_metrics_port_makes_it_unknown(scraper):
    view = pod_view(pod(ready=True))
    assert "has no port named metrics" in (await scraper.passing([view], VOICE)).silent_activator


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
    others = Page(held(9, namespace="other").encode()), passing(9, 9, name="feed"), Page(b"")
    pages = [passing(2, 1, earlier), passing(3, 2, AT), *others]
    views = [await serve(page, activator_pod) for page in pages]
    said = await scraper.passing(views, VOICE)
    assert (said.passing, said.held, said.last_passed) == (5, 3, AT)


async def test_an_activator_that_ends_still_carries_connections(scraper, serve):
    view = await serve(passing(1, 0), activator_pod, terminating=True)
    assert (await scraper.passing([view], VOICE)).passing == 1


async def test_only_the_silence_of_a_ready_activator_makes_it_unknown(scraper, serve):
    crashed = pod_view(activator_pod(port=1, ready=False))
    busy = await serve(passing(1, 0), activator_pod)
    assert not (await scraper.passing([busy, crashed], VOICE)).silent_activator
    failing = await serve(Page(status=503), activator_pod)
    assert (
        "activator-1 answers 503"
        in (await scraper.passing([busy, failing], VOICE)).silent_activator
    )


async def test_without_activators_nothing_passes(scraper):
    assert await scraper.passing([], VOICE) == Demand(uses={})


# --- asking both ---


class Moving:
    """Answers for one request, which moves from its activator to its pod when its pod was asked."""

    is_in_pod = False

    async def passing(self, _activators, _pool, *, looks):
        await asyncio.sleep(0)  # as long as a page takes: other questions go on meanwhile
        return Demand(held=int(not self.is_in_pod))

    async def pods(self, views, *_, **__):
        answers = [PodAnswer(int(self.is_in_pod), None) for _ in views]
        self.is_in_pod = True
        return answers


async def test_a_request_that_moves_to_its_pod_after_the_pod_was_asked_was_seen_before():
    observer = Observer(Cache(served()), Moving())
    seen = await observer.demand(VOICE, pool_spec(), [pod_view(pod(ready=True))], looks=True)
    assert seen.concurrency == 1
