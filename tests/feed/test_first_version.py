"""The first version's bugs, each of which must never come back."""

import asyncio

import httpx

from kotatsu_github_stub.state import State


async def test_a_later_login_does_not_reset_the_pet(feed: httpx.AsyncClient) -> None:
    await feed.post("/feed")
    await feed.put("/update_profile", json={"characterName": "Tori"})
    await feed.put("/change_clothes", json={"item": "冬"})
    before = (await feed.get("/home")).json()
    again = {"Authorization": "Bearer demo"}  # a new login is a verified token, seen again
    assert (await feed.get("/home", headers=again)).json() == before
    assert before["characterExperience"] == 10
    assert (before["characterName"], before["characterClothes"]) == ("Tori", "winter")


async def test_what_was_fed_is_subtracted_once(feed: httpx.AsyncClient) -> None:
    for left in (4, 3, 2):
        assert (await feed.post("/feed")).json()["feedCount"] == left
        assert (await feed.post("/get_feed")).json()["feedCount"] == left
        assert (await feed.get("/home")).json()["feedCount"] == left


async def test_two_parallel_requests_do_not_eat_the_same_food(
    feed: httpx.AsyncClient, stub: State
) -> None:
    stub.contributions["demo"] = 1
    answers = await asyncio.gather(feed.post("/feed"), feed.post("/feed"))
    assert sorted(answer.status_code for answer in answers) == [200, 400]
    assert (await feed.get("/home")).json()["characterExperience"] == 10


async def test_an_outage_of_github_s_denies_nobody_who_is_known(
    feed: httpx.AsyncClient, stub: State
) -> None:
    await feed.post("/get_feed")
    stub.mode = "down"
    for path in ("/home", "/ranking"):
        assert (await feed.get(path)).status_code == 200
    assert (await feed.post("/feed")).status_code == 200
