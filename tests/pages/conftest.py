from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pages.kit import DESKTOP, PHONE, Visit, browser, visiting
from playwright.async_api import Browser

__all__ = ["browser"]


@pytest_asyncio.fixture(
    params=[
        pytest.param(PHONE, id="phone"),
        pytest.param(DESKTOP, id="desktop", marks=pytest.mark.nightly),
    ],
    loop_scope="session",
)
async def visit(
    request: pytest.FixtureRequest,
    browser: Browser,
    origin: str,
) -> AsyncIterator[Visit]:
    """A visitor of the page at `origin` with a phone; at night also with a desktop."""
    async with visiting(browser, origin, **request.param) as visit:
        yield visit
