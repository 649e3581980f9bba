"""How often GitHub is asked, and what happens when it can't be: one database shows it."""

import asyncio
import time

import httpx
import pytest
from feed.conftest import IMPATIENT, Clock

from kotatsu_common.github import GitHub
from kotatsu_common.turns import Busy
from kotatsu_github_stub.state import Mode, State

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
QUICKLY = pytest.mark.parametrize("overrides", [IMPATIENT], ids=["impatient"])
FAILURES: list[Mode] = ["error", "rate_limited", "slow", "garbage", "down"]
STATUS = {"error": 503, "rate_limited": 503, "slow": 503, "garbage": 502, "down": 503}


async def lookups(feed: httpx.AsyncClient) -> dict[str, int]:
    """kotatsu_feed_food_lookups_total by source, without the zeros."""
    counts = {}
    for line in (await feed.get("/metrics")).text.splitlines():
        if line.startswith("kotatsu_feed_food_lookups_total{") and float(line.split()[-1]):
            counts[line.split('"')[1]] = int(float(line.split()[-1]))
    return counts


async def test_a_count_is_used_for_half_a_minute(
    feed: httpx.AsyncClient, stub: State, clock: Clock
) -> None:
    await feed.post("/get_feed")
    stub.contributions["demo"] = 9
    clock.forward(seconds=29)
    assert (await feed.post("/get_feed")).json() == {"feedCount": 5}
    clock.forward(seconds=1)
    assert (await feed.post("/get_feed")).json() == {"feedCount": 9}
    assert stub.counted["graphql"] == 2
    assert await lookups(feed) == {"github": 2, "cached": 1}


async def test_fifty_at_once_ask_github_once(feed: httpx.AsyncClient, stub: State) -> None:
    stub.mode, stub.delay = "slow", 0.05
    answers = await asyncio.gather(*(feed.post("/get_feed") for _ in range(50)))
    assert {answer.json()["feedCount"] for answer in answers} == {5}
    assert stub.counted["graphql"] == 1


async def test_each_user_has_a_count_of_their_own(feed: httpx.AsyncClient, stub: State) -> None:
    stub.contributions["anna"] = 2
    anna = await feed.post("/get_feed", headers={"Authorization": "demo-anna"})
    assert anna.json() == {"feedCount": 2}
    assert (await feed.post("/get_feed")).json() == {"feedCount": 5}


@pytest.mark.parametrize("mode", FAILURES)
async def test_home_ranking_name_and_wardrobe_do_not_need_github(
    feed: httpx.AsyncClient, stub: State, mode: Mode
) -> None:
    stub.mode = mode
    answers = [
        await feed.get("/home"),
        await feed.get("/ranking"),
        await feed.put("/update_profile", json={"characterName": "x"}),
        await feed.put("/change_clothes", json={"item": "春"}),
        await feed.put("/change_background", json={"item": "春"}),
    ]
    assert {answer.status_code for answer in answers} == {200}
    assert stub.counted["graphql"] == 0


@pytest.mark.parametrize("mode", FAILURES)
async def test_while_github_fails_a_count_of_the_last_hour_is_used(
    feed: httpx.AsyncClient, stub: State, clock: Clock, mode: Mode
) -> None:
    await feed.post("/get_feed")
    stub.mode = mode
    clock.forward(minutes=59)
    assert (await feed.post("/get_feed")).json() == {"feedCount": 5}
    assert (await feed.post("/feed")).json()["feedCount"] == 4
    assert (await lookups(feed))["stale"] == 2


@pytest.mark.parametrize("mode", FAILURES)
async def test_after_an_hour_the_answer_says_what_is_wrong_and_when_to_come_back(
    feed: httpx.AsyncClient, stub: State, clock: Clock, mode: Mode
) -> None:
    await feed.post("/get_feed")
    stub.mode = mode
    clock.forward(minutes=61)
    for path in ("/get_feed", "/feed"):
        answer = await feed.post(path)
        assert answer.status_code == STATUS[mode]
        assert answer.json()["reason"] == mode
        assert int(answer.headers["retry-after"]) >= 1


async def test_a_count_of_yesterday_is_no_food_for_today(
    feed: httpx.AsyncClient, stub: State, clock: Clock
) -> None:
    clock.forward(hours=2, minutes=50)
    await feed.post("/get_feed")
    stub.mode = "down"
    clock.forward(minutes=11)  # past midnight in Tokyo
    assert (await feed.post("/feed")).status_code == 503


@QUICKLY
async def test_after_a_failure_github_is_left_alone_for_some_seconds(
    feed: httpx.AsyncClient, stub: State, clock: Clock
) -> None:
    stub.mode = "slow"
    for _ in range(5):
        await feed.post("/get_feed")
    assert stub.counted["graphql"] == 1
    stub.mode = "ok"
    clock.forward(seconds=6)
    assert (await feed.post("/get_feed")).status_code == 200


async def test_github_is_left_alone_until_it_resets_the_rate_limit(
    feed: httpx.AsyncClient, stub: State, clock: Clock
) -> None:
    stub.mode, stub.reset_in = "rate_limited", 600
    clock.time = clock.time.fromtimestamp(time.time(), clock.time.tzinfo)  # the stub's clock
    answer = await feed.post("/get_feed")
    # Rounded up on both sides; the stub's clock goes on meanwhile.
    assert 600 <= int(answer.headers["retry-after"]) <= 660
    clock.forward(seconds=500)
    again = await feed.post("/get_feed")
    assert int(again.headers["retry-after"]) == int(answer.headers["retry-after"]) - 500
    assert stub.counted["graphql"] == 1
    others = await feed.post("/get_feed", headers={"Authorization": "demo-anna"})
    assert others.status_code == 503
    assert stub.counted["graphql"] == 2  # a limit is one token's, not everybody's


async def test_the_token_goes_to_github_and_nowhere_else(
    feed: httpx.AsyncClient, tmp_path_factory: pytest.TempPathFactory, settings: object
) -> None:
    token = {"Authorization": "demo-canary"}
    await feed.post("/feed", headers=token)
    files = [p for p in tmp_path_factory.getbasetemp().rglob("pets.sqlite3*") if p.is_file()]
    assert files
    stored = b"".join(path.read_bytes() for path in files)
    assert b"canary" in stored  # the login
    assert b"demo-canary" not in stored


async def test_a_full_queue_of_ours_uses_the_count_too_and_is_no_failure_of_github(
    feed: httpx.AsyncClient, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await feed.post("/get_feed")
    clock.forward(minutes=1)

    async def full(*_: object, **__: object) -> httpx.Response:
        raise Busy

    monkeypatch.setattr(GitHub, "ask", full)
    assert (await feed.post("/get_feed")).json() == {"feedCount": 5}
    anna = await feed.post("/get_feed", headers={"Authorization": "demo-anna"})
    assert (anna.status_code, anna.json()["reason"]) == (503, "busy")
    monkeypatch.undo()
    anna = await feed.post("/get_feed", headers={"Authorization": "demo-anna"})
    assert anna.status_code == 200  # GitHub is not left alone: it has not failed
