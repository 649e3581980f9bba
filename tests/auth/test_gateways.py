"""auth as forward-auth: each gateway asks in its own way."""

import httpx
from rows import each

TOKEN = {"Authorization": "Bearer demo"}


@each("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "PROPFIND"])
async def test_any_method_is_answered_in_the_same_way(auth: httpx.AsyncClient, method: str) -> None:
    for path in ("/authorize", "/authorize/", "/authorize/feed/x?y=1"):
        good = await auth.request(method, path, headers=TOKEN)
        bad = await auth.request(method, path)
        assert (good.status_code, bad.status_code) == (200, 401)
        assert good.headers["x-user-login"] == "demo"


async def test_nginx_asks_with_get_no_body_and_the_original_uri(auth: httpx.AsyncClient) -> None:
    headers = {**TOKEN, "X-Original-URI": "/feed", "Content-Length": "0"}
    assert (await auth.get("/authorize", headers=headers)).status_code == 200


async def test_traefik_asks_with_get_and_the_original_request_in_headers(
    auth: httpx.AsyncClient,
) -> None:
    headers = {**TOKEN, "X-Forwarded-Method": "PUT", "X-Forwarded-Uri": "/change_clothes"}
    assert (await auth.get("/authorize", headers=headers)).status_code == 200


async def test_envoy_asks_with_the_original_method_and_its_path_appended(
    auth: httpx.AsyncClient,
) -> None:
    answer = await auth.post("/authorize/feed", headers={**TOKEN, "Content-Length": "0"})
    assert answer.status_code == 200


async def test_a_browser_s_preflight_needs_no_token(auth: httpx.AsyncClient) -> None:
    headers = {
        "Origin": "https://pet.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    answer = await auth.options("/authorize/feed", headers=headers)
    assert answer.status_code == 200
    assert "authorization" in answer.headers["access-control-allow-headers"].lower()
