"""The pages beside the work: probes and metrics, answered by a thread of their own."""

import asyncio
import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from rows import each
from serving import NO_TLS

from kotatsu_operator.runtime.health import MOST, Checks, Named, _Quiet, start_admin
from kotatsu_operator.runtime.loop import LATE_AFTER, Heartbeat
from tests.operator.cluster import eventually


class Program:
    """What the program says of itself."""

    def __init__(self):
        self.live = self.ready = self.remark = ""
        self.at_the_gate = threading.Barrier(1)

    def is_ready(self):
        self.at_the_gate.wait(10)
        return self.ready


@pytest.fixture(scope="module")
def served():
    program, registry = Program(), CollectorRegistry()
    Counter("kotatsu_test", "A counter.", registry=registry).inc(3)
    checks = Checks(lambda: program.live, lambda: program.is_ready(), lambda: program.remark)
    server = start_admin("127.0.0.1", 0, registry, checks)
    url = f"http://127.0.0.1:{server.server_port}"
    with httpx.Client(base_url=url, verify=NO_TLS, trust_env=False, timeout=10) as client:
        yield program, client
    server.shutdown()
    server.server_close()


class Seen(Collector):
    """How many pools were looked at until now."""

    def __init__(self, seen, pools=()):
        self.seen, self.pools = seen, pools

    def describe(self):
        yield GaugeMetricFamily("kotatsu_test", "A gauge.", value=len(self.seen))

    def collect(self):
        yield from self.describe()
        for pool in self.pools:
            made = GaugeMetricFamily("kotatsu_held", "Held.", labels=["pool"])
            made.add_metric([pool], 0)
            yield made


@pytest.fixture
def looked_at():
    """The server of an activator, and the pools at which the operator has looked."""
    registry, seen = CollectorRegistry(), []
    registry.register(Seen(seen))
    named = Named(["kotatsu_test"], seen.extend, lambda pools: Seen(seen, pools))
    server = start_admin("127.0.0.1", 0, registry, Checks(str, str), named)
    url = f"http://127.0.0.1:{server.server_port}"
    with httpx.Client(base_url=url, verify=NO_TLS, trust_env=False, timeout=10) as client:
        yield seen, client
    server.shutdown()
    server.server_close()


def test_a_look_is_recorded_before_it_is_answered_with_the_metrics_of_its_pools(looked_at):
    seen, client = looked_at
    page = client.post("/looks?pool=a/voice&pool=a/feed")
    assert (page.status_code, seen) == (200, ["a/voice", "a/feed"])
    assert page.headers["content-type"].startswith("text/plain")
    lines = page.text.splitlines()
    assert {
        "kotatsu_test 2.0",
        'kotatsu_held{pool="a/voice"} 0.0',
        'kotatsu_held{pool="a/feed"} 0.0',
    } <= set(lines)


def test_an_operator_of_the_version_before_looks_by_the_page_of_metrics(looked_at):
    seen, client = looked_at
    page = client.get("/metrics?name[]=kotatsu_test&pool=a/voice&pool=a/feed&looks=a/voice")
    assert seen == ["a/voice"]
    assert {"kotatsu_test 1.0", 'kotatsu_held{pool="a/feed"} 0.0'} <= set(page.text.splitlines())


@each("query", ["", "?name[]=kotatsu_test", "?name[]=kotatsu_test&pool=a/voice", "?looks="])
def test_a_page_of_metrics_that_no_operator_looks_at_records_nothing(looked_at, query):
    seen, client = looked_at
    assert "kotatsu_test 0.0" in client.get(f"/metrics{query}").text.splitlines()
    assert seen == []


@each(
    "method, query, status",
    {
        "another method": ("GET", "?pool=a/b", 405),
        "one with a body": ("PUT", "?pool=a/b", 405),
        "an unknown one": ("LOOK", "?pool=a/b", 405),
        "no pool": ("POST", "", 400),
        "an empty one": ("POST", "?pool=", 400),
        "another word": ("POST", "?looks=a/b", 400),
    },
)
def test_what_is_no_look_is_refused_in_a_sentence(looked_at, capsys, method, query, status):
    seen, client = looked_at
    answer = client.request(method, f"/looks{query}")
    assert (answer.status_code, answer.headers["allow"], seen) == (status, "POST", [])
    assert "a look at pools is POST /looks?pool=NAMESPACE/NAME" in answer.text
    assert capsys.readouterr().err == ""


def test_a_look_that_is_longer_than_a_server_reads_is_refused_and_records_nothing(
    looked_at, capsys
):
    seen, client = looked_at
    with socket.create_connection((client.base_url.host, client.base_url.port), 20) as connection:
        connection.sendall(b"POST /looks?%b HTTP/1.1\r\n" % (b"pool=a/b&" * 7300))
        assert connection.recv(12) == b"HTTP/1.0 414"
    assert (seen, capsys.readouterr().err) == ([], "")


def test_a_look_at_a_pool_of_any_name_is_answered(looked_at, capsys):
    _, client = looked_at
    strange = "pool=%ff%00%0a%22&pool=%ed%a0%80&pool=\\&pool=a/b/c&pool=%e3%81%82&&=;pool&pool"
    assert client.post(f"/looks?{strange}", content=b"x" * 1000).status_code == 200
    assert capsys.readouterr().err == ""


def test_a_process_without_pools_of_its_own_has_no_page_for_looks(admin):
    assert admin.post("/looks?pool=a/b").status_code == 404


@pytest.fixture
def program(served):
    served[0].__init__()
    return served[0]


@pytest.fixture
def admin(served, program):
    return served[1]


REMARK = "left out: WarmPool in gone"
STOPPED = "the work queue has stopped"
OK, NOT_READY, LATE = (200, "ok\n"), (503, "still reading\n"), (503, f"{STOPPED}\n")


@each(
    "says, answers",
    {
        "well": ({}, {"/livez": OK, "/healthz": OK, "/readyz": OK}),
        "alive": ({"ready": "still reading"}, {"/livez": OK, "/readyz": NOT_READY}),
        "with a remark": ({"remark": REMARK}, {"/livez": OK, "/readyz": (200, f"ok\n{REMARK}\n")}),
        "both": ({"ready": "still reading", "remark": REMARK}, {"/readyz": NOT_READY}),
        "stopped": ({"live": STOPPED}, {"/livez": LATE, "/healthz": LATE}),
    },
)
def test_each_probe_is_answered_with_what_the_program_says_of_itself(admin, program, says, answers):
    for name in ("live", "ready", "remark"):
        setattr(program, name, says.get(name, ""))
    for path, expected in answers.items():
        answer = admin.get(path)
        assert (answer.status_code, answer.text) == expected
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_metrics_are_in_the_prometheus_text_format_without_the_begin_of_counters(admin):
    answer = admin.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert "kotatsu_test_total 3.0" in answer.text.splitlines()
    assert "_created" not in answer.text


@each("path", ["/", "/metrics/", "/livez/x", "/admin", "/x/livez"])
def test_there_are_no_other_pages_and_those_there_are_are_named(path, admin):
    answer = admin.get(path)
    assert answer.status_code == 404
    assert "/livez, /readyz and /metrics" in answer.text


def test_many_are_answered_at_once(admin, program):
    program.at_the_gate = threading.Barrier(4)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: admin.get("/readyz").status_code, range(4)))
    assert answers == [200] * 4


def test_it_answers_while_the_program_is_busy(admin):
    done = threading.Event()

    def ask():
        assert admin.get("/livez").status_code == 200
        done.set()

    asking = threading.Thread(target=ask)
    asking.start()
    end = time.monotonic() + 10
    while not done.is_set() and time.monotonic() < end:
        sum(range(10_000))  # holds the main thread, as a busy event loop does
    asking.join(1)
    assert done.is_set()


@pytest.fixture
def address(served):
    url = served[1].base_url
    return url.host, url.port


def test_clients_that_never_end_their_request_are_few_and_keep_no_probe_waiting(
    admin, address, monkeypatch
):
    monkeypatch.setattr(_Quiet, "timeout", 60.0)
    before = threading.active_count()
    silent = [socket.create_connection(address, timeout=20) for _ in range(MOST + 20)]
    for client in silent:
        client.sendall(b"GET /livez HTTP/1.1\r\nX: ")
    assert admin.get("/livez").text == "ok\n"
    assert silent[0].recv(1) == b""  # the oldest made room
    end = time.monotonic() + 10
    while threading.active_count() - before > MOST + 8 and time.monotonic() < end:
        time.sleep(0.01)  # those that made room end by themselves
    assert threading.active_count() - before <= MOST + 8
    for client in silent:
        client.close()


def test_a_client_that_says_nothing_is_no_traceback(address, monkeypatch, capsys):
    monkeypatch.setattr(_Quiet, "timeout", 0.05)
    with socket.create_connection(address, timeout=20) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nX: ")
        assert client.recv(1) == b""
    assert capsys.readouterr().err == ""


# --- whether the event loop turns, as /livez asks it ---


async def test_a_loop_that_turns_is_alive_and_one_that_stands_still_is_not(monkeypatch):
    monkeypatch.setattr("kotatsu_operator.runtime.loop.EVERY", 0.001)
    now = 100.0
    heartbeat = Heartbeat(lambda: now)
    now += LATE_AFTER - 1
    assert heartbeat.why_not_alive() == ""
    now += 2
    assert heartbeat.why_not_alive() == "the event loop has been blocked for 21 s"
    beating = asyncio.create_task(heartbeat.run())
    await eventually(lambda: heartbeat.why_not_alive() == "")
    now += 1000
    await eventually(lambda: heartbeat.why_not_alive() == "")
    beating.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await beating
