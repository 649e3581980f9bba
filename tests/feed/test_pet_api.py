"""The wire format that the existing client depends on, on both databases."""

import httpx
import pytest
from feed.conftest import Clock

from kotatsu_github_stub.state import State


async def test_home_shows_a_new_pet_to_whoever_was_never_here(feed: httpx.AsyncClient) -> None:
    answer = await feed.get("/home")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "userName": "demo",
        "avatarUrl": "https://avatars.example/demo.svg",
        "characterName": "DASH",
        "characterLevel": 1,
        "characterExperience": 0,
        "characterClothes": "normal",
        "characterBackground": "spring",
        "feedCount": 0,
    }
    numbers = ("characterLevel", "characterExperience", "feedCount")
    assert all(type(answer.json()[name]) is int for name in numbers)


async def test_get_feed_tells_today_s_contributions_to_dart(feed: httpx.AsyncClient) -> None:
    answer = await feed.post("/get_feed")
    assert (answer.status_code, answer.json()) == (200, {"feedCount": 5})


async def test_home_remembers_the_food_that_was_last_heard_of(feed: httpx.AsyncClient) -> None:
    await feed.post("/get_feed")
    await feed.post("/feed")
    assert (await feed.get("/home")).json()["feedCount"] == 4


async def test_feeding_answers_with_the_new_totals(feed: httpx.AsyncClient) -> None:
    answers = [(await feed.post("/feed")).json() for _ in range(2)]
    assert answers == [
        {
            "currentExperience": 10,
            "characterExperience": 10,
            "characterLevel": 1,
            "feedCount": 4,
        },
        {
            "currentExperience": 20,
            "characterExperience": 20,
            "characterLevel": 2,
            "feedCount": 3,
        },
    ]


async def test_the_sixth_of_five_meals_is_400_and_changes_nothing(feed: httpx.AsyncClient) -> None:
    statuses = [(await feed.post("/feed")).status_code for _ in range(6)]
    assert statuses == [200] * 5 + [400]
    home = (await feed.get("/home")).json()
    assert (home["characterExperience"], home["feedCount"]) == (50, 0)


async def test_a_new_day_in_tokyo_brings_new_food(
    feed: httpx.AsyncClient, clock: Clock, stub: State
) -> None:
    for _ in range(5):
        await feed.post("/feed")
    clock.forward(hours=2, minutes=59)
    assert (await feed.post("/get_feed")).json() == {"feedCount": 0}
    clock.forward(minutes=1)  # 15:00 UTC
    assert (await feed.get("/home")).json()["feedCount"] == 0
    assert (await feed.post("/get_feed")).json() == {"feedCount": 5}


async def test_the_ranking_is_a_bare_list_best_first(feed: httpx.AsyncClient) -> None:
    for login, meals in (("anna", 2), ("ben", 3), ("cleo", 2), ("dora", 0)):
        headers = {"Authorization": f"demo-{login}"}
        await feed.get("/home", headers=headers)
        for _ in range(meals):
            await feed.post("/feed", headers=headers)
    ranking = (await feed.get("/ranking")).json()
    assert ranking[0]["userName"] == "ben"
    assert {pet["userName"] for pet in ranking[1:3]} == {"anna", "cleo"}
    assert {pet["userName"] for pet in ranking[3:]} == {"dora", "demo"}
    assert ranking[0] == {
        "userName": "ben",
        "avatarUrl": "https://avatars.example/ben.svg",
        "characterName": "DASH",
        "characterLevel": 2,
        "characterClothes": "normal",
        "characterBackground": "spring",
    }
    assert (await feed.get("/ranking")).json() == ranking  # equals never change places


async def test_the_pet_can_be_named(feed: httpx.AsyncClient) -> None:
    answer = await feed.put("/update_profile", json={"characterName": " ピヨ "})
    assert (answer.status_code, answer.json()) == (200, {"characterName": "ピヨ"})
    assert (await feed.get("/home")).json()["characterName"] == "ピヨ"


@pytest.mark.parametrize(
    ("path", "field"),
    [("/change_clothes", "characterClothes"), ("/change_background", "characterBackground")],
)
async def test_an_item_is_chosen_by_its_label_or_its_key_and_stored_in_english(
    feed: httpx.AsyncClient, path: str, field: str
) -> None:
    for label, key in (("春", "spring"), ("夏", "summer"), ("秋", "autumn"), ("冬", "winter")):
        for choice in (label, key):
            answer = await feed.put(path, json={"item": choice})
            assert (answer.status_code, answer.json()) == (200, {"item": key})
            assert (await feed.get("/home")).json()[field] == key


async def test_nothing_is_shown_without_a_good_token(feed: httpx.AsyncClient) -> None:
    body = {"item": "spring", "characterName": "x"}
    claim = {"Authorization": "nobody", "X-User-Id": "1", "X-User-Login": "demo"}
    for method, path in (
        ("GET", "/home"),
        ("POST", "/get_feed"),
        ("POST", "/feed"),
        ("GET", "/ranking"),
        ("PUT", "/update_profile"),
        ("PUT", "/change_clothes"),
        ("PUT", "/change_background"),
    ):
        answer = await feed.request(method, path, json=body, headers=claim)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
