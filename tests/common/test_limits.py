"""How many requests may be under way."""

import asyncio
from typing import Any

import httpx

from kotatsu_common.limits import RequestLimit


async def test_a_request_beyond_the_limit_is_503_until_one_ends() -> None:
    may_end = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            await may_end.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    transport = httpx.ASGITransport(RequestLimit(app, most=1))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        slow = asyncio.create_task(http.get("/slow"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        refused = await http.get("/")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert refused.json()["title"] == "Too busy"
        assert (await http.get("/livez")).status_code == 200
        may_end.set()
        assert (await slow).status_code == 200
        assert (await http.get("/")).status_code == 200
