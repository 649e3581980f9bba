"""What one activator takes on, in a process of its own: figures are printed (`pytest -s`).

Each has a short form for every day and a long one, marked `soak`, with the numbers people ask for.
"""

import contextlib
import socket
import time

import httpx
import needs
import pytest

from tests.operator.activator import processes

HEAD = b"GET %s HTTP/1.1\r\nHost: voice.demo.svc\r\nUser-Agent: curl/7.88\r\nAccept: */*\r\n\r\n"
MEBIBYTE = 2**20
FILES_EACH = 3
"""Open files for each client: an activator that splices has two, and it keeps some for itself."""
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
    with processes.activator("Activator", "Warm") as started:
        started.say(f"pod {pod}")
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


def connect(opened, port):
    return opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))


def ask(port, path=b"/"):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as made:
        made.sendall(HEAD % path)
        return made.recv(2**16)


# --- held ---


@pytest.mark.parametrize(
    "clients", [1000, pytest.param(10_000, marks=[soak, pytest.mark.timeout(300)])]
)
def test_many_are_held_in_little_memory_and_all_of_them_answered(asleep, pod, opened, clients):
    needs.open_files(FILES_EACH * clients)
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


# --- at the limit of open files ---


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


# --- those who do not come to the point ---


@pytest.mark.parametrize(
    "clients", [300, pytest.param(6000, marks=[soak, pytest.mark.timeout(300)])]
)
def test_slow_clients_by_the_thousand_keep_nobody_from_an_answer(warm, opened, clients):
    """A third says nothing, a third drips its request line, a third drips its headers."""
    needs.open_files(FILES_EACH * clients)
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
