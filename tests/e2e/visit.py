"""A whole visit of the pet's client."""

import asyncio
import base64
from typing import Any

import httpx


async def play(base: str, token: str) -> None:
    """What the client does, in its order, with the labels and headers it really sends."""
    bare = {"Authorization": token}
    async with httpx.AsyncClient(base_url=base, timeout=120, trust_env=False) as http:

        async def call(method: str, path: str, **more: Any) -> httpx.Response:
            answer = await http.request(method, path, headers=bare, **more)
            assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
            return answer

        for _ in range(5):
            login = await http.get("/token", params={"code": "demo"})
            if login.status_code != 503:
                break
            # A GitHub that is slow, as on a busy machine: the answer says to try again.
            await asyncio.sleep(int(login.headers.get("Retry-After", "1")))
        assert login.status_code == 200, login.text
        assert login.json()["access_token"]
        home = (await call("GET", "/home")).json()
        food = (await call("POST", "/get_feed")).json()["feedCount"]
        assert food > 0
        fed = (await call("POST", "/feed")).json()
        assert fed["characterExperience"] - home["characterExperience"] == 10
        assert fed["feedCount"] == food - 1
        while fed["characterLevel"] == home["characterLevel"] and fed["feedCount"] > 0:
            fed = (await call("POST", "/feed")).json()
        assert fed["characterLevel"] > home["characterLevel"]
        ranking = (await call("GET", "/ranking")).json()
        assert any(p["userName"] == home["userName"] for p in ranking)
        await call("PUT", "/change_clothes", json={"item": "冬"})
        await call("PUT", "/change_background", json={"item": "夏"})
        dressed = (await call("GET", "/home")).json()
        assert (dressed["characterClothes"], dressed["characterBackground"]) == ("winter", "summer")

        raw = await http.post("/voice", json={"text": "おなかがすいたよ"})
        form = await http.post("/voice", data={"text": "おなかがすいたよ"})
        assert raw.headers["content-type"] == "audio/mpeg"
        assert base64.b64decode(form.text) == raw.content
        talk = (await call("POST", "/talk", json={"message": "げんき？"})).json()
        assert talk["text"]
        assert len(base64.b64decode(talk["audio"])) > 1000
