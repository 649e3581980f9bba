"""The waiting page in a real browser, through an activator whose pods the test starts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from pages.kit import DESKTOP, EACH_LOOK, IN_BROWSER, LOOKS, Visit
from playwright.async_api import Browser

from kotatsu_operator.features.waiting_page.page import PATIENCE, Visitors
from tests.operator.activator.in_process import ActivatorFixture, Pod, pool
from tests.operator.cluster import pod

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), IN_BROWSER]

OWN_503 = "the server responded with a status of 503"
"""What Chromium writes to its console about the page itself."""


@pytest_asyncio.fixture(loop_scope="session")
async def activator() -> AsyncIterator[Any]:
    """A sleeping pool with a waiting page, of which the last wake took 12 s."""
    activator: Any = ActivatorFixture(features=[Visitors])
    await activator.start()
    shown = pool(waitingPage=True)
    shown["status"]["lastWake"] = {"at": "2026-11-25T10:00:00Z", "duration": "12s"}
    activator.see("WarmPool", shown)
    yield activator
    await activator.close()


@asynccontextmanager
async def visiting(browser: Browser, activator: Any, **device: Any) -> AsyncIterator[Visit]:
    """A visitor of the sleeping app; nothing but its 503 may be an error."""
    context = await browser.new_context(**device)
    visit = Visit(await context.new_page(), f"http://127.0.0.1:{activator.port}")
    visit.watch()
    await visit.page.goto(f"{visit.origin}/rooms?day=1")
    try:
        yield visit
    finally:
        await context.close()
    assert [error for error in visit.errors if OWN_503 not in error] == []
    assert visit.outside == []


async def goes_on(visit: Visit) -> None:
    """Wait until the app is shown, at the address that was asked for."""
    await visit.page.get_by_text("voice-1").wait_for(timeout=30_000)
    assert visit.page.url == f"{visit.origin}/rooms?day=1"


@EACH_LOOK
async def test_no_machine_finds_a_fault_in_any_language_size_or_color(
    browser: Browser, activator: Any, look: str
) -> None:
    async with visiting(browser, activator, **LOOKS[look]) as visit:
        title = "アプリを起動しています" if "-ja-" in look else "This app is starting"
        assert await visit.text("h1") == title
        assert "12" in await visit.text("#usual")
        await visit.screenshot(f"waiting-{look}")
        assert await visit.accessibility() == []
        assert await visit.crowded("h1, p, progress") == []


async def test_it_follows_the_start_and_goes_on_to_the_app_by_itself(
    browser: Browser, activator: Any
) -> None:
    async with visiting(browser, activator, **DESKTOP) as visit:
        said = visit.page.get_by_role("status")
        assert await said.inner_text() == "Finding a machine"
        activator.see("Pod", pod(phase="Pending", ip=""))
        await visit.until("document.getElementById('said').textContent === 'Loading the app'")
        await activator.new_pod(ready=True)
        await goes_on(visit)


async def test_a_tab_that_has_waited_for_too_long_stops_whichever_activator_it_asks(
    browser: Browser, activator: Any
) -> None:
    """The cookie is all that an activator knows of a tab that has asked another one so far."""
    async with visiting(browser, activator, **DESKTOP) as visit:
        [cookie] = await visit.page.context.cookies()
        assert cookie["httpOnly"]
        since = str(int(cookie["value"]) - PATIENCE)
        await visit.page.context.add_cookies(
            [{"name": cookie["name"], "value": since, "domain": cookie["domain"], "path": "/"}]
        )
        await visit.until("document.body.dataset.state === 'over'")
        assert await visit.text("#said") == "The app has not started yet."


async def test_without_scripts_it_goes_on_too(browser: Browser, activator: Any) -> None:
    look = DESKTOP | {"java_script_enabled": False}
    async with visiting(browser, activator, **look) as visit:
        assert await visit.text("#said") == "Finding a machine"
        await activator.new_pod(ready=True)
        await goes_on(visit)


async def test_it_goes_on_when_the_activator_has_left_and_the_pod_answers_in_its_place(
    browser: Browser, activator: Any
) -> None:
    async with visiting(browser, activator, **DESKTOP) as visit:
        activator.server.close()
        await activator.server.wait_closed()
        made = Pod("voice-1")
        activator.pods.append(made)
        await made.start(activator.port)
        await goes_on(visit)
        # In between nobody answers, and the browser writes that to its console.
        visit.errors[:] = [error for error in visit.errors if "ERR_CONNECTION" not in error]
