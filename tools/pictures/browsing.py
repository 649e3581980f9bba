"""The pictures of our pages: a real browser, and the apps that serve them, without a cluster.

The waiting page comes from an activator whose pod has not started. The pet is the whole app in one
process.
"""

import asyncio
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from shutil import which
from typing import Any

from packages import install
from pages.kit import PHONE, Visit, launched, visiting
from playwright.async_api import Browser
from serving import serving

from kotatsu_local.app import create_app
from kotatsu_local.settings import LocalSettings
from kotatsu_node.ports import free_ports
from kotatsu_operator.features.waiting_page.page import Visitors
from tests.operator.activator.in_process import ActivatorFixture, pool
from tests.operator.cluster import pod

HAND = PHONE | {
    "locale": "en-GB",
    "color_scheme": "light",
    "viewport": {"width": 390, "height": 564},
}

Shooting = Callable[[Browser], AbstractAsyncContextManager[Visit]]


@asynccontextmanager
async def waiting_page(browser: Browser) -> AsyncIterator[Visit]:
    """The waiting page of a pod that is loading its image."""
    activator: Any = ActivatorFixture(features=[Visitors])
    await activator.start()
    shown = pool(waitingPage=True)
    shown["status"]["lastWake"] = {"at": "2026-11-25T08:12:00Z", "duration": "12s"}
    activator.see("WarmPool", shown)
    context = await browser.new_context(**HAND)
    try:
        visit = Visit(await context.new_page(), f"http://127.0.0.1:{activator.port}")
        await visit.page.goto(f"{visit.origin}/")
        activator.see("Pod", pod(phase="Pending", ip=""))
        await visit.until("document.getElementById('said').textContent === 'Loading the app'")
        yield visit
    finally:
        await context.close()
        await activator.close()


@asynccontextmanager
async def pet(browser: Browser) -> AsyncIterator[Visit]:
    """The pet after a meal, in the clothes and the season that a guest has chosen."""
    with _pet_app() as origin:
        async with visiting(browser, origin, **HAND) as visit:
            await visit.page.click("#demo")
            await visit.page.wait_for_selector("#room:not([hidden])")
            await visit.until("document.querySelector('#ranking').children.length > 0")
            await visit.page.click("#feed")
            eaten = "document.querySelector('#experience-text').textContent.startsWith('1')"
            await visit.until(eaten)
            await visit.page.reload()  # takes away what it said to the meal
            await visit.page.wait_for_selector("#scene svg")
            yield visit


@contextmanager
def _pet_app() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        [port] = free_ports(1)
        settings = LocalSettings(local_folder=folder, port=port)
        with serving(create_app(settings, {}), port) as origin:
            yield origin


PAGES: dict[str, Shooting] = {"waiting-page.png": waiting_page, "pet.png": pet}


def take(name: str, path: Path) -> None:
    """Take a picture of a page."""

    async def shot() -> None:
        async with launched() as browser, PAGES[name](browser) as visit:
            await save(visit, path)

    asyncio.run(shot())
    squeeze(path)


async def save(visit: Visit, path: Path, *, is_whole: bool = False) -> None:
    """Save what a page shows."""
    await visit.page.evaluate("document.fonts.ready")
    await visit.page.screenshot(path=path, full_page=is_whole, animations="disabled")


def squeeze(path: Path) -> None:
    """Leave a picture at most 256 colors: a third of the size."""
    if which("pngquant") is None:
        install("pngquant")
    said = ("--force", "--strip", "--speed=1", "--output", str(path))
    subprocess.run(["pngquant", *said, str(path)], check=True)
