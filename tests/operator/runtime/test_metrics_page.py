"""The metrics page is rendered by one thread at a time, and shared."""

import gzip
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from kotatsu_operator.runtime.health import REST, SHARED_FOR, MetricsPage, Named

HELD = "kotatsu_test_held"
NAMED = f"name[]={HELD}"


class Clock:
    """A clock that the test sets; the page's rest moves it."""

    def __init__(self):
        self.now = 100.0
        self.rests = []
        self.asked = 0

    def __call__(self):
        self.asked += 1
        return self.now

    def sleep(self, seconds):
        self.rests.append(seconds)
        self.now += seconds


class Metrics:
    """A registry that counts how often its gauge is read."""

    def __init__(self):
        self.registry, self.clock = CollectorRegistry(), Clock()
        self.reads = 0
        self.takes = 0.0
        self.reading = threading.Lock()
        self.is_reading, self.gate = threading.Event(), threading.Event()
        self.gate.set()
        self.page = MetricsPage(self.registry, Named([HELD]), self.clock, self.clock.sleep)
        Gauge(HELD, "Read now.", registry=self.registry).set_function(self._read)
        Counter("kotatsu_test_other", "Another.", registry=self.registry)

    def _read(self):
        assert self.reading.acquire(blocking=False), "two threads render at the same time"
        self.reads += 1
        self.is_reading.set()
        assert self.gate.wait(10)
        self.clock.now += self.takes
        self.reading.release()
        return self.reads


@pytest.fixture
def metrics():
    return Metrics()


def test_the_page_with_all_metrics_is_shared_for_a_second(metrics):
    first = metrics.page.page("")
    metrics.clock.now += SHARED_FOR
    assert metrics.page.page("name[]=other") is first
    metrics.clock.now += 0.1
    assert metrics.page.page("") is not first
    assert metrics.reads == 2


def test_what_a_decision_depends_on_is_read_after_the_request(metrics):
    bodies = [metrics.page.page(NAMED).body]
    metrics.clock.now += 0.001
    bodies.append(metrics.page.page(NAMED).body)
    assert [f"{HELD} {n}.0".encode() in body for n, body in enumerate(bodies, 1)] == [True] * 2
    assert b"kotatsu_test_other" not in bodies[0]


def test_all_who_wait_share_a_rendering_that_began_after_they_came(metrics):
    came = threading.Barrier(32, timeout=10)

    def ask():
        came.wait()
        return metrics.page.page(NAMED).body

    with ThreadPoolExecutor(33) as pool:
        metrics.gate.clear()
        first = pool.submit(metrics.page.page, NAMED)
        assert metrics.is_reading.wait(10)
        metrics.clock.now += 1
        asking = [pool.submit(ask) for _ in range(32)]
        while metrics.clock.asked < 34:  # the first one twice: when it came, and when it began
            threading.Event().wait(0.001)
        metrics.gate.set()
        bodies = {asked.result(10) for asked in asking}
    assert len(bodies) == 1
    assert first.result().body not in bodies
    assert metrics.reads == 2


def test_of_the_pools_that_a_question_names_there_is_a_page_that_reads_no_other(metrics):
    """It waits neither for the page of all nor for the rest after it."""
    read = []

    class Some(Collector):
        def __init__(self, pools):
            self.pools = list(pools)

        def collect(self):
            read.append(self.pools)
            yield GaugeMetricFamily(HELD, "Held.", value=len(self.pools))

    named = Named([HELD], part=Some)
    metrics.page = MetricsPage(metrics.registry, named, metrics.clock, metrics.clock.sleep)
    metrics.takes = 0.2
    metrics.page.page("")
    page = metrics.page.page(f"{NAMED}&pool=a/b&pool=a/c&pool=a/b")
    assert f"{HELD} 2.0".encode() in page.body
    assert metrics.page.looked_at(["a/b", "a/c"]).body == page.body
    assert read == [["a/b", "a/c"]] * 2
    assert (metrics.reads, sum(metrics.clock.rests)) == (1, 0)


def test_after_a_rendering_the_process_has_three_times_as_long_for_its_work(metrics):
    metrics.takes = 0.2
    for _ in range(3):
        metrics.clock.now += 0.001
        metrics.page.page(NAMED)
    assert metrics.clock.rests[1:] == [pytest.approx(REST * 0.2 - 0.001)] * 2


def test_whatever_clients_ask_for_there_are_few_pages(metrics):
    for n in range(300):
        metrics.page.page(f"name[]=kotatsu_{n}", f"text/plain; version=1.{n}.0", f"q{n}")
    assert metrics.reads == 1


def test_prometheus_gets_the_format_and_the_packing_that_it_asks_for(metrics):
    page = metrics.page.page("", "application/openmetrics-text;version=1.0.0;q=0.5", "gzip")
    headers = dict(page.headers)
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(page.body).endswith(b"# EOF\n")
    assert metrics.page.page("").headers != page.headers
