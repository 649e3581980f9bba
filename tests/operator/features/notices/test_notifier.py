"""Delivery to real HTTP receivers: good ones, and ones that fail, hang, redirect or drip."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from prometheus_client import CollectorRegistry

from kotatsu_operator.features.notices import feature, receivers
from kotatsu_operator.features.notices.feature import Notifier
from kotatsu_operator.features.notices.notices import Notice
from tests.operator.core.values import t

VOICE = ("demo", "voice")
SECRET = "T000B000XXXX"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def notice(number: int = 1, reason: str = "WindowCold") -> Notice:
    return Notice(f"id-{number}", reason, f"message {number}", t("10:00"))


def answer(status: int, *headers: str) -> bytes:
    head = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n{head}\r\n".encode()


class Web:
    """A receiver on loopback. It answers each request by the next of `answers`, the last one again.

    An answer is bytes, or a function that has the connection.
    """

    def __init__(self, *answers: object) -> None:
        self._answers = list(answers) or [OK]
        self.bodies: list[dict] = []
        self.paths: list[str] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError)
        with contextlib.suppress(*ends):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(
                    int(line.split(":")[1])
                    for line in head.lower().splitlines()
                    if line.startswith("content-length")
                )
                self.paths.append(head.split()[1])
                self.bodies.append(json.loads(await reader.readexactly(length)))
                given = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
                if isinstance(given, bytes):
                    writer.write(given)
                else:
                    await given(writer)

    @property
    def ids(self) -> list[str]:
        """The ids of the CloudEvents that came."""
        return [body["id"] for body in self.bodies]


async def hang(_: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


def without_end(begin: bytes, again: bytes, pause: float = 0):
    """An answer that begins and goes on, and on."""

    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(begin)
        while True:
            writer.write(again)
            await writer.drain()
            await asyncio.sleep(pause)

    return send


endless_head = without_end(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 0.01)
endless_body = without_end(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n", b"x" * 65536)
interim = without_end(b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 1000)


class House:
    """A notifier at work, with the receivers of a file."""

    def __init__(self, file) -> None:
        self.file = file
        self.registry = CollectorRegistry()
        self.touched: list[tuple[str, str]] = []
        self.notifier = Notifier(
            str(file), self.registry, lambda: t("10:00"), pause=lambda _: 0.001
        )

    def write(self, *receivers: dict) -> None:
        """Replace the file, as the kubelet does: a new one is renamed onto it."""
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps({"receivers": receivers}))
        new.replace(self.file)

    def count(self, receiver: str, outcome: str) -> float | None:
        """None until the receiver was read."""
        labels = {"receiver": receiver, "outcome": outcome}
        return self.registry.get_sample_value("kotatsu_notifications_total", labels)

    @property
    def valid(self) -> float | None:
        return self.registry.get_sample_value("kotatsu_notification_receivers_valid")

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not holds():
                await asyncio.sleep(0.005)

    async def tell(self, *notices: Notice) -> None:
        """Tell the notices, as each reconcile does, until all are complete."""
        ids = {n.id for n in notices}

        def are_complete() -> bool:
            self.notifier.tell(VOICE, notices)
            return set(self.notifier.delivered(VOICE)) >= ids

        await self.until(are_complete)

    async def loaded(self) -> None:
        """Wait until the receiver `hook` was read, which has series from then on."""
        await self.until(lambda: self.count("hook", "sent") is not None)


Serve = Callable[[Web], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    servers: list[asyncio.Server] = []
    tasks: set[asyncio.Task] = set()

    async def begin(web: Web) -> str:
        def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(web.serve(reader, writer))
            tasks.add(task)
            # Also of a task that is canceled before its first step.
            task.add_done_callback(lambda _: writer.transport.abort())

        server = await asyncio.start_server(one, "127.0.0.1", 0)
        servers.append(server)
        port = server.sockets[0].getsockname()[1]
        web.url = f"http://127.0.0.1:{port}/{SECRET}"
        return web.url

    yield begin
    for server in servers:
        server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def house(tmp_path, caplog, monkeypatch, serve) -> AsyncIterator[House]:
    monkeypatch.setattr(feature, "READ_AGAIN", 0.01)
    caplog.set_level(logging.DEBUG)
    made = House(tmp_path / "receivers.yaml")
    task = asyncio.create_task(made.notifier.run(made.touched.append))
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    # At a fixture's end caplog.text has no line of the test any more.
    said = map(logging.Formatter().format, caplog.get_records("call"))
    assert SECRET not in "\n".join(said)


@pytest.fixture
def hook(house, serve) -> Callable[..., Awaitable[Web]]:
    async def begin(*answers: object) -> Web:
        """The receiver of that name, once it has been read."""
        web = Web(*answers)
        house.write({"name": "hook", "url": await serve(web)})
        await house.loaded()
        return web

    return begin


async def test_a_notice_is_delivered_once_and_its_pool_is_reconciled(house, hook):
    web = await hook()
    await house.tell(notice())
    house.notifier.tell(VOICE, [notice()])  # the status has it until the next reconcile
    await house.tell(notice(), notice(2))
    assert web.ids == ["id-1", "id-2"]
    assert web.bodies[0]["type"] == "dev.kotatsu.warmpool.WindowCold"
    assert house.touched == [VOICE, VOICE]
    assert house.count("hook", "sent") == 2
    house.notifier.tell(VOICE, [])
    assert house.notifier.delivered(VOICE) == ()


async def test_a_receiver_that_fails_is_tried_again_with_the_same_id(house, hook):
    # Of the last answer the body never ends: it is not read.
    web = await hook(answer(500), answer(429, "Retry-After: 0"), answer(503), endless_body)
    await house.tell(notice())
    assert web.ids == ["id-1"] * 4
    assert (house.count("hook", "retried"), house.count("hook", "sent")) == (3, 1)


async def test_spaces_around_a_header_are_no_error(house, serve):
    headers = {"Authorization": " Bearer x "}
    house.write({"name": "hook", "url": await serve(Web()), "headers": headers})
    await house.tell(notice())
    assert house.count("hook", "sent") == 1


async def test_a_receiver_that_rejects_is_not_tried_again(house, hook, caplog):
    web = await hook(answer(404), OK)
    await house.tell(notice(), notice(2))
    assert web.ids == ["id-1", "id-2"]
    assert (house.count("hook", "failed"), house.count("hook", "sent")) == (1, 1)
    assert "notification receiver hook: it answers 404; giving up id-1" in caplog.text


async def test_a_redirect_is_not_followed(house, hook, serve, caplog):
    other = Web()
    await hook(answer(307, f"Location: {await serve(other)}"))
    await house.tell(notice())
    assert other.bodies == []
    assert house.count("hook", "failed") == 1
    assert "it answers 307, and redirects are not followed" in caplog.text


@pytest.mark.parametrize("bad", [hang, endless_head, interim], ids=["hang", "head", "interim"])
async def test_a_receiver_that_does_not_respond_delays_no_other(house, serve, monkeypatch, bad):
    monkeypatch.setattr(receivers, "TIMEOUT", 0.2)
    slow, web = Web(bad, OK), Web()
    house.write(
        {"name": "slow", "url": await serve(slow)}, {"name": "hook", "url": await serve(web)}
    )
    await house.loaded()
    house.notifier.tell(VOICE, [notice(n) for n in range(20)])
    await house.until(lambda: len(set(web.ids)) == 20)
    await house.until(lambda: house.count("slow", "sent") == 20)
    assert house.count("slow", "retried") >= 1
    all_of_them = {f"id-{n}" for n in range(20)}
    await house.until(lambda: set(house.notifier.delivered(VOICE)) == all_of_them)


@pytest.mark.parametrize("bad", [hang, endless_head, answer(500)], ids=["hang", "head", "500"])
async def test_a_notice_that_is_never_accepted_holds_up_no_other(house, hook, monkeypatch, bad):
    async def serves_all_but_the_first(writer):
        if web.ids[-1] != "id-0":
            writer.write(OK)
        elif isinstance(bad, bytes):
            writer.write(bad)
        else:
            await bad(writer)

    monkeypatch.setattr(receivers, "TIMEOUT", 1.0)
    web = await hook(serves_all_but_the_first)
    house.notifier.tell(VOICE, [notice(n) for n in range(5)])
    await house.until(lambda: house.count("hook", "sent") == 4)
    assert web.ids[:5] == ["id-0", "id-1", "id-2", "id-3", "id-4"]
    assert "id-0" not in house.notifier.delivered(VOICE)


@pytest.mark.slow
async def test_the_hour_of_a_notice_begins_when_it_begins_to_wait(house, hook, monkeypatch):
    monkeypatch.setattr(feature, "GIVE_UP", 0.7)
    monkeypatch.setattr(receivers, "TIMEOUT", 0.5)
    web = await hook(hang)
    await house.tell(*(notice(n) for n in range(5)))
    assert web.ids.count("id-4") == 1  # what came before it has taken longer
    assert house.count("hook", "failed") == 5


async def test_a_receiver_that_is_not_there_is_given_up_after_an_hour(house, monkeypatch, caplog):
    monkeypatch.setattr(feature, "GIVE_UP", 0.05)
    house.write({"name": "hook", "url": f"http://127.0.0.1:1/{SECRET}"})
    await house.tell(notice())
    assert "it cannot be connected to; giving up id-1" in caplog.text


async def test_a_full_queue_drops_what_comes_later(house, hook, monkeypatch):
    monkeypatch.setattr(feature, "WAITING", 3)
    await hook(hang)
    house.notifier.tell(VOICE, [notice(n) for n in range(8)])
    assert house.count("hook", "dropped") == 5
    assert len(house.notifier.delivered(VOICE)) == 5


async def test_slack_gets_its_own_form_and_only_the_events_that_it_wants(house, serve):
    web = Web()
    chat = {"name": "chat", "url": await serve(web), "format": "slack", "events": ["WindowLate"]}
    house.write(chat)
    await house.tell(notice(1), notice(2, "WindowLate"))
    assert web.bodies == [{"text": "*demo/voice* WindowLate: message 2"}]


async def test_a_changed_file_is_read_again_and_counts_for_what_waits(house, hook, monkeypatch):
    monkeypatch.setattr(receivers, "TIMEOUT", 5.0)
    wrong = await hook(answer(500))
    house.notifier.tell(VOICE, [notice()])
    await house.until(lambda: wrong.bodies)
    right = await hook()
    await house.until(lambda: right.ids == ["id-1"])


async def test_an_invalid_file_leaves_the_receivers_as_they_are(house, hook, caplog):
    web = await hook()
    house.write({"name": "hook", "url": f"ftp://{SECRET}"})
    await house.until(lambda: house.valid == 0)
    await house.tell(notice())
    assert web.ids == ["id-1"]
    assert "receivers[0].url: is not an http or https address" in caplog.text
    house.write({"name": "hook", "url": web.url})
    await house.until(lambda: house.valid == 1)
    away = house.file.rename(house.file.with_suffix(".away"))
    await house.until(lambda: house.valid == 0)
    away.rename(house.file)
    await house.until(lambda: house.valid == 1)


async def test_notices_wait_for_the_first_valid_file(house, hook):
    await house.until(lambda: house.valid == 0)
    house.notifier.tell(VOICE, [notice()])
    assert house.notifier.delivered(VOICE) == ()
    web = await hook()
    await house.until(lambda: house.touched == [VOICE])  # its next reconcile tells again
    await house.tell(notice())
    assert web.ids == ["id-1"]


async def test_a_receiver_that_is_removed_holds_nothing_back(house, serve):
    stuck, web = Web(hang), Web()
    hook = {"name": "hook", "url": await serve(web)}
    house.write(hook, {"name": "stuck", "url": await serve(stuck)})
    await house.loaded()
    house.notifier.tell(VOICE, [notice()])
    await house.until(lambda: web.bodies and stuck.bodies)
    house.write(hook)
    await house.until(lambda: "id-1" in house.notifier.delivered(VOICE))
