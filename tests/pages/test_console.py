"""The console in a real browser, over a board that has watched a day."""

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta

import pytest
import pytest_asyncio
from pages.kit import DESKTOP, DEVICES, EACH_LOOK, IN_BROWSER, LOOKS, PHONE, Visit, visiting
from playwright.async_api import Browser, Route

from kotatsu_node.ports import free_ports
from kotatsu_operator.core.calendar.wallclock import zones
from kotatsu_operator.features.console.app import ConsoleServer, create_console
from kotatsu_operator.features.console.board import Board
from tests.operator.features.console.pools import NAMES, NOW, Clock, day, pool, status

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), IN_BROWSER]

Serve = Callable[[Board], ConsoleServer]

_WITHOUT_TOKYO = """
const format = Intl.DateTimeFormat;
Intl.DateTimeFormat = new Proxy(format, { construct(made, [locale, options]) {
  if (options?.timeZone === "Asia/Tokyo") throw new RangeError("Invalid time zone");
  return new format(locale, options);
} });
"""


@pytest.fixture
def origin() -> str:
    return f"http://127.0.0.1:{free_ports(1)[0]}"


@pytest.fixture
def serve(origin: str) -> Iterator[Serve]:
    started = []

    def start(board: Board) -> ConsoleServer:
        app = create_console(board, Clock())
        server = ConsoleServer(app, "127.0.0.1", int(origin.rpartition(":")[2]))
        server.start()
        started.append(server)
        while not server._server.started:
            time.sleep(0.01)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def board(serve: Serve) -> Board:
    board = day(Clock())
    serve(board)
    return board


@pytest_asyncio.fixture(loop_scope="session")
async def visit(board: Board, browser: Browser, origin: str) -> AsyncIterator[Visit]:
    async with visiting(browser, origin, **DESKTOP) as visit:
        await cards(visit, len(NAMES))
        yield visit


async def cards(visit: Visit, number: int) -> None:
    await visit.until(f"document.querySelectorAll('#pools > .card').length === {number}")


def card(name: str) -> str:
    return f"[id='card demo/{name}']"


async def open_details(visit: Visit) -> None:
    await visit.page.evaluate(
        "document.querySelectorAll('details').forEach((d) => { d.open = true; })"
    )


@EACH_LOOK
async def test_no_machine_finds_a_fault_in_any_language_size_or_color(
    board: Board, browser: Browser, origin: str, look: str
) -> None:
    async with visiting(browser, origin, **LOOKS[look]) as visit:
        await cards(visit, len(NAMES))
        await visit.screenshot(f"console-{look}")
        await open_details(visit)
        await visit.screenshot(f"console-details-{look}")
        assert await visit.accessibility() == []
        assert await visit.crowded(".timeline text, h2, .phase, dd, .tile") == []


@pytest.mark.parametrize("look", ["phone-ja-dark", "desktop-en-light"])
async def test_without_a_pool_it_says_what_to_do_next(
    serve: Serve, browser: Browser, origin: str, look: str
) -> None:
    serve(Board(Clock()))
    async with visiting(browser, origin, **LOOKS[look]) as visit:
        await visit.page.wait_for_selector("#empty:not([hidden])")
        assert "WarmPool" in await visit.text("#empty-text")
        assert "kubectl apply -n default" in await visit.text("#example")
        assert not await visit.page.is_visible("#controls")
        assert await visit.accessibility() == []
        await visit.screenshot(f"console-empty-{look}")


async def test_one_pool_needs_no_search(serve: Serve, browser: Browser, origin: str) -> None:
    board = Board(Clock())
    board.see(pool("voice", status=status("Asleep")))
    serve(board)
    async with visiting(browser, origin, **PHONE) as visit:
        await cards(visit, 1)
        assert not await visit.page.is_visible("#find")


async def test_cards_and_the_figures_on_top_say_what_is_known_of_each_pool(visit: Visit) -> None:
    overview = await visit.text("#overview")
    for figure in ("3", "5", "12.9", "1 waits for a pod"):
        assert figure in overview
    facts = await visit.text(f"{card('voice')} .facts")
    for said in ("5 of 5", "14 s early", "final-pitch closes in", "¥", "forecast", "1 held"):
        assert said in facts, said
    share = await visit.page.get_attribute(f"{card('voice')} meter", "value")
    assert float(share or 0) > 0
    timeline = f"{card('voice')} .timeline"
    for sign, number in ((".window", 2), (".sign.punctual", 1), (".wake", 1)):
        assert await visit.page.locator(f"{timeline} {sign}").count() == number
    why = await visit.text(f"{card('feed')} .why")
    assert "An override by alice keeps it warm until" in why
    assert "judges came back" in why
    # Sentences of the cluster are text and never markup.
    assert "<b>lost</b>" in await visit.text(f"{card('lost')} .why")
    await open_details(visit)
    report = await visit.text(f"{card('voice')} .report")
    for words in ("override sound check <b>now</b>", "2500.000000 JPY", "as in the ledger", "runs"):
        assert words in report
    details = await visit.text(f"{card('voice')} .details")
    assert "WindowReady" in details
    assert "waiting" in details


async def test_a_pod_that_cannot_start_is_shown_with_its_own_words(
    board: Board, visit: Visit
) -> None:
    words = "pod feed-1 cannot start: container app: ErrImagePull (<b>not found</b>)"
    ready = {"type": "Ready", "status": "False", "reason": "PodsCannotStart", "message": words}
    board.see(pool("feed", status=status("Warming", 0, 3, conditions=[ready])))
    await visit.page.wait_for_selector(f"{card('feed')} .wrong li")
    assert words in await visit.text(f"{card('feed')} .wrong")


async def test_a_pool_that_is_gone_goes(board: Board, visit: Visit) -> None:
    board.observe(("demo", "voice"), None)
    await cards(visit, len(NAMES) - 1)
    assert await visit.page.locator(card("voice")).count() == 0


async def test_what_needs_attention_is_found_with_one_click(visit: Visit) -> None:
    await visit.page.click("button[value=attention]")
    await cards(visit, 2)
    assert await visit.page.locator(f"{card('gallery')} .wrong li").count() == 3
    await visit.page.click("button[value=asleep]")
    await cards(visit, 1)
    await visit.page.click("button[value=all]")
    await cards(visit, len(NAMES))


async def test_a_pool_with_nonsense_in_it_hides_no_other(
    serve: Serve, browser: Browser, origin: str
) -> None:
    board = day(Clock())
    board.see(pool("typo", status=status("Asleep"), timeZone="Asia/Tokio"))
    board.see(pool("local", status=status("Asleep"), timeZone="localtime"))
    edits = {
        "phase": "constructor",
        "reason": "suspended",
        "phaseSince": "soon",
        "nextTransition": {"at": "0000-00-00", "window": "w", "kind": "explode"},
        "lastOpening": {"window": "w", "at": "2026-11-25T09:00:00Z", "early": "a while"},
        "lastWake": {"at": "2026-11-25T09:00:00Z"},
        "cost": {"currency": "beads", "accrued": "12", "limit": "many"},
    }
    board.see(pool("edited", status=status("Warm", 2**62) | edits))
    serve(board)
    async with visiting(browser, origin, **DESKTOP) as visit:
        await cards(visit, len(NAMES) + 3)
        for name in ("typo", "local"):
            assert "is not an IANA time zone" in await visit.text(f"{card(name)} .why")
            assert await visit.text(f"{card(name)} .place") == "demo · UTC"
        assert "12" in await visit.text(f"{card('edited')} .facts")
        assert "alice" in await visit.text(f"{card('feed')} .why")
        await visit.screenshot("console-nonsense")


async def test_a_zone_that_only_the_browser_lacks_is_shown_in_utc_and_named(
    board: Board, browser: Browser, origin: str
) -> None:
    board.see(pool("future", status=status("Asleep"), timeZone="Asia/Tokyo"))
    context = await browser.new_context(**DESKTOP)
    await context.add_init_script(_WITHOUT_TOKYO)
    visit = Visit(await context.new_page(), origin)
    visit.watch()
    await visit.page.goto(f"{origin}/")
    await cards(visit, len(NAMES) + 1)
    place = await visit.text(f"{card('future')} .place")
    assert "Asia/Tokyo (not known to this browser: times in UTC)" in place
    assert visit.errors == []
    await context.close()


async def test_a_pool_that_the_page_cannot_draw_says_so_in_its_own_card(
    board: Board, browser: Browser, origin: str
) -> None:
    context = await browser.new_context(**DESKTOP)
    visit = Visit(await context.new_page(), origin)

    async def spoiled(route: Route) -> None:
        state = (await (await route.fetch(url=f"{origin}/api/pools")).json()) | {}
        next(p for p in state["pools"] if p["name"] == "voice")["windows"] = 5
        body = f"data: {json.dumps(state)}\n\n"
        await route.fulfill(body=body, content_type="text/event-stream")

    await visit.page.route("**/api/changes", spoiled)
    await visit.page.goto(f"{origin}/")
    await cards(visit, len(NAMES))
    assert "cannot show this pool" in await visit.text(f"{card('voice')} .why")
    assert "alice" in await visit.text(f"{card('feed')} .why")
    await context.close()


async def test_the_browser_knows_every_zone_that_a_pool_may_name(visit: Visit) -> None:
    lacks: list[str] = await visit.page.evaluate(
        """(zones) => zones.filter((timeZone) => {
          try { new Intl.DateTimeFormat("en", { timeZone }); return false; } catch { return true; }
        })""",
        sorted(zones()),
    )
    # A zone of this year may be younger than the browser; the page then shows UTC.
    assert len(lacks) < 10, lacks


async def test_a_change_is_seen_without_a_reload(board: Board, visit: Visit) -> None:
    await visit.page.evaluate("globalThis.loaded = 'once'")
    board.see(pool("auth", status=status("Warm", 7, reason="Demand")))
    await visit.page.wait_for_selector(f"{card('auth')} .phase[data-phase=Warm]")
    assert "7" in await visit.text(f"{card('auth')} .facts")
    assert "auth" in await visit.page.inner_text("#news")
    assert await visit.page.evaluate("globalThis.loaded") == "once"


async def test_what_a_reader_has_opened_and_marked_stays_as_things_change(
    board: Board, visit: Visit
) -> None:
    await visit.page.focus(f"{card('voice')} summary")
    await visit.page.keyboard.press("Enter")
    await visit.page.evaluate(
        f'getSelection().selectAllChildren(document.querySelector("{card("voice")} .why"))'
    )
    board.see(pool("voice", status=status("Warm", 4, 5, reason="Demand")))
    await visit.until(
        f"document.querySelector(\"{card('voice')} .facts strong\").textContent === '4'"
    )
    assert await visit.page.is_visible(f"{card('voice')} .conditions")
    assert await visit.page.evaluate("document.activeElement.localName") == "summary"


async def test_it_says_so_when_the_operator_is_not_heard_and_when_it_is_again(
    serve: Serve, browser: Browser, origin: str
) -> None:
    board = day(Clock())
    server = serve(board)
    context = await browser.new_context(**DESKTOP)
    visit = Visit(await context.new_page(), origin)
    await visit.page.goto(f"{origin}/")
    await visit.page.wait_for_selector("#live[data-state=live]")
    server.stop()
    await visit.page.wait_for_selector("#live[data-state=lost]")
    await visit.screenshot("console-lost")
    assert await visit.accessibility() == []
    serve(board)
    await visit.page.wait_for_selector("#live[data-state=live]", timeout=15_000)
    await context.close()


async def test_a_pool_is_found_by_a_part_of_its_name(board: Board, visit: Visit) -> None:
    board.see(pool("echo", status=status("Asleep")))
    await cards(visit, len(NAMES) + 1)
    await visit.page.fill("#find", "voi")
    await cards(visit, 1)
    await visit.page.fill("#find", "no such pool")
    await cards(visit, 0)
    await visit.page.click("#show-all")
    await cards(visit, len(NAMES) + 1)


async def test_the_pools_of_a_set_stand_together_under_its_name(
    serve: Serve, browser: Browser, origin: str
) -> None:
    board = Board(Clock())
    for name, by in (
        ("api", "previews"),
        ("by-hand", ""),
        ("late", "nightly"),
        ("web", "previews"),
    ):
        made = pool(name, status=status("Asleep"))
        made["metadata"]["labels"] = {"kotatsu.dev/set": by} if by else {}
        made["metadata"]["ownerReferences"] = [{"kind": "WarmPoolSet", "name": by}]
        board.see(made)
    serve(board)
    async with visiting(browser, origin, **PHONE) as visit:
        await cards(visit, 4)
        titles = await visit.page.locator("#pools h2").all_inner_texts()
        assert titles == [
            *("by-hand", "WarmPoolSet nightly", "late", "WarmPoolSet previews", "api", "web"),
        ]
        await visit.screenshot("console-sets")
        assert await visit.accessibility() == []


async def test_everything_is_reached_by_keyboard(visit: Visit) -> None:
    reached = []
    for _ in range(16):
        await visit.page.keyboard.press("Tab")
        reached.append(
            await visit.page.evaluate(
                "document.activeElement.id || document.activeElement.value"
                " || document.activeElement.localName"
            )
        )
    for name in ("language", "all", "awake", "asleep", "attention", "span", "summary"):
        assert name in reached
    assert reached.count("summary") == len(NAMES)


async def test_the_language_is_the_reader_s_choice(visit: Visit) -> None:
    before = await visit.page.get_attribute("html", "lang")
    await visit.page.click("#language")
    assert {before, await visit.page.get_attribute("html", "lang")} == {"ja", "en"}


@pytest.mark.parametrize("device", list(DEVICES))
async def test_labels_never_lie_over_each_other_however_much_time_is_shown(
    board: Board, browser: Browser, origin: str, device: str
) -> None:
    async with visiting(browser, origin, **DEVICES[device]) as visit:
        await cards(visit, len(NAMES))
        for hours in ("1", "6", "24", "48"):
            await visit.page.select_option("#span", hours)
            assert await visit.crowded(".timeline text") == []


async def test_a_hundred_pools_come_page_by_page(
    board: Board, browser: Browser, origin: str
) -> None:
    for n in range(100):
        board.see(pool(f"pool-{n:03}", status=status("Asleep")))
    async with visiting(browser, origin, **DESKTOP) as visit:
        await cards(visit, 25)
        await visit.page.click("#more")
        await cards(visit, 50)


async def test_thirty_pools_fit_on_a_few_screens(
    serve: Serve, browser: Browser, origin: str
) -> None:
    board = Board(Clock())
    for n in range(30):
        window = {"name": "rehearsal", "schedule": f"0 {n % 24} * * *", "duration": "90m"}
        phase, ready = (("Asleep", 0), ("Asleep", 0), ("Warm", 2))[n % 3]
        shown = status(phase, ready)
        board.see(pool(f"pool-{n:02}", status=shown, windows=[window | {"replicas": 1 + n % 4}]))
    serve(board)
    async with visiting(browser, origin, **DESKTOP) as visit:
        await cards(visit, 25)
        await visit.page.click("#more")
        await cards(visit, 30)
        assert await visit.crowded(".timeline text, h2, .phase") == []
        heights = await visit.page.evaluate(
            "[...document.querySelectorAll('#pools > .card')].map((card) => card.offsetHeight)"
        )
        assert max(heights) < 240
        await visit.screenshot("console-thirty-pools")


def parked_board() -> Board:
    """A pool that is parked in a window, with a warm window to come; another one that is idle."""
    clock = Clock(NOW - timedelta(hours=9))
    board = Board(clock)
    clock.now = NOW
    windows = [
        {
            "name": "doors-open",
            "start": "2026-11-25T08:00",
            "end": "2026-11-25T13:00",
            "replicas": 2,
        }
        | {"mode": "Parked"},
        {"name": "pitch", "start": "2026-11-25T15:00", "end": "2026-11-25T18:00", "replicas": 4},
        {"name": "aftershow", "start": "2026-11-25T19:00", "end": "2026-11-25T23:00", "replicas": 2}
        | {"mode": "Parked"},
    ]
    spec = {"timeZone": "UTC", "parkedFor": "30m"}
    since = {"parkedSince": "2026-11-25T10:00:00Z"}
    parked = {"reduced": True, "internal": since}
    now = status("Parked", 2, reason="Window", activeWindow="doors-open", **parked)
    board.see(pool("voice", status=now, windows=windows, **spec))
    board.see(pool("feed", status=status("Parked", 1, **parked), **spec))
    return board


@EACH_LOOK
async def test_parked_pods_have_a_color_a_legend_and_a_sentence(
    serve: Serve, browser: Browser, origin: str, look: str
) -> None:
    serve(parked_board())
    async with visiting(browser, origin, **LOOKS[look]) as visit:
        await cards(visit, 2)
        await visit.screenshot(f"console-parked-{look}")
        assert await visit.accessibility() == []
        assert await visit.crowded(".timeline text, h2, .phase, dd, .tile") == []
        assert await visit.page.locator(".timeline rect.parked").count() == 2
        assert await visit.page.is_visible(".key.parked")
        sentence = {"ja": "10:30 まで", "en": "until 10:30"}["ja" if "-ja-" in look else "en"]
        assert sentence in await visit.text(f"{card('feed')} .why")
