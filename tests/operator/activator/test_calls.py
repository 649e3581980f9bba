"""A quiet call keeps its pool in use, whatever its protocol, and a keepalive does not."""

import asyncio
import concurrent.futures
import threading
from types import SimpleNamespace

import grpc
import pytest

from kotatsu_operator.activator import connections as connections_module
from kotatsu_operator.activator import splice as client_module
from tests.operator.activator.in_process import BY_ACTIVATOR, ActivatorFixture, Pod, pool
from tests.operator.cluster import activator_pod, eventually

pytestmark = pytest.mark.timeout(60)

MINUTE = 60.0
BEGIN = b"\0BEGIN; INSERT INTO orders VALUES (1, 'a row that is long enough')"
PING = b"\0PING\r\n"


class Database(Pod):
    """A pod that answers all bytes, and whose protocol is not HTTP."""

    async def _serve(self, reader, writer):
        self.open.append((reader, writer))
        while data := await reader.read(4096):
            self.requests.append(data)
            writer.write(b"+" + data)


@pytest.fixture
def clock(monkeypatch):
    """The activator's monotonic clock, which a test moves."""
    made = SimpleNamespace(now=1000.0, time=lambda: 0.0)
    made.monotonic = lambda: made.now
    for module in (client_module, connections_module):
        monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
async def activator():
    async with ActivatorFixture() as activator:
        activator.see("Deployment", activator.kube.stored("Deployment", "voice"))
        activator.see("WarmPool", pool("Warm", **BY_ACTIVATOR))
        yield activator


async def ask(reader, writer, data):
    writer.write(data)
    return await reader.readexactly(len(data) + 1)


def active(activator):
    return activator.count("kotatsu_activator_active")


@pytest.mark.parametrize(
    ("how", "minutes"),
    [
        (BY_ACTIVATOR, 10),
        ({"lacks": True}, 10),
        (BY_ACTIVATOR | {"connectionIdleTimeout": "1h"}, 60),
    ],
)
async def test_a_quiet_transaction_keeps_its_pool_in_use_for_ten_minutes_or_as_its_author_says(
    activator, clock, how, minutes
):
    activator.see("WarmPool", pool("Warm", **how))
    await activator.new_pod(of=Database, ready=True)
    await ask(*await activator.send(b""), BEGIN)
    clock.now += minutes * MINUTE - 1
    assert active(activator) == 1
    clock.now += 1
    assert active(activator) == 0


async def test_ten_quiet_sessions_ask_for_one_pod_and_not_for_ten(activator, clock):
    await activator.new_pod(of=Database, ready=True)
    for _ in range(10):
        await ask(*await activator.send(b""), BEGIN)
    assert active(activator) == 10
    clock.now += MINUTE
    assert active(activator) == 1


async def test_on_the_way_down_a_keepalive_passes_unannounced_and_a_request_does_not(
    activator, clock
):
    """With many connections there is always a keepalive: each would end the way down."""
    activator.see("Pod", activator_pod())
    made = await activator.new_pod(of=Database, ready=True)
    reader, writer = await activator.send(b"")
    for _ in range(30):
        clock.now += 30
        await ask(reader, writer, PING)
    activator.see("WarmPool", pool("Draining", **BY_ACTIVATOR))
    clock.now += 30
    await ask(reader, writer, PING)
    assert (len(made.requests), activator.announcements) == (31, [])
    clock.now += 30
    await ask(reader, writer, BEGIN)
    assert len(activator.announcements) == 1


# --- gRPC, with its real client and server ---


@pytest.fixture
def grpc_pod():
    """It answers a call when `answer` is set."""
    called, answer = threading.Event(), threading.Event()

    def say(request, context):
        called.set()
        answer.wait(30)
        return request

    say = grpc.unary_unary_rpc_method_handler(say)
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    handlers = grpc.method_handlers_generic_handler("demo.Voice", {"Say": say})
    server.add_generic_rpc_handlers((handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield SimpleNamespace(name="voice-1", port=port, called=called, answer=answer)
    answer.set()
    server.stop(0).wait()


def call(port, options=(), **how):
    """One call by grpcio; returns its answer or its status."""
    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1), *options]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        try:
            return channel.unary_unary("/demo.Voice/Say")(b"x", timeout=20, **how)
        except grpc.RpcError as error:
            return error.code()


async def test_a_quiet_grpc_call_keeps_its_pool_in_use(activator, clock, grpc_pod):
    activator.see_pod(grpc_pod, ready=True)
    answer = asyncio.create_task(asyncio.to_thread(call, activator.port))
    await eventually(grpc_pod.called.is_set)
    clock.now += 9 * MINUTE
    assert active(activator) == 1
    grpc_pod.answer.set()
    assert await answer == b"x"


CONNECT_WITHIN = "grpc.min_reconnect_backoff_ms"
"""How long grpcio waits for the SETTINGS of a server: 20 s by default."""


def calls_asleep(activator, grpc_pod, *options, **how):
    """Call a pool that sleeps."""
    grpc_pod.answer.set()
    activator.see("WarmPool", pool("Asleep", **BY_ACTIVATOR))
    calling = asyncio.to_thread(call, activator.port, options, **how)
    return activator.keep(asyncio.create_task(calling))


@pytest.mark.slow
async def test_grpcio_gives_up_a_held_connection_after_its_own_time(activator, grpc_pod):
    asked = calls_asleep(activator, grpc_pod, (CONNECT_WITHIN, 300))
    await eventually(lambda: activator.clients)
    assert await asked is grpc.StatusCode.UNAVAILABLE


async def test_a_longer_time_to_connect_carries_grpcio_over_a_wake(activator, grpc_pod):
    asked = calls_asleep(activator, grpc_pod, (CONNECT_WITHIN, 60_000))
    await activator.held(1)
    await asyncio.sleep(0.6)  # twice the time after which it gave up above
    activator.see_pod(grpc_pod, ready=True)
    assert await asked == b"x"
    assert len(activator.clients) == 1


async def test_so_does_wait_for_ready_which_connects_again(activator, grpc_pod):
    asked = calls_asleep(activator, grpc_pod, (CONNECT_WITHIN, 300), wait_for_ready=True)
    await eventually(lambda: len(activator.clients) > 1)
    activator.see_pod(grpc_pod, ready=True)
    assert await asked == b"x"
