"""The waiting page in a real browser, from a pool asleep on a cluster."""

from typing import Any

import httpx
import pytest
from e2e.conftest import start_app
from e2e.kit import Kubectl
from e2e.patience import patience
from pages.kit import DESKTOP, IN_BROWSER
from playwright.async_api import Browser

pytestmark = [pytest.mark.e2e, pytest.mark.nightly, IN_BROWSER]


async def test_a_browser_sees_the_page_and_then_the_app_while_an_api_client_waits(
    platform: Kubectl, browser: Browser
) -> None:
    app: Any = await start_app(platform, "waits", waitingPage=True, idleAfter="4s")
    try:
        await app.asleep()
        context = await browser.new_context(**DESKTOP)
        page = await context.new_page()
        first = await page.goto(f"http://{app.address}/")
        assert first is not None
        assert first.status == 503
        assert first.headers["cache-control"] == "no-store"
        assert await page.inner_text("h1") == "This app is starting"
        async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
            answer = await http.get(f"http://{app.address}/", headers={"Accept": "*/*"})
        assert answer.status_code == 404  # of the app, which has nothing at this path
        await page.get_by_text("This app is starting").wait_for(
            state="detached", timeout=1000 * patience()
        )
        await context.close()
        await app.asleep()  # the page that has gone keeps nothing awake
    finally:
        platform("delete", "warmpool,deployment,service", app.name, "--wait=false")
