"""The console of a real operator in a real browser, through a port-forward as the README has it."""

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from e2e.conftest import PET_SERVICES, cluster_ip, forwarded_console, start_app
from e2e.kit import NO_IMAGE, Kubectl, eventually, stamp, wall
from e2e.story import pet_asleep
from pages.kit import DESKTOP, IN_BROWSER, LOOKS, Visit, visiting

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300), IN_BROWSER]

SHOWN = ("phone-ja-dark", "phone-en-light", "desktop-ja-dark", "desktop-en-light")
BUDGET = {"currency": "JPY", "prices": {"cpuHour": "650"}, "limit": "1"}


@pytest.fixture(scope="module")
def origin(pet: Kubectl) -> Iterator[str]:
    """Where the console is while kubectl forwards a port to it."""
    with forwarded_console(pet) as address:
        yield address


def card(name: str) -> str:
    return f"#pools [id$='/{name}']"


async def phase(visit: Visit, name: str, wanted: str, seconds: float = 30) -> None:
    """Wait until a card says so."""
    await visit.page.wait_for_selector(
        f"{card(name)} .phase[data-phase={wanted}]", timeout=seconds * 1000
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
        await phase(visit, "voice", "Asleep", seconds=60)
        assert await visit.page.evaluate("globalThis.loaded") == "once"


async def test_a_window_its_money_and_what_waits_are_shown_against_what_was_really_ready(
    pet, origin, browser
):
    app = await start_app(pet, "pitch", prewarm={"lead": "30s"}, budget=BUDGET)
    opens = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=40)
    encore = opens + timedelta(minutes=30)
    windows = [
        {"name": name, "start": wall(start), "end": wall(start + lasting), "replicas": 1}
        for name, start, lasting in (
            ("pitch", opens, timedelta(minutes=20)),
            ("encore", encore, timedelta(minutes=10)),
        )
    ]
    pet.patch("warmpool", app.name, {"spec": {"windows": windows}})
    try:
        async with visiting(browser, origin, **DESKTOP) as visit:
            await visit.page.select_option("#span", "1")
            await visit.page.wait_for_selector(
                f"{card('pitch')} .timeline .sign.punctual", timeout=60_000, state="attached"
            )
            assert await visit.page.locator(f"{card('pitch')} .timeline .window").count() == 2
            coming = f'document.querySelectorAll("{card("pitch")} .timeline .coming").length'
            await visit.until(f"{coming} === 1", 60)  # the pods were Ready before it opened
            assert "Window pitch keeps 1 pod." in await visit.text(f"{card('pitch')} .why")
            facts = await visit.text(f"{card('pitch')} .facts")
            for said in ("1 of 1", "early", "pitch closes in", "¥", "forecast"):
                assert said in facts
            share = await visit.page.get_attribute(f"{card('pitch')} meter", "value")
            assert float(share or 0) > 0
        for look in SHOWN:
            async with visiting(browser, origin, **LOOKS[look]) as visit:
                await visit.page.evaluate("localStorage.setItem('span', '1')")
                await visit.page.reload()
                await visit.page.wait_for_selector(card("pitch"))
                assert await visit.accessibility() == []
                assert await visit.crowded(".timeline text, h2, .phase, dd, .tile") == []
                await visit.screenshot(f"cluster-console-{look}")
    finally:
        pet("delete", "warmpool,deployment,service", app.name, "--wait=false")


async def test_requests_that_wait_are_counted_and_a_pool_that_is_gone_goes(pet, origin, browser):
    app = await start_app(pet, "crowd", scaling={"idleAfter": "4s"}, wake={"holdTimeout": "8s"})
    try:
        await app.asleep()
        pet("set", "image", f"deployment/{app.name}", f"app={NO_IMAGE}")
        async with visiting(browser, origin, **DESKTOP) as visit:
            await phase(visit, "crowd", "Asleep")
            async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
                waiting = [asyncio.create_task(http.post(app.url)) for _ in range(3)]
                facts = f'document.querySelector("{card("crowd")} .facts").textContent'
                await visit.until(f"{facts}.includes('3 held')", 30)
                assert "3 wait for a pod" in await visit.text("#overview")
                await asyncio.gather(*waiting)
            pet("delete", "warmpool", app.name, "--wait=false")
            await visit.until(f'document.querySelector("{card("crowd")}") === null', 20)
    finally:
        pet("delete", "deployment,service", app.name, "--wait=false", "--ignore-not-found")


async def test_an_override_is_shown_with_who_until_and_why(pet, origin, browser):
    until = stamp(datetime.now(UTC) + timedelta(minutes=5))
    pet.patch(
        "warmpool",
        "auth",
        {"spec": {"override": {"mode": "Warm", "until": until, "by": "alice",
                               "reason": "the judges <b>stay</b>"}}},
    )  # fmt: skip
    try:
        async with visiting(browser, origin, **DESKTOP) as visit:
            await phase(visit, "auth", "Warm", seconds=40)
            why = await visit.text(f"{card('auth')} .why")
            assert "An override by alice keeps it warm until" in why
            assert "the judges <b>stay</b>" in why
    finally:
        pet.patch("warmpool", "auth", {"spec": {"override": None}})
        await eventually("released", lambda: "override" not in pet.get("warmpool", "auth")["spec"])
