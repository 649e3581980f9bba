"""The browser of the pages' tests."""

import pytest
from pages import kit


async def test_where_there_is_no_browser_nothing_of_playwright_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def started() -> None:
        pytest.fail("Playwright has started")

    def refuse(*_: str) -> None:
        raise kit.CannotInstallError("only root on Debian can install it")

    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(kit, "install", refuse)
    monkeypatch.setattr(kit, "async_playwright", started)
    with pytest.raises(kit.NoBrowserError, match="only root on Debian"):
        async with kit.launched():
            pass
