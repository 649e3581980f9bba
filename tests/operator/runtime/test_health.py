"""The pages beside the work: probes and metrics, answered by a thread of their own."""

import asyncio
import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge
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


def test_a_question_is_noted_before_it_is_answered():
    registry, seen = CollectorRegistry(), []
    Gauge("kotatsu_test", "A gauge.", registry=registry).set_function(lambda: len(seen))
    server = start_admin("127.0.0.1", 0, registry, Checks(str, str), Named(asked=seen.append))
    with httpx.Client(verify=NO_TLS, trust_env=False, timeout=10) as client:
        page = client.get(f"http://127.0.0.1:{server.server_port}/metrics?looks=voice")
    server.shutdown()
    server.server_close()
    assert (seen, "kotatsu_test 1.0" in page.text) == (["looks=voice"], True)


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
