"""The waiting page in a real browser, from a pool asleep on a cluster."""

import asyncio
from typing import Any

import httpx
import pytest
from e2e.conftest import start_app
from e2e.kit import Kubectl
from pages.kit import DESKTOP, IN_BROWSER
from playwright.async_api import Browser

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300), IN_BROWSER]


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
async def test_a_browser_sees_the_page_and_then_the_app_while_an_api_client_waits(
    platform: Kubectl, browser: Browser, scripts: bool
) -> None:
    name = f"waits{scripts:d}"
    app: Any = await start_app(
        platform, name, wake={"page": "default"}, scaling={"idleAfter": "4s"}
    )
    try:
        await app.asleep()
        context = await browser.new_context(**DESKTOP, java_script_enabled=scripts)
        page = await context.new_page()
        first = await page.goto(f"http://{app.address}/")
        assert first is not None
        assert first.status == 503
        assert first.headers["cache-control"] == "no-store"
        assert await page.inner_text("h1") == "This app is starting"
        async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
            answer = await http.get(f"http://{app.address}/", headers={"Accept": "*/*"})
        assert answer.status_code == 404  # of the app, which has nothing at this path
        await page.get_by_text("This app is starting").wait_for(state="detached", timeout=60_000)
        await context.close()
        await asyncio.wait_for(app.asleep(), 120)  # the page that has gone keeps nothing awake
    finally:
        platform("delete", "warmpool", name)
