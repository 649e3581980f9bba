"""A real browser, and what is asked of every page of ours."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import needs
import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from packages import CannotInstallError, install
from playwright.async_api import Browser, Page, async_playwright

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "has_touch": True,
    "color_scheme": "dark",
    "locale": "ja-JP",
}
DESKTOP: dict[str, Any] = {
    "viewport": {"width": 1200, "height": 900},
    "color_scheme": "light",
    "locale": "en-GB",
}
DEVICES = {"phone": PHONE, "desktop": DESKTOP}
LOOKS: dict[str, dict[str, Any]] = {
    f"{device}-{locale[:2]}-{scheme}": {**DEVICES[device], "locale": locale, "color_scheme": scheme}
    for device in DEVICES
    for locale in ("ja-JP", "en-GB")
    for scheme in ("light", "dark")
}
"""Both sizes in both languages and both color schemes."""

_EVERY_PAIR = ("phone-ja-light", "phone-en-dark", "desktop-ja-dark", "desktop-en-light")
EACH_LOOK = pytest.mark.parametrize(
    "look", [pytest.param(x, marks=[] if x in _EVERY_PAIR else pytest.mark.nightly) for x in LOOKS]
)
"""Every pair of size, language and color scheme; at night also all three together."""


class NoBrowserError(Exception):
    """There is no Chromium to be had here; the text says why."""


def chromium() -> str:
    """Path of a Chromium; Debian's is installed where that is possible."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        try:
            install("chromium", "fonts-noto-cjk")
        except CannotInstallError as error:
            raise NoBrowserError(f"no chromium here, and {error}") from None
        found = shutil.which("chromium")
    if found is None:
        raise NoBrowserError("the chromium package brought no chromium")
    return found


@asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    """Run a browser for the length of the block."""
    # Chromium's own sandbox refuses root; the pages are ours.
    flags = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
    # Before Playwright's Node.js: that needs a library which a machine without a browser may lack.
    found = chromium()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=flags)
        try:
            yield browser
        finally:
            await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A browser for all tests that are marked IN_BROWSER; skips where there is none to be had."""
    try:
        async with launched() as made:
            yield made
    except NoBrowserError as error:
        needs.missing("a browser", str(error))


IN_BROWSER = pytest.mark.asyncio(loop_scope="session")
"""For each test with the browser: it lives in the event loop of the session."""

_CROWDED = """(selector) => {
  const found = [];
  const boxes = new Map();
  for (const element of document.querySelectorAll(selector)) {
    const box = element.getBoundingClientRect();
    const group = element.ownerSVGElement ?? element.parentElement;
    for (const [other, text] of boxes.get(group) ?? []) {
      if (box.left < other.right - 1 && box.right > other.left + 1
          && box.top < other.bottom - 1 && box.bottom > other.top + 1) {
        found.push(`${element.textContent} over ${text}`);
      }
    }
    boxes.set(group, [...(boxes.get(group) ?? []), [box, element.textContent]]);
    if (box.left < 0 || box.right > innerWidth) found.push(`${element.textContent} is cut off`);
  }
  if (document.documentElement.scrollWidth > innerWidth) found.push("the page scrolls sideways");
  return found;
}"""


@dataclass
class Visit:
    """A page in a browser, with all that must not happen on it."""

    page: Page
    origin: str
    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Write down console errors and requests to anywhere else."""
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console",
            lambda said: self.errors.append(said.text) if said.type == "error" else None,
        )
        own = (f"{self.origin}/", "blob:", "data:")
        self.page.on(
            "request",
            lambda asked: None if asked.url.startswith(own) else self.outside.append(asked.url),
        )

    async def text(self, selector: str) -> str:
        """Visible text of an element."""
        return await self.page.inner_text(selector)

    async def until(self, condition: str, seconds: float = 60) -> None:
        """Wait until a JavaScript expression holds."""
        await self.page.wait_for_function(f"() => {condition}", timeout=seconds * 1000)

    async def accessibility(self) -> list[str]:
        """What axe finds wrong, one line each."""
        # Injected by the debugger's own way, which the page's Content-Security-Policy allows.
        results = await Axe().run(cast(Any, self.page))
        return [
            f"{found['id']}: {found['help']} at {found['nodes'][0]['target']}"
            for found in results.response["violations"]
        ]

    async def crowded(self, selector: str) -> list[str]:
        """Texts among the elements that lie over each other, and elements that are cut off."""
        found: list[str] = await self.page.evaluate(_CROWDED, selector)
        return found

    async def screenshot(self, name: str) -> None:
        """Keep a picture of the whole page under build/screenshots."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


@asynccontextmanager
async def visiting(browser: Browser, origin: str, **device: Any) -> AsyncIterator[Visit]:
    """A fresh visitor; afterwards nothing may have gone wrong on the page."""
    context = await browser.new_context(**device)
    visit = Visit(await context.new_page(), origin)
    visit.watch()
    await visit.page.goto(f"{origin}/")
    try:
        yield visit
    finally:
        await context.close()
    assert visit.errors == []
    assert visit.outside == []
