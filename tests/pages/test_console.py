"""The console in a real browser, over a board that has watched a day."""

from collections.abc import Iterator

import pytest
from pages.kit import DESKTOP, Visit, visiting
from playwright.async_api import Browser

from kotatsu_operator.console.app import create_console
from kotatsu_operator.console.board import Board
from kotatsu_operator.console.server import ConsoleServer
from tests.operator.console.pools import Clock, day, pool, status

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def board() -> Board:
    return day(Clock())


@pytest.fixture
def origin(board: Board, unused_tcp_port: int) -> Iterator[str]:
    server = ConsoleServer(create_console(board, Clock()), "127.0.0.1", unused_tcp_port)
    server.start()
    yield f"http://127.0.0.1:{unused_tcp_port}"
    server.stop()


@pytest.fixture
async def visit(visit: Visit) -> Visit:
    await visit.until("document.querySelectorAll('.card').length === 4")
    return visit


async def test_every_pool_is_shown_and_no_machine_finds_a_fault(visit: Visit) -> None:
    await visit.page.evaluate(
        "document.querySelectorAll('details').forEach((d) => { d.open = true; })"
    )
    assert await visit.accessibility() == []
    device = "phone" if await visit.page.evaluate("innerWidth") < 600 else "desktop"
    await visit.screenshot(f"console-{device}")
    assert await visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_the_sentences_of_the_cluster_are_text_and_never_markup(visit: Visit) -> None:
    assert "<b>lost</b>" in await visit.text("[id='card demo/lost'] .why")


async def test_a_change_is_seen_without_a_reload(board: Board, visit: Visit) -> None:
    board.see(pool("auth", status=status("Warm", 7, reason="Demand")))
    await visit.until("document.getElementById('card demo/auth').textContent.includes('7')")
    assert await visit.page.get_attribute("[id='card demo/auth'] .phase", "data-phase") == "Warm"


async def test_what_a_reader_has_opened_stays_open_as_things_change(
    board: Board, visit: Visit
) -> None:
    await visit.page.click("[id='card demo/voice'] summary")
    board.see(pool("voice", status=status("Asleep")))
    await visit.page.wait_for_selector("[id='card demo/voice'] [data-phase=Asleep]")
    assert await visit.page.is_visible(
        "[id='card demo/voice'] details h3, [id='card demo/voice'] details table"
    )


async def test_a_pool_is_found_by_a_part_of_its_name(visit: Visit) -> None:
    await visit.page.fill("#find", "voi")
    await visit.until("document.querySelectorAll('.card').length === 1")


async def test_the_language_is_the_reader_s_choice(visit: Visit) -> None:
    before = await visit.page.get_attribute("html", "lang")
    await visit.page.click("#language")
    assert {before, await visit.page.get_attribute("html", "lang")} == {"ja", "en"}


async def test_a_hundred_pools_come_page_by_page(
    board: Board, browser: Browser, origin: str
) -> None:
    for n in range(100):
        board.see(pool(f"pool-{n:03}", status=status("Asleep")))
    async with visiting(browser, origin, **DESKTOP) as visit:
        await visit.until("document.querySelectorAll('.card').length === 25")
        await visit.page.click("#more")
        await visit.until("document.querySelectorAll('.card').length === 50")
