import httpx
import pytest
from feed.conftest import Clock

from kotatsu_github_stub.state import State

KEY = {"Idempotency-Key": "5f0c0a3e-7d7f-4a43-9d0e-6a6f6c1f9b11"}


async def test_a_repeated_request_feeds_once_and_gets_the_same_answer(
    feed: httpx.AsyncClient,
) -> None:
    first = await feed.post("/feed", headers=KEY)
    await feed.post("/feed")
    again = await feed.post("/feed", headers=KEY)
    assert again.json() == first.json()
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert (await feed.get("/home")).json()["characterExperience"] == 20


async def test_a_repetition_is_answered_even_when_github_is_down_and_the_day_over(
    feed: httpx.AsyncClient, stub: State, clock: Clock
) -> None:
    first = await feed.post("/feed", headers=KEY)
    clock.forward(hours=20)
    stub.mode = "down"
    assert (await feed.post("/feed", headers=KEY)).json() == first.json()


@pytest.mark.parametrize("key", [b"", b"a b", b"x" * 256, b"caf\xc3\xa9", b"a\x01"])
async def test_a_key_that_can_not_be_stored_is_400_and_feeds_nothing(
    feed: httpx.AsyncClient, key: bytes
) -> None:
    answer = await feed.post("/feed", headers={b"Idempotency-Key": key})  # type: ignore[dict-item]
    assert answer.status_code == 400
    assert (await feed.get("/home")).json()["characterExperience"] == 0
