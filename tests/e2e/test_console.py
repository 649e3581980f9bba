"""The console of a real operator in a real browser, reached as the tutorial reaches it."""

import asyncio
import re
from collections.abc import Iterator

import httpx
import pytest
from e2e.conftest import PET_SERVICES, cluster_ip, forwarded_console
from e2e.kit import Kubectl
from e2e.patience import patience
from e2e.story import pet_asleep
from pages.kit import DESKTOP, IN_BROWSER, Visit, visiting

pytestmark = [pytest.mark.e2e, pytest.mark.nightly, IN_BROWSER]


@pytest.fixture(scope="module")
def origin(home: Kubectl) -> Iterator[str]:
    """Where the console is while kubectl forwards a port to it."""
    with forwarded_console(home) as address:
        yield address


def card(name: str) -> str:
    return f"#pools [id$='/{name}']"


async def phase(visit: Visit, name: str, wanted: str) -> None:
    """Wait until a card says so."""
    await visit.page.wait_for_selector(
        f"{card(name)} .phase[data-phase={wanted}]", timeout=1000 * patience()
    )


async def test_a_pool_is_seen_waking_without_a_reload_and_its_wake_is_told(pet, origin, browser):
    await pet_asleep(pet)
    async with visiting(browser, origin, **DESKTOP) as visit:
        for name in PET_SERVICES:
            await phase(visit, name, "Asleep")
        wakes = f"{card('voice')} .timeline .wake"
        before = await visit.page.locator(wakes).count()
        await visit.page.evaluate("globalThis.loaded = 'once'")
        seen = asyncio.create_task(phase(visit, "voice", "Warm"))
        async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
            base = f"http://{cluster_ip(pet, 'gateway')}"
            assert (await http.post(f"{base}/voice", json={"text": "はい"})).status_code == 200
        await seen
        await visit.until(f'document.querySelectorAll("{wakes}").length === {before + 1}')
        assert re.search(r"\d s", await visit.text(f"{card('voice')} .facts"))
        # As one bar with what was ready a moment ago, so they are not counted.
        await visit.page.wait_for_selector(f"{card('voice')} .timeline .ready", state="attached")
        await phase(visit, "voice", "Asleep")
        assert await visit.page.evaluate("globalThis.loaded") == "once"
