"""What passes the splice, with the clients and servers people use: from zero, and while warm."""

import asyncio
import contextlib
import ssl
import subprocess
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from types import SimpleNamespace

import grpc
import httpx
import pytest
import websockets
from serving import NO_TLS
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve as serve_websocket

from tests.e2e.h2server import H2Server
from tests.operator.cluster import service

pytestmark = pytest.mark.timeout(60)


def pod_appears(activator, port):
    """Let the pod, a server in this process, come when the scale is raised."""
    made = SimpleNamespace(name="voice-1", port=port)
    activator.kube.on("raise_scale", lambda _: activator.see_pod(made, ready=True))


# --- HTTP/2 ---


@contextlib.asynccontextmanager
async def h2_server():
    server = H2Server()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        server.close()


def h2_client():
    return httpx.AsyncClient(http1=False, http2=True, verify=NO_TLS, trust_env=False, timeout=10)


async def test_http2_with_prior_knowledge_wakes_and_goes_on_on_one_connection(activator):
    """Also a megabyte, which its flow control stops both ways."""
    bodies = [*(b"%d" % n * 1000 for n in range(19)), bytes(range(256)) * 4096]
    async with h2_server() as port, h2_client() as http:
        pod_appears(activator, port)
        url = f"http://127.0.0.1:{activator.port}/echo"
        answers = await asyncio.gather(*(http.post(url, content=body) for body in bodies))
        assert [a.content for a in answers] == bodies
        assert {a.http_version for a in answers} == {"HTTP/2"}
        assert activator.raises == 1
        assert len(activator.clients) == 1


# --- gRPC ---


def refuse(_, context):
    context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")


# A gRPC service without a schema: bytes in, bytes out, of each of the four kinds.
ECHO = grpc.method_handlers_generic_handler(
    "echo",
    {
        "Unary": grpc.unary_unary_rpc_method_handler(lambda request, _: request.upper()),
        "Down": grpc.unary_stream_rpc_method_handler(lambda request, _: iter(request.split())),
        "Up": grpc.stream_unary_rpc_method_handler(lambda requests, _: b" ".join(requests)),
        "Both": grpc.stream_stream_rpc_method_handler(
            lambda requests, _: (request.upper() for request in requests)
        ),
        "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
    },
)


# In threads: grpc.aio leaves a file descriptor in the event loop of each test, and now and then
# uvloop cannot close that loop.
@pytest.fixture
async def stub(activator):
    """A channel with a connection of its own to a pool whose pods speak gRPC."""
    server = grpc.server(ThreadPoolExecutor())
    server.add_generic_rpc_handlers((ECHO,))
    pod_appears(activator, server.add_insecure_port("127.0.0.1:0"))
    server.start()
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{activator.port}", options=options) as channel:
        yield channel
    server.stop(None).wait()


async def test_a_grpc_call_wakes_a_pool_from_zero_also_if_it_is_streamed(activator, stub):
    def ask():
        return (
            stub.unary_unary("/echo/Unary")(b"warm", wait_for_ready=True),
            list(stub.unary_stream("/echo/Down")(b"a b c")),
            stub.stream_unary("/echo/Up")(iter((b"a", b"b", b"c"))),
        )

    assert await asyncio.to_thread(ask) == (b"WARM", [b"a", b"b", b"c"], b"a b c")
    assert activator.raises == 1


async def test_grpc_streams_both_ways_at_once(activator, stub):
    def talk():
        said = SimpleQueue()
        answers = stub.stream_stream("/echo/Both")(iter(said.get, None), wait_for_ready=True)
        for word in (b"one", b"two", b"three"):
            said.put(word)
            assert next(answers) == word.upper()
        said.put(None)
        assert list(answers) == []

    await asyncio.to_thread(talk)


async def test_a_grpc_status_and_its_words_pass(activator, stub):
    with pytest.raises(grpc.RpcError) as caught:
        await asyncio.to_thread(stub.unary_unary("/echo/Refuse"), b"", wait_for_ready=True)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert caught.value.details() == "not you"


# --- WebSocket ---


async def echo(connection):
    with contextlib.suppress(websockets.ConnectionClosed):
        async for message in connection:
            await connection.send(message)


async def test_a_websocket_wakes_and_echoes_text_bytes_and_pings(activator):
    async with serve_websocket(echo, "127.0.0.1", 0) as server:
        pod_appears(activator, server.sockets[0].getsockname()[1])
        async with connect(f"ws://127.0.0.1:{activator.port}/", proxy=None) as client:
            for message in ("暖かい", bytes(range(256)), "x" * 200_000):
                await client.send(message)
                assert await client.recv() == message
            await (await client.ping())
        assert client.close_code == 1000


async def test_a_websocket_whose_pod_ends_hears_it(activator):
    async with serve_websocket(echo, "127.0.0.1", 0) as server:
        pod_appears(activator, server.sockets[0].getsockname()[1])
        async with connect(f"ws://127.0.0.1:{activator.port}/", proxy=None) as client:
            await client.send("a")
            assert await client.recv() == "a"
            server.close()
            with pytest.raises(websockets.ConnectionClosed):
                await client.recv()
        assert client.close_code == 1001


# --- TLS ---


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = f"""
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2
        -subj /CN=voice -addext subjectAltName=DNS:voice -keyout {key} -out {cert}
    """
    subprocess.run(command.split(), check=True, capture_output=True)
    return key, cert


async def test_tls_passes_to_the_pod_untouched_whose_certificate_the_client_sees(
    activator, certificate
):
    key, cert = certificate
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(cert, key)

    async def answer(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + head.split(b" ")[1])
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_side)
    pod_appears(activator, server.sockets[0].getsockname()[1])
    trusting = ssl.create_default_context(cafile=str(cert))
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", activator.port, ssl=trusting, server_hostname="voice"
    )
    writer.write(b"GET /secret HTTP/1.1\r\nHost: voice\r\n\r\n")
    assert (await reader.read()).endswith(b"/secret")
    writer.close()
    server.close()
    assert activator.raises == 1


# --- several ports ---


async def test_each_port_of_a_service_leads_to_its_own_target_by_name_and_by_number(activator):
    async with serve_websocket(echo, "127.0.0.1", 0) as ws, h2_server() as h2_port:
        ws_port = ws.sockets[0].getsockname()[1]
        ports = [
            {"name": "ws", "port": 80, "targetPort": "http"},
            {"name": "h2", "port": 81, "targetPort": h2_port},
        ]
        activator.see("Service", service("voice", *ports))
        pod_appears(activator, ws_port)
        listeners = {name: await activator.listen(name) for name in ("ws", "h2")}
        async with connect(f"ws://127.0.0.1:{listeners['ws']}/", proxy=None) as client:
            await client.send("a")
            assert await client.recv() == "a"
        async with h2_client() as http:
            answer = await http.post(f"http://127.0.0.1:{listeners['h2']}/echo", content=b"b")
            assert answer.content == b"b"
