"""The pet's page in a real browser, in front of the three services in one process."""

import asyncio
import re
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import pytest_asyncio
from pages.kit import DESKTOP, EACH_LOOK, IN_BROWSER, LOOKS, Visit, visiting
from playwright.async_api import Browser, Request, Route
from serving import serving

from kotatsu_local.app import create_app
from kotatsu_local.settings import LocalSettings
from kotatsu_node.ports import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), IN_BROWSER]


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, [port] = tmp_path_factory.mktemp("pets"), free_ports(1)
    settings = LocalSettings(local_folder=str(folder), port=port)
    with serving(create_app(settings, {"KOTATSU_GITHUB_TIMEOUT": "60"}), port) as address:
        yield address


@pytest_asyncio.fixture(loop_scope="session")
async def room(visit: Visit) -> Visit:
    """Logged in as the guest."""
    await visit.page.click("#demo")
    await visit.page.wait_for_selector("#room:not([hidden])")
    await visit.until("document.querySelector('#ranking').children.length > 0")
    await visit.until("!document.querySelector('#feed').disabled")
    return visit


@EACH_LOOK
async def test_no_machine_finds_a_fault_in_any_language_size_or_color(
    browser: Browser, origin: str, look: str
) -> None:
    async with visiting(browser, origin, **LOOKS[look]) as visit:
        await visit.page.wait_for_selector("#demo:not([hidden])")
        assert await visit.accessibility() == []
        assert await visit.crowded("#door > *, #door button") == []
        await visit.screenshot(f"pet-door-{look}")
        await visit.page.click("#demo")
        await visit.until("document.querySelector('#ranking').children.length > 0")
        assert await visit.accessibility() == []
        assert await visit.crowded("#room .card, #room button, #room input, #room td, h2") == []
        await visit.screenshot(f"pet-{look}")


async def test_a_meal_shows_in_the_bar_and_on_the_button(room: Visit) -> None:
    before = await room.page.evaluate("document.querySelector('#experience-text').textContent")
    await room.page.click("#feed")
    await room.until(f"document.querySelector('#experience-text').textContent !== {before!r}")
    assert (
        int((await room.text("#experience-text")).split(" / ")[0])
        == int(before.split(" / ")[0]) + 10
    )


async def test_the_bird_really_speaks_and_the_credit_is_shown(room: Visit) -> None:
    await room.page.click("#speak")
    await room.until("document.querySelector('#audio').duration > 1")
    assert "DASHだよ" in await room.text("#says")
    assert "Nagoya Institute of Technology" in await room.text("#credit")
    await room.until("document.querySelector('#audio').ended", 30)
    assert await room.page.evaluate("document.querySelector('#audio').currentTime > 1")


async def test_the_bird_answers_a_question_aloud(room: Visit) -> None:
    await room.page.fill("#message", "げんき？")
    await room.page.press("#message", "Enter")
    await room.until("document.querySelector('#audio').duration > 0.5")
    assert await room.text("#says")


async def test_clothes_season_and_name_stay_for_the_next_visit(room: Visit) -> None:
    async with room.page.expect_response("**/change_clothes"):
        await room.page.check("input[name=clothes][value=winter]")
    async with room.page.expect_response("**/change_background"):
        await room.page.check("input[name=background][value=autumn]")
    await room.page.fill("#name", "ぴよ <b>")
    await room.page.press("#name", "Enter")
    await room.until("document.querySelector('#pet-name').textContent === 'ぴよ <b>'")
    await room.page.reload()
    await room.page.wait_for_selector("#scene svg[data-clothes=winter][data-background=autumn]")
    await room.page.fill("#name", "DASH")
    await room.page.press("#name", "Enter")
    await room.until("document.querySelector('#pet-name').textContent === 'DASH'")


async def test_a_choice_stays_while_its_answer_is_late_and_another_one_comes(room: Visit) -> None:
    was_seen = asyncio.Event()

    async def late(route: Route) -> None:
        await was_seen.wait()
        await route.continue_()

    await room.page.route("**/change_background", late)
    await room.page.check("input[name=background][value=summer]")
    async with room.page.expect_response("**/change_clothes"):
        await room.page.check("input[name=clothes][value=spring]")
    await room.page.wait_for_selector("#scene svg[data-clothes=spring][data-background=summer]")
    assert await room.page.is_checked("input[name=background][value=summer]")
    async with room.page.expect_response("**/change_background"):
        was_seen.set()


async def test_a_choice_that_cannot_be_kept_is_taken_back_and_said(room: Visit) -> None:
    before = await room.page.get_attribute("#scene svg", "data-clothes")
    await room.page.route("**/change_clothes", lambda route: route.abort())
    other = "summer" if before != "summer" else "winter"
    await room.page.click(f"input[name=clothes][value={other}]")
    await room.until("document.querySelector('#status').textContent !== ''")
    await room.page.wait_for_selector(f"#scene svg[data-clothes={before}]")
    assert await room.page.is_checked(f"input[name=clothes][value={before}]")
    room.errors.clear()  # the browser writes the lost connection to its console


async def test_the_language_is_the_visitor_s_choice(room: Visit) -> None:
    before = await room.page.get_attribute("html", "lang")
    await room.page.click("#language")
    assert {before, await room.page.get_attribute("html", "lang")} == {"ja", "en"}


async def test_everything_can_be_reached_by_the_keyboard(room: Visit) -> None:
    await room.page.focus("#language")
    reached = set()
    for _ in range(14):
        reached.add(
            await room.page.evaluate("document.activeElement.id || document.activeElement.name")
        )
        await room.page.keyboard.press("Tab")
    assert {"language", "logout", "feed", "speak", "message", "ask", "clothes", "name"} <= reached


async def test_logging_out_leaves_no_token_behind(room: Visit) -> None:
    await room.page.click("#logout")
    await room.page.wait_for_selector("#door:not([hidden])")
    assert await room.page.evaluate("sessionStorage.length + document.cookie.length") == 0


async def test_a_bad_token_is_refused_in_words(visit: Visit) -> None:
    await visit.page.click("summary")
    await visit.page.fill("#token", "nobody")
    await visit.page.press("#token", "Enter")
    await visit.until("document.querySelector('#status').textContent !== ''")
    assert await visit.page.is_visible("#door")
    visit.errors.clear()  # the browser writes every 401 to its console


async def test_a_login_that_was_not_begun_here_is_refused(browser: Browser, origin: str) -> None:
    async with visiting(browser, origin, **DESKTOP) as visit:
        await visit.page.goto(f"{origin}/?code=demo&state=forged")
        await visit.until("document.querySelector('#status').textContent.includes('did not work')")
        assert visit.page.url == f"{origin}/"


@pytest_asyncio.fixture(loop_scope="session")
async def arrival(browser: Browser, origin: str) -> AsyncIterator[tuple[Visit, dict[str, str]]]:
    """A visitor on the way to GitHub, and what the page sent along."""
    async with visiting(browser, origin, **DESKTOP) as visit:
        await visit.page.wait_for_selector("#login:not([hidden])")
        github = "http://github-stub/**"  # no such host: the browser gets no further
        sent: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def note(route):
            sent.set_result(route.request.url)
            await route.fulfill(status=204)

        await visit.page.route(github, note)
        await visit.page.click("#login")
        query = parse_qs(urlsplit(await asyncio.wait_for(sent, 10)).query)
        visit.outside.clear()  # GitHub's login page is elsewhere
        yield visit, {key: values[0] for key, values in query.items()}


async def come_back(visit: Visit, origin: str, sent: dict[str, str]) -> None:
    """What GitHub would do."""
    page = f"{origin}/login/oauth/authorize"
    await visit.page.goto(f"{page}?{urlencode({**sent, 'login': 'anna'})}")


async def test_a_login_brings_its_code_in_a_body_with_the_secret_of_its_challenge(
    arrival: tuple[Visit, dict[str, str]], origin: str
) -> None:
    visit, sent = arrival
    assert (sent["code_challenge_method"], len(sent["code_challenge"])) == ("S256", 43)
    exchanges: list[Request] = []
    visit.page.on("request", lambda r: exchanges.append(r) if "/token" in r.url else None)
    await come_back(visit, origin, sent)
    await visit.page.wait_for_selector("#room:not([hidden])")
    [exchange] = exchanges
    assert (exchange.method, exchange.url) == ("POST", f"{origin}/token")
    body = exchange.post_data_json
    digest = sha256(body["code_verifier"].encode()).digest()
    assert urlsafe_b64encode(digest).decode().rstrip("=") == sent["code_challenge"]
    assert visit.page.url == f"{origin}/"
    kept = await visit.page.evaluate("Object.keys(sessionStorage)")
    assert kept == ["token"]


async def test_a_stolen_code_lets_nobody_in(
    arrival: tuple[Visit, dict[str, str]], origin: str
) -> None:
    visit, sent = arrival
    await visit.page.evaluate("sessionStorage.setItem('verifier', 'x'.repeat(43))")
    await come_back(visit, origin, sent)
    await visit.until("document.querySelector('#status').textContent.includes('did not work')")
    assert await visit.page.is_visible("#door")
    visit.errors.clear()  # the browser writes every 400 to its console


async def test_a_sleeping_voice_is_waited_for_with_the_seconds_shown(
    browser: Browser, origin: str
) -> None:
    async with visiting(browser, origin, **DESKTOP) as visit:
        was_seen = asyncio.Event()

        async def late(route):
            await was_seen.wait()
            await route.continue_()

        await visit.page.route("**/voice?stream=true", late)
        await visit.page.click("#demo")
        await visit.until("!document.querySelector('#feed').disabled")
        await visit.page.click("#speak")
        await visit.page.wait_for_selector("#scene svg[data-mood=waking]")
        assert re.fullmatch(r"Waking up… \d+\.\d s", await visit.text("#status"))
        was_seen.set()
        await visit.until("document.querySelector('#audio').duration > 1")
        assert "Awake after" in await visit.text("#status")


async def test_a_lost_answer_never_feeds_twice(browser: Browser, origin: str) -> None:
    async with visiting(browser, origin, **DESKTOP) as visit:
        lost = []

        async def lose_the_first(route):
            if not lost:
                lost.append(await route.fetch())
                await route.abort()
            else:
                await route.continue_()

        await visit.page.click("#demo")
        await visit.until("document.querySelector('#experience-text').textContent !== ''")
        before = int((await visit.text("#experience-text")).split(" / ")[0])
        await visit.page.route("**/feed", lose_the_first)
        await visit.page.click("#feed")
        await visit.until("document.querySelector('#status').textContent !== ''")
        assert int((await visit.text("#experience-text")).split(" / ")[0]) == before + 10
        visit.errors.clear()  # the browser writes the lost connection to its console
