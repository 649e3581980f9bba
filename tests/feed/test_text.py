"""Strange text in every field that takes text: a clear 4xx or a faithful copy, never a 5xx."""

import httpx
from rows import each

PATHS = [
    ("/update_profile", "characterName"),
    ("/change_clothes", "item"),
    ("/change_background", "item"),
]
SQL = ["'; DROP TABLE pets; --", "' OR '1'='1", '"; DELETE FROM pets', "%s", ":name", "\\'"]


@each(
    "json_text",
    [
        r"\u0000",
        r"\ud800",
        "x" * 10_000,
        "\u202e",
        r"\u001b[2J",
        "",
    ],
)
async def test_what_can_not_be_stored_or_shown_is_4xx(
    feed: httpx.AsyncClient, json_text: str
) -> None:
    before = (await feed.get("/home")).json()
    for path, field in PATHS:
        answer = await feed.put(path, content=f'{{"{field}": "{json_text}"}}'.encode())
        assert answer.status_code in (400, 413, 422)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"]
        assert len(answer.content) < 1000  # the text is not sent back
    assert (await feed.get("/home")).json() == before


@each("text", SQL)
async def test_sql_is_only_text(feed: httpx.AsyncClient, text: str) -> None:
    answer = await feed.put("/update_profile", json={"characterName": text})
    assert answer.json() == {"characterName": text}
    assert (await feed.get("/home")).json()["characterName"] == text
    assert (await feed.get("/ranking")).json()[0]["characterName"] == text
    for path in ("/change_clothes", "/change_background"):
        assert (await feed.put(path, json={"item": text})).status_code == 400
    assert (await feed.post("/feed", headers={"Idempotency-Key": "'OR'1'='1"})).status_code == 200
