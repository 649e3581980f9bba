"""What one activator takes on, in a process of its own: figures are printed (`pytest -s`).

Each has a short form for every day and a long one, marked `soak`, with the numbers people ask for.
"""

import contextlib
import socket
import time

import httpx
import pytest

from tests.operator.activator import processes

HEAD = b"GET %s HTTP/1.1\r\nHost: voice.demo.svc\r\nUser-Agent: curl/7.88\r\nAccept: */*\r\n\r\n"
MEBIBYTE = 2**20
pytestmark = pytest.mark.slow
soak = pytest.mark.soak


@pytest.fixture(scope="module")
def pod():
    with processes.pod() as port:
        yield port


@pytest.fixture
def asleep():
    with processes.activator("Auto", "Asleep") as started:
        yield started


@pytest.fixture(scope="module")
def warm_one(pod):
    with processes.activator("Always", "Warm") as started:
        started.say(f"pod {pod}")
        processes.until(lambda: ask(started.port).endswith(b"ok"))
        yield started


@pytest.fixture
def pod_of_its_own():
    with processes.activator("Always", "Warm") as started, processes.pod() as port:
        started.say(f"pod {port}")
        processes.until(lambda: ask(started.port).endswith(b"ok"))
        yield started


@pytest.fixture
def warm(warm_one):
    yield warm_one
    processes.until(lambda: warm_one.metric("kotatsu_activator_spliced") == 0)


@pytest.fixture
def opened():
    with contextlib.ExitStack() as closing:
        yield closing


def connect(opened, port, *, keeps=None):
    made = socket.socket()
    opened.callback(made.close)
    if keeps is not None:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, keeps)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, keeps)
    made.settimeout(30)
    made.connect(("127.0.0.1", port))
    return made


def ask(port, path=b"/"):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as made:
        made.sendall(HEAD % path)
        return made.recv(2**16)


# --- held ---


@pytest.mark.parametrize(
    "clients", [1000, pytest.param(10_000, marks=[soak, pytest.mark.timeout(300)])]
)
def test_many_are_held_in_little_memory_and_all_of_them_answered(asleep, pod, opened, clients):
    idle = asleep.mib()
    held = [connect(opened, asleep.port) for _ in range(clients)]
    for one in held:
        one.sendall(HEAD % b"/hello")
    processes.until(lambda: asleep.metric("kotatsu_activator_held") == clients, 60)
    grown = asleep.mib() - idle
    processes.figure(
        f"{clients} held in {grown:.1f} MiB beside the {idle:.1f} of an idle activator"
    )
    began, cpu = time.monotonic(), asleep.cpu
    asleep.say(f"pod {pod}")
    for one in held:
        assert one.recv(2**16).startswith(b"HTTP/1.1 200 OK")
        one.close()
    took = time.monotonic() - began
    processes.figure(
        f"all answered in {took:.2f} s, for {asleep.cpu - cpu:.2f} s of CPU, {asleep.mib():.0f} MiB"
    )
    assert grown < 8 + clients * 3 / 1024
    assert asleep.mib() < 60 + clients * 5 / 1024


@pytest.mark.parametrize("clients", [50, pytest.param(1000, marks=soak)])
def test_held_uploads_are_kept_to_a_bound_each(asleep, opened, clients):
    idle = asleep.mib()
    body = bytes(4 * MEBIBYTE)
    for _ in range(clients):
        one = connect(opened, asleep.port, keeps=2**16)
        one.setblocking(False)
        one.send(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body))
        with contextlib.suppress(BlockingIOError):
            while one.send(body):
                pass
    names = ("kotatsu_activator_held", "kotatsu_activator_refused_total")
    processes.until(lambda: sum(asleep.metric(name) for name in names) == clients)
    grown = asleep.mib() - idle
    held = asleep.metric("kotatsu_activator_held")
    processes.figure(f"{clients} uploads of 4 MiB: {held:.0f} held in {grown:.1f} MiB")
    assert held == clients or clients > 500  # there is a bound for all of them together
    assert grown < min(8 + clients * 0.3, 170)


# --- at the limit of open files ---


def test_an_activator_takes_no_more_clients_than_its_files_allow(opened):
    """75 of 200 files are for clients, and a sixteenth of those for clients of other pools."""
    with processes.activator("Auto", "Asleep", "--files", "200") as small:
        for _ in range(71):
            connect(opened, small.port).sendall(HEAD % b"/hello")
        processes.until(lambda: small.metric("kotatsu_activator_held") == 71)
        for _ in range(30):
            with contextlib.suppress(ConnectionError):  # some are reset before connect() returns
                assert connect(opened, small.port).recv(1) == b""
        assert small.metric("kotatsu_activator_held") == 71
        assert small.metric("kotatsu_activator_refused_total") == 30
        assert small.log.count("at the limit: 71 clients") == 1


def test_without_a_file_left_it_neither_ends_nor_turns_in_circles(asleep, opened):
    """Not of its own doing: something else has taken the files it counted on."""
    asleep.say(f"files {asleep.files + 10}")
    for _ in range(40):
        with contextlib.suppress(ConnectionError):
            connect(opened, asleep.port).sendall(HEAD % b"/hello")
    with contextlib.suppress(OSError, httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{asleep.metrics}/metrics", timeout=0.2, trust_env=False)
    cpu = asleep.cpu
    time.sleep(1.0)
    assert asleep.cpu - cpu < 0.3
    asleep.say("files 1000")
    processes.until(lambda: is_answered(asleep.port))


def is_answered(port):
    with contextlib.suppress(ConnectionError):
        return ask(port, b"/healthz").startswith(b"HTTP/1.1 200")


# --- spliced ---


@pytest.mark.parametrize("carry", [processes.download, processes.upload])
@pytest.mark.parametrize("size", [2**26, pytest.param(2**30, marks=soak)], ids=["64MiB", "1GiB"])
def test_a_body_of_any_size_passes_in_flat_memory(warm, carry, size):
    carry(warm.port, MEBIBYTE)
    before, began, cpu = warm.mib("VmHWM"), time.monotonic(), warm.cpu
    carry(warm.port, size)
    took = time.monotonic() - began
    grown = warm.mib("VmHWM") - before
    processes.figure(
        f"{carry.__name__} of {size / 2**30:.2f} GiB: {size / took / 2**30:.2f} GiB/s, "
        f"{warm.cpu - cpu:.2f} s of CPU, {grown:.1f} MiB more at the most"
    )
    assert grown < 4


@pytest.mark.parametrize("clients", [10, pytest.param(100, marks=soak)])
def test_a_client_that_never_reads_costs_little_and_holds_up_nobody(warm, opened, clients):
    before = warm.mib()
    for _ in range(clients):
        connect(opened, warm.port, keeps=2**14).sendall(HEAD % b"/bytes/100000000")
    processes.until(lambda: warm.metric("kotatsu_activator_spliced") == clients)
    time.sleep(0.5)
    each = (warm.mib() - before) / clients
    processes.figure(f"{clients} clients that never read: {1024 * each:.0f} KiB each")
    assert each < 0.5
    assert ask(warm.port).endswith(b"ok")


@pytest.mark.parametrize("clients", [10, pytest.param(100, marks=soak)])
def test_a_pod_that_never_reads_costs_little_and_stops_its_client(pod_of_its_own, opened, clients):
    warm = pod_of_its_own
    before, body = warm.mib(), bytes(2**16)
    sending = [connect(opened, warm.port, keeps=2**14) for _ in range(clients)]
    for one in sending:
        one.sendall(HEAD % b"/unread")
        one.setblocking(False)
    taken = [0]
    while sum(taken[-5:]) or len(taken) < 5:  # until it has been stopped for half a second
        taken.append(0)
        for one in sending:
            with contextlib.suppress(BlockingIOError):
                taken[-1] += one.send(body)
        time.sleep(0.1)
    assert sum(taken) < clients * 32 * MEBIBYTE
    each = (warm.mib() - before) / clients
    processes.figure(f"{clients} clients of a pod that never reads: {1024 * each:.0f} KiB each")
    assert each < 0.7
    assert ask(warm.port).endswith(b"ok")


# --- those who do not come to the point ---


@pytest.mark.parametrize(
    "clients", [300, pytest.param(6000, marks=[soak, pytest.mark.timeout(300)])]
)
def test_slow_clients_by_the_thousand_keep_nobody_from_an_answer(warm, opened, clients):
    """A third says nothing, a third drips its request line, a third drips its headers."""
    before, cpu = warm.mib(), warm.cpu
    drips = [b"", b"GET /index.html HTTP/1.1", b"GET / HTTP/1.1\r\nA: " + b"a" * 20]
    slow = [(connect(opened, warm.port), drips[n % 3]) for n in range(clients)]
    waits = []
    for step in range(20):
        for one, drip in slow:
            with contextlib.suppress(ConnectionError):
                one.send(drip[step : step + 1])
        began = time.monotonic()
        assert ask(warm.port).endswith(b"ok")
        waits.append(time.monotonic() - began)
    worst = 1000 * max(waits)
    processes.figure(
        f"{clients} slow clients: {warm.mib() - before:.1f} MiB, {warm.cpu - cpu:.2f} s of CPU, "
        f"a good one waits {worst:.1f} ms at the most"
    )
    assert warm.mib() - before < 4 + clients * 4 / 1024
