from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pages.kit import DEVICES, Visit, browser, visiting
from playwright.async_api import Browser

__all__ = ["browser"]


@pytest_asyncio.fixture(params=list(DEVICES), loop_scope="session")
async def visit(
    request: pytest.FixtureRequest,
    browser: Browser,
    origin: str,
) -> AsyncIterator[Visit]:
    """A visitor of the page at `origin`, on each device."""
    async with visiting(browser, origin, **DEVICES[request.param]) as visit:
        yield visit
