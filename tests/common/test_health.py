import asyncio

import httpx
from fastapi import FastAPI
from prometheus_client import REGISTRY, CollectorRegistry, Counter

from kotatsu_common.app import create_base_app
from kotatsu_common.health import Readiness
from kotatsu_common.settings import ServiceSettings


async def test_livez_answers_before_the_service_is_ready(client: httpx.AsyncClient) -> None:
    answer = await client.get("/livez")
    assert (answer.status_code, answer.text) == (200, "ok")


async def test_readyz_follows_the_service(client: httpx.AsyncClient, readiness: Readiness) -> None:
    assert (await client.get("/readyz")).status_code == 503
    readiness.ready()
    assert readiness.state.is_ready
    assert (await client.get("/readyz")).status_code == 200
    readiness.not_ready("the voice is hoarse")
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["detail"]) == (503, "the voice is hoarse")


async def test_metrics_are_the_app_s_own(
    client: httpx.AsyncClient, registry: CollectorRegistry
) -> None:
    Counter("kotatsu_songs", "Songs", registry=registry).inc()
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "kotatsu_songs_total 1.0" in answer.text
    assert "process_resident_memory_bytes" in answer.text
    assert "kotatsu_requests_in_flight" not in str(list(REGISTRY.collect()))


async def test_a_browser_may_call_with_a_header_token_and_no_cookies(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    answer = await client.options(
        "/livez",
        headers={
            "Origin": "http://page.example",
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization,content-type",
        },
    )
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "Authorization" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers


async def test_a_script_may_read_the_exposed_headers(client: httpx.AsyncClient) -> None:
    answer = await client.get("/livez", headers={"Origin": "http://page.example"})
    assert answer.headers["access-control-expose-headers"] == "Retry-After, X-Voice-Credit"


async def test_livez_fails_while_a_restart_is_due_and_nothing_is_in_flight() -> None:
    due = ["the engine hangs"]
    app = create_base_app(
        ServiceSettings(),
        title="T",
        registry=CollectorRegistry(),
        readiness=Readiness(),
        restart=lambda: due[0],
    )
    begun, end = asyncio.Event(), asyncio.Event()

    @app.get("/x")
    async def x() -> None:
        begun.set()
        await end.wait()

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        asked = asyncio.create_task(client.get("/x"))
        await begun.wait()
        assert (await client.get("/livez")).status_code == 200
        end.set()
        await asked
        answer = await client.get("/livez")
        assert (answer.status_code, answer.json()["detail"]) == (503, "the engine hangs")
        due[0] = ""
        assert (await client.get("/livez")).status_code == 200
