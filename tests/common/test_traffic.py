import asyncio
import logging
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.types import Message, Receive, Scope, Send

from kotatsu_common.app import create_base_app
from kotatsu_common.health import Readiness
from kotatsu_common.settings import ServiceSettings
from kotatsu_common.traffic import Drain, Traffic, TrafficMiddleware

IN_FLIGHT = "kotatsu_requests_in_flight"
LAST = "kotatsu_last_request_timestamp_seconds"
TOTAL = "kotatsu_http_requests_total"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Rig:
    """The middleware around an app that a test drives message by message."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.clock = Clock()
        self.drain = Drain()
        self.sent: list[Message] = []
        traffic = Traffic(self.registry, now=self.clock, clock=self.clock)
        self.middleware = TrafficMiddleware(self.app, traffic, self.drain)
        self.go = asyncio.Event()
        self.end = asyncio.Event()

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await self.end.wait()
        await send({"type": "http.response.body", "body": b""})

    async def call(self, path: str = "/x", method: str = "GET", version: str = "1.1") -> None:
        async def send(message: Message) -> None:
            self.sent.append(message)

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "http_version": version,
        }
        await self.middleware(scope, receive, send)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_a_request_is_in_flight_until_its_last_byte(rig: Rig) -> None:
    task = asyncio.create_task(rig.call())
    await asyncio.sleep(0)
    assert rig.value(IN_FLIGHT) == 1
    rig.go.set()
    await asyncio.sleep(0.01)
    assert rig.sent
    assert rig.value(IN_FLIGHT) == 1  # the headers are out, the body still flows
    rig.end.set()
    await task
    assert rig.value(IN_FLIGHT) == 0


async def test_a_client_that_goes_away_is_counted_out(rig: Rig) -> None:
    task = asyncio.create_task(rig.call())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rig.value(IN_FLIGHT) == 0
    assert rig.value(TOTAL, method="GET", status="aborted") == 1


async def test_the_last_request_is_dated_at_its_start_and_at_its_end(rig: Rig) -> None:
    assert rig.value(LAST) == 0
    task = asyncio.create_task(rig.call())
    await asyncio.sleep(0)
    assert rig.value(LAST) == 1000
    rig.clock.now = 1060
    rig.go.set()
    rig.end.set()
    await task
    assert rig.value(LAST) == 1060


async def test_a_request_is_counted_by_method_and_class_of_status_and_timed(rig: Rig) -> None:
    rig.go.set()
    rig.end.set()
    await rig.call(method="POST")
    await rig.call(method="BREW")
    assert rig.value(TOTAL, method="POST", status="2xx") == 1
    assert rig.value(TOTAL, method="other", status="2xx") == 1
    assert rig.value("kotatsu_http_request_duration_seconds_count") == 2


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/metrics"])
async def test_probes_and_scrapes_are_no_traffic(rig: Rig, path: str) -> None:
    task = asyncio.create_task(rig.call(path))
    await asyncio.sleep(0)
    assert rig.value(IN_FLIGHT) == 0
    rig.go.set()
    rig.end.set()
    await task
    assert rig.value(LAST) == 0
    assert rig.value(TOTAL, method="GET", status="2xx") is None


@pytest.mark.parametrize("path", ["/x", "/livez"])
async def test_while_draining_each_answer_asks_for_a_new_connection(rig: Rig, path: str) -> None:
    rig.go.set()
    rig.end.set()
    await rig.call(path)
    assert (b"connection", b"close") not in rig.sent[0]["headers"]
    rig.sent.clear()
    rig.drain.start()
    await rig.call(path)
    assert (b"connection", b"close") in rig.sent[0]["headers"]


async def test_an_unexpected_error_counts_as_5xx(caplog: pytest.LogCaptureFixture) -> None:
    registry = CollectorRegistry()
    app: FastAPI = create_base_app(
        ServiceSettings(), title="T", registry=registry, readiness=Readiness()
    )

    @app.get("/x")
    async def x() -> None:
        raise RuntimeError

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        await client.get("/x")
    assert registry.get_sample_value(TOTAL, {"method": "GET", "status": "5xx"}) == 1
    assert registry.get_sample_value(IN_FLIGHT) == 0


async def test_the_access_line_has_no_query_string_and_probes_have_none(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "kotatsu.access")
    await client.get("/livez")
    await client.get("/token?code=hunter2")
    (line,) = [r for r in caplog.records if r.name == "kotatsu.access"]
    assert line.getMessage() == "GET /token"
    assert vars(line)["status"] == 404
