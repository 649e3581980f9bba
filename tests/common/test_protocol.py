"""What one connection may make a service hold, over real sockets."""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import StreamingResponse
from serving import NO_TLS
from uvicorn.server import ServerState

from kotatsu_common.limits import HEAD_BYTES, REQUEST_COST, BodyLimit
from kotatsu_common.protocol import BoundedProtocol

pytestmark = pytest.mark.timeout(60)


HALF, half_came = b"GET /ign", threading.Event()


class Quick(BoundedProtocol):
    """The same, with less patience."""

    head_seconds = 1.0
    taken_within = 0.3


class Full(BoundedProtocol):
    """The same, for two clients."""

    most_connections = 2

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if data.endswith(HALF):
            half_came.set()


routes = APIRouter()


@routes.post("/read")
async def read(request: Request) -> int:
    """Read the body."""
    return len(await request.body())


@routes.post("/slow")
async def slow(seconds: float) -> str:
    """Answer after some seconds."""
    await asyncio.sleep(seconds)
    return "ok"


came, may_go = threading.Event(), threading.Event()


@routes.post("/held")
async def hold() -> str:
    """Answer when the test lets it."""
    came.set()
    await asyncio.to_thread(may_go.wait, 20)
    return "ok"


@routes.post("/ignore")
async def ignore() -> str:
    """Don't."""
    return "ok"


given_up = threading.Event()


@routes.get("/endless")
async def endless() -> StreamingResponse:
    """An answer without an end, until its client is given up."""

    async def zeros() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(2**16)
                await asyncio.sleep(0)
        finally:
            given_up.set()

    return StreamingResponse(zeros())


@contextlib.contextmanager
def served(protocol: type[BoundedProtocol], seconds: float) -> Iterator[int]:
    """The port of a service that waits so many seconds for a body."""
    app = FastAPI()
    app.add_middleware(BodyLimit, limit=1000, seconds=seconds)
    app.include_router(routes)
    config = uvicorn.Config(app, port=0, log_config=None, http=protocol, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served(BoundedProtocol, 60) as port:
        yield port


@pytest.fixture(scope="module")
def quick_port() -> Iterator[int]:
    """For tests of what comes too late."""
    with served(Quick, 0.3) as port:
        yield port


class Peer:
    """A client that says what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def say(self, text: str) -> bool:
        """False when nobody listens any more."""
        try:
            self._writer.write(text.encode())
            await self._writer.drain()
        except ConnectionError:
            return False
        return True

    async def flood(self, text: str, most: int) -> int:
        """Say it again and again; returns the bytes that were taken before the connection ended."""
        sent = 0
        while sent < most and not self._reader.at_eof() and await self.say(text):
            sent += len(text)
            await asyncio.sleep(0)
        return sent

    async def hear(self) -> tuple[int, dict[str, object]]:
        """Status and body of the answer, after which the connection must have ended."""
        said = b""
        with contextlib.suppress(ConnectionError):
            while piece := await self._reader.read(2**16):
                said += piece
        if not said:
            return 0, {}
        head, _, body = said.decode().partition("\r\n\r\n")
        return int(head.split()[1]), json.loads(body)


@pytest.fixture
async def peer(port: int) -> AsyncIterator[Peer]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield Peer(reader, writer)
    writer.close()


@pytest.fixture
async def late_peer(quick_port: int) -> AsyncIterator[Peer]:
    reader, writer = await asyncio.open_connection("127.0.0.1", quick_port)
    yield Peer(reader, writer)
    writer.close()


HEAD = "POST /read HTTP/1.1\r\nHost: x\r\n"
CHUNKED = f"{HEAD}Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("first", "rest"),
    [
        (HEAD + "X: ", "a" * 1000),
        (HEAD, "X: y\r\n" * 100),
        ("GET /", "a" * 1000),
        (CHUNKED + "1\r\na\r\n0\r\n", "X: y\r\n" * 100),
        (CHUNKED + "1;", "a" * 1000),
        (HEAD + "Transfer-Encoding: chunked\r\n\r\n", "0" * 1000),
    ],
    ids=["a header", "headers", "a path", "trailers", "an extension", "a length"],
)
async def test_what_never_ends_is_cut_off(peer: Peer, first: str, rest: str) -> None:
    assert await peer.say(first)
    assert await peer.flood(rest, 20 * 2**20) < 5 * 2**20
    status, problem = await peer.hear()
    assert status in (0, 400, 431)
    if status == 431:
        assert problem["detail"] == "The request's headers are larger than 32 KiB."


async def test_headers_of_some_kilobytes_are_fine(port: int) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", verify=NO_TLS) as http:
        for _ in range(3):  # on one connection
            headers = {f"x-{i}": "y" * 1000 for i in range(20)}
            answer = await http.post("/read", headers=headers, content=b"x" * 1000)
            assert answer.json() == 1000


@pytest.mark.parametrize("said", ["", "POST /re", HEAD + "X: y\r\n"])
async def test_a_request_that_does_not_come_is_408(late_peer: Peer, said: str) -> None:
    await late_peer.say(said)
    status, problem = await late_peer.hear()
    assert (status, problem["title"]) == (408, "Too slow")


async def test_a_second_request_that_does_not_come_is_408_too(quick_port: int) -> None:
    text = await heard(quick_port, IGNORED + "POST /ig")
    assert text.count("HTTP/1.1") == 2
    assert "HTTP/1.1 408" in text


@pytest.mark.slow
async def test_a_second_request_that_does_not_come_cuts_off_no_answer(quick_port: int) -> None:
    text = await heard(quick_port, slowly(Quick.head_seconds + 0.5) + "POST /ig")
    assert text.startswith("HTTP/1.1 200")
    assert "HTTP/1.1 408" in text


@pytest.mark.parametrize(
    "begin", [HEAD + "Content-Length: 10\r\n\r\nab", CHUNKED + "5\r\nab"], ids=["length", "chunked"]
)
async def test_a_body_that_does_not_come_is_408(quick_port: int, begin: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", quick_port)
    writer.write(begin.encode())
    assert b" 408 " in await reader.readline()
    writer.close()


def slowly(seconds: float) -> str:
    """A request that is answered after some seconds."""
    return f"POST /slow?seconds={seconds} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


SLOW = slowly(0.3)
IGNORED = "POST /ignore HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


async def heard(port: int, text: str) -> str:
    """All that a server says to a text, until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text.encode())
    answer = (await reader.read()).decode()
    writer.close()
    return answer


async def test_of_requests_that_do_not_wait_for_answers_some_are_answered(port: int) -> None:
    """The client repeats the others, as after any connection that closes."""
    answers = (await heard(port, SLOW + IGNORED * 10_000)).lower()
    assert 2 <= answers.count("http/1.1 200") <= 20
    assert answers.count("http/1.1") == answers.count('"ok"') == answers.count("http/1.1 200")
    assert answers.count("connection: close") == 1


async def test_a_few_requests_at_once_are_all_answered(port: int) -> None:
    closing = IGNORED.replace("Host", "Connection: close\r\nHost")
    answers = await heard(port, SLOW + IGNORED * 8 + closing)
    assert answers.count('"ok"') == 10


async def test_a_request_that_came_whole_is_answered_before_nonsense_behind_it(port: int) -> None:
    answer = await heard(port, f"{SLOW}\x00\x01 nonsense\r\n\r\n")
    assert answer.startswith("HTTP/1.1 200")
    assert answer.endswith('"ok"')


async def test_many_short_headers_are_too_large_too(port: int) -> None:
    assert " 431 " in await heard(port, HEAD + "a:b\r\n" * 1000 + "\r\n")


async def test_nonsense_is_400_as_a_problem(port: int) -> None:
    answer = await heard(port, "nonsense\r\n\r\n")
    assert " 400 " in answer
    assert "application/problem+json" in answer


@pytest.fixture
async def unanswered() -> AsyncIterator[BoundedProtocol]:
    """A connection whose requests are answered by nobody before its client goes."""

    async def wait(scope: object, receive: Callable[..., Any], send: object) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    config = uvicorn.Config(wait, lifespan="off", log_config=None)
    state = ServerState()
    made = BoundedProtocol(config=config, server_state=state, app_state={}, body_bytes=1000)
    transport = Mock(spec=asyncio.Transport, is_closing=lambda: False)
    transport.get_extra_info.return_value = None
    made.connection_made(transport)
    yield made
    made.connection_lost(None)
    await asyncio.gather(*state.tasks)


async def test_of_a_body_that_waits_to_be_read_little_is_kept(unanswered: BoundedProtocol) -> None:
    """Who sends is asked first, and that takes a while."""
    unanswered.data_received((CHUNKED + ("4000\r\n" + "x" * 0x4000 + "\r\n") * 20).encode())
    assert (
        len(unanswered.cycle.body) == 1001
    )  # one more, so that BodyLimit sees that it is too large
    assert unanswered.flow.read_paused


async def test_of_a_million_requests_at_once_few_are_kept(unanswered: BoundedProtocol) -> None:
    unanswered.data_received(b"GET / HTTP/1.1\r\n\r\n" * 50_000)
    assert 2 < len(unanswered.pipeline) <= HEAD_BYTES // REQUEST_COST


async def test_bodies_that_wait_behind_one_another_are_counted_together(
    unanswered: BoundedProtocol,
) -> None:
    unanswered.data_received((f"{HEAD}Content-Length: 1000\r\n\r\n" + "x" * 1000).encode() * 1000)
    assert sum(len(cycle.body) for cycle, _ in unanswered.pipeline) <= HEAD_BYTES + 1001


async def test_a_full_house_closes_what_has_been_silent_longest() -> None:
    with served(Full, 60) as port:
        busy, asking = await asyncio.open_connection("127.0.0.1", port)
        asking.write(IGNORED.replace("ignore", "held").encode())
        assert await asyncio.to_thread(came.wait, 20)
        silent, first = await asyncio.open_connection("127.0.0.1", port)
        first.write(HALF)
        assert await asyncio.to_thread(half_came.wait, 20)  # what is not read would be a reset
        assert '"ok"' in await heard(port, IGNORED.replace("Host", "Connection: close\r\nHost"))
        assert b" 503 " in await silent.read()
        may_go.set()
        assert b" 200 " in await busy.readline()
        asking.close()
        first.close()


async def test_a_client_that_has_gone_is_noticed_whatever_it_sent_behind(port: int) -> None:
    given_up.clear()
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n{IGNORED}".encode())
    await asyncio.sleep(0.1)
    writer.transport.abort()
    assert await asyncio.to_thread(given_up.wait, 20)


async def test_a_body_that_grows_is_cut_off_though_nobody_reads_it(port: int) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 10_000

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", verify=NO_TLS) as http:
        assert (await http.post("/read", content=endless())).status_code == 413
        assert (await http.post("/ignore", content=endless())).status_code == 200


async def test_the_time_of_a_body_is_not_the_time_of_its_answer() -> None:
    """Waiting for a client to go takes as long as the answer does."""
    heard: list[str] = []

    async def slow(scope: object, receive: Callable[..., object], send: object) -> None:
        heard.append((await receive())["type"])  # type: ignore[misc, index]
        heard.append((await receive())["type"])  # type: ignore[misc, index]

    messages = [{"type": "http.request", "body": b"x"}]

    async def receive() -> dict[str, object]:
        if messages:
            return messages.pop()  # type: ignore[return-value]
        await asyncio.sleep(0.1)
        return {"type": "http.disconnect"}

    scope = {"type": "http", "headers": []}
    await BodyLimit(slow, limit=10, seconds=0.01)(scope, receive, None)  # type: ignore[arg-type]
    assert heard == ["http.request", "http.disconnect"]


async def test_a_client_that_takes_nothing_of_its_answer_is_given_up(quick_port: int) -> None:
    """A request that never ends counts as one in flight, and keeps its pool awake."""
    given_up.clear()
    _, writer = await asyncio.open_connection("127.0.0.1", quick_port, limit=2**10)
    writer.write(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
    assert await asyncio.to_thread(given_up.wait, 20)
    writer.close()


async def test_a_client_that_takes_its_answer_slowly_is_not_given_up() -> None:
    left = [300, 200, 100, 100]
    transport = Mock(get_write_buffer_size=lambda: left.pop(0))
    made = Mock(spec=BoundedProtocol, transport=transport, taken_within=0.0)
    made.loop = asyncio.get_running_loop()
    made._watch = lambda: BoundedProtocol._watch(made)
    made._see_what_is_taken = lambda before: BoundedProtocol._see_what_is_taken(made, before)
    made._watch()
    while left:
        transport.abort.assert_not_called()
        await asyncio.sleep(0)
    transport.abort.assert_called_once()
