"""GitHub failing in every way it can: a known user is never denied, and nobody waits for long."""

import asyncio

import httpx
import pytest
from auth.conftest import IMPATIENT, Clock, verifications

from kotatsu_github_stub.state import Mode, State

WITH_DEMO = {"Authorization": "demo"}
QUICKLY = pytest.mark.parametrize("overrides", [IMPATIENT], ids=["impatient"])
FAILURES: list[Mode] = ["error", "rate_limited", "slow", "garbage", "down"]


@pytest.mark.parametrize("mode", FAILURES)
async def test_a_token_verified_in_the_last_hour_stays_good(
    auth: httpx.AsyncClient, stub: State, clock: Clock, mode: Mode
) -> None:
    before = await auth.get("/authorize", headers=WITH_DEMO)
    clock.forward(3599)
    stub.mode = mode
    answer = await auth.get("/authorize", headers=WITH_DEMO)
    assert (answer.status_code, answer.json()) == (200, before.json())
    assert (await verifications(auth))["stale"] == 1


@pytest.mark.parametrize("mode", FAILURES)
async def test_after_an_hour_the_answer_is_503_and_when_to_come_back(
    auth: httpx.AsyncClient, stub: State, clock: Clock, mode: Mode
) -> None:
    await auth.get("/authorize", headers=WITH_DEMO)
    clock.forward(3601)
    stub.mode = mode
    answer = await auth.get("/authorize", headers=WITH_DEMO)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["reason"] == mode


@QUICKLY
async def test_a_known_user_waits_for_a_slow_github_once_then_not_again_for_a_while(
    auth: httpx.AsyncClient, stub: State, clock: Clock
) -> None:
    await auth.get("/authorize", headers=WITH_DEMO)
    clock.forward(61)
    stub.mode = "slow"
    for _ in range(5):
        assert (await auth.get("/authorize", headers=WITH_DEMO)).status_code == 200
    assert stub.counted["user"] == 2
    clock.forward(6)
    stub.mode = "ok"
    await auth.get("/authorize", headers=WITH_DEMO)
    counts = await verifications(auth)
    assert (counts["stale"], counts["revalidated"]) == (5, 1)


async def test_github_is_left_alone_until_it_resets_its_rate_limit(
    auth: httpx.AsyncClient, stub: State, clock: Clock
) -> None:
    await auth.get("/authorize", headers=WITH_DEMO)
    stub.mode, stub.reset_in = "rate_limited", 600
    clock.forward(61)
    await auth.get("/authorize", headers=WITH_DEMO)
    clock.forward(500)
    await auth.get("/authorize", headers=WITH_DEMO)
    assert stub.counted["user"] == 2
    clock.forward(101)
    await auth.get("/authorize", headers=WITH_DEMO)
    assert stub.counted["user"] == 3


async def test_a_token_revoked_during_an_outage_is_refused_once_github_is_back(
    auth: httpx.AsyncClient, stub: State, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await auth.get("/authorize", headers=WITH_DEMO)
    clock.forward(61)
    stub.mode = "error"
    assert (await auth.get("/authorize", headers=WITH_DEMO)).status_code == 200
    stub.mode = "ok"
    monkeypatch.setattr("kotatsu_github_stub.github.person_of", lambda _: None)
    clock.forward(6)
    assert (await auth.get("/authorize", headers=WITH_DEMO)).status_code == 401
    stub.mode = "error"
    clock.forward(11)
    assert (await auth.get("/authorize", headers=WITH_DEMO)).status_code == 503


@QUICKLY
async def test_auth_stays_ready_and_measurable_while_github_is_down(
    auth: httpx.AsyncClient, stub: State
) -> None:
    stub.mode = "slow"
    waiting = asyncio.create_task(auth.get("/authorize", headers=WITH_DEMO))
    await asyncio.sleep(0)
    assert (await auth.get("/readyz")).status_code == 200
    assert (await auth.get("/metrics")).status_code == 200
    await waiting
    metrics = (await auth.get("/metrics")).text
    assert 'kotatsu_auth_github_requests_total{call="user",outcome="slow"} 1.0' in metrics
