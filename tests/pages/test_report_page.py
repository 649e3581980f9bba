"""The HTML report in a real browser, in both sizes and colour schemes."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from pages.kit import DEVICES, IN_BROWSER, visiting
from playwright.async_api import Browser
from plugin.evenings import evening, said
from plugin.kit import manifest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), IN_BROWSER]


@pytest.fixture
def origin() -> Iterator[str]:
    pools = [evening(), manifest("asleep")]
    words = ("report", "--all", "--from", "2026-11-24T17:00", "-o", "html")
    page = said(*words, pools=pools).out.encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", list(DEVICES))
async def test_no_machine_finds_a_fault_in_the_report(
    origin: str, browser: Browser, device: str, scheme: str
) -> None:
    look = {**DEVICES[device], "locale": "en-GB", "color_scheme": scheme}
    async with visiting(browser, origin, **look) as visit:
        await visit.screenshot(f"report-{device}-{scheme}")
        assert await visit.accessibility() == []
        # On a phone, picture and table scroll sideways, and the page does not.
        assert await visit.crowded("h1, h2, dt, dd") == []
        if device == "desktop":
            assert await visit.crowded("svg text") == []
        assert await visit.page.evaluate("document.scripts.length") == 0
