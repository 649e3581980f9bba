"""A whole demo evening, from the invitation to the last pod, on a real cluster in fast time.

An invitation is imported, the afternoon's rehearsal passes, the pitch is brought forward, both
pools are warm before it begins, the judges come back, and everything sleeps. Then the report has
what the ledger has, to the last digit. The console is photographed at each step.
"""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2e.conftest import add_recorder, cluster_ip, forwarded_console, install_platform, start_app
from e2e.kit import App, Kubectl, demo_mode, eventually, hits
from e2e.patience import PATIENCE
from pages.kit import DESKTOP, IN_BROWSER, PHONE, visiting
from playwright.async_api import Browser

pytestmark = [pytest.mark.e2e, pytest.mark.nightly, IN_BROWSER]

POOLS = ("face", "voice")
EVENT = ("-l", "event=evening")
PRICES = {"currency": "JPY", "cpuHour": "650.003", "memoryGiBHour": "70.0007"}

RECEIVERS = """
receivers:
  - name: chat
    url: http://recorder/hit?request_id=chat
"""
EGRESS = "networkPolicy.notificationsTo[0].to[0].podSelector.matchLabels.app=recorder"


def invitation(opens: datetime, lasting: timedelta) -> str:
    """An invitation as a calendar program writes it; the same event whenever it is moved."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//e2e//evening//EN",
        "BEGIN:VEVENT",
        "UID:final-pitch@evening",
        f"DTSTAMP:{opens:%Y%m%dT%H%M%SZ}",
        f"DTSTART:{opens:%Y%m%dT%H%M%SZ}",
        f"DTEND:{opens + lasting:%Y%m%dT%H%M%SZ}",
        "SUMMARY:Final pitch",
        "END:VEVENT",
        "END:VCALENDAR",
    ]
    return "\r\n".join(lines) + "\r\n"


@pytest.fixture(scope="module")
def stage(make_namespace: Any) -> Kubectl:
    """A platform that notifies a chat."""
    kubectl = make_namespace("evening")
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kotatsu-receivers"}}
    kubectl.apply(secret | {"stringData": {"receivers.yaml": RECEIVERS}})
    install_platform(kubectl, "notifications.secretName=kotatsu-receivers", EGRESS, prices=PRICES)
    add_recorder(kubectl)
    return kubectl


@pytest.fixture
def origin(stage: Kubectl) -> Iterator[str]:
    """Where the console is while kubectl forwards a port to it."""
    with forwarded_console(stage) as address:
        yield address


@pytest.fixture
async def evening(stage: Kubectl, origin: str) -> "Evening":
    """Two pools of one event."""
    apps = []
    for name in POOLS:
        more = {"idleAfter": "4s", "lead": "40s"}
        apps.append(await start_app(stage, name, **more))
        stage("label", "warmpool", name, "event=evening")
    return Evening(stage, apps, origin)


class Evening:
    """The stage of the story."""

    def __init__(self, kubectl: Kubectl, apps: list[App], origin: str) -> None:
        self.kubectl, self.apps, self.origin = kubectl, apps, origin

    async def all_asleep(self) -> None:
        for app in self.apps:
            await app.asleep()

    async def photographed(self, browser: Browser, step: str) -> None:
        """Keep pictures of the console as it is now, on a desk and on a phone, with all details."""
        for name, device in (("desktop", DESKTOP), ("phone", PHONE)):
            async with visiting(browser, self.origin, **device) as visit:
                await visit.page.evaluate("localStorage.setItem('span', '1')")
                await visit.page.reload()
                await visit.until(
                    f"document.querySelectorAll('#pools > .card').length === {len(POOLS)}", 30
                )
                await visit.page.evaluate(
                    "document.querySelectorAll('details').forEach((d) => { d.open = true; })"
                )
                await visit.screenshot(f"evening-{step}-{name}")

    async def notified(self, http: httpx.AsyncClient) -> int:
        """How often the chat was called."""
        return (await hits(http, cluster_ip(self.kubectl, "recorder"))).get("chat", 0)


async def test_a_demo_evening_from_the_invitation_to_the_report(
    evening: Evening, browser: Browser, tmp_path: Path, http: httpx.AsyncClient
) -> None:
    kubectl, apps = evening.kubectl, evening.apps
    await evening.all_asleep()

    # In the morning an invitation arrives.
    file = tmp_path / "pitch.ics"
    tonight = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    file.write_text(invitation(tonight, timedelta(minutes=30)))
    words = ("window", "import", str(file), *EVENT, "--replicas", "2", "--yes")
    await demo_mode(kubectl, *words)
    for app in apps:
        (window,) = app.pool()["spec"]["windows"]
        assert window["replicas"] == 2
    await evening.photographed(browser, "1-invited")

    # In the afternoon both pools are rehearsed together.
    load = ("--path", "/echo?request_id=rehearsal", "--data", "", "--requests", "5")
    await demo_mode(kubectl, "rehearse", *EVENT, *load)
    await evening.all_asleep()
    await evening.photographed(browser, "2-rehearsed")

    # The pitch is brought forward: the same invitation again, with another time.
    opens = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=75)
    file.write_text(invitation(opens, timedelta(seconds=45)))
    await demo_mode(kubectl, *words)
    for app in apps:
        opening = await eventually(
            f"{app.name} is Ready for the pitch",
            lambda app=app: _punctual(app),
            within=75 + PATIENCE,
        )
        assert not opening.get("cold"), opening
        assert not opening["early"].startswith("-")
    await evening.photographed(browser, "3-opened-warm")
    for app in apps:
        await eventually(
            f"the pitch of {app.name} is over",
            lambda app=app: "activeWindow" not in app.status(),
            within=45 + PATIENCE,
        )

    # The judges come back.
    again = ("--for", "10m", "--replicas", "1", "--reason", "judges come back", "--wait")
    await demo_mode(kubectl, "on", *EVENT, *again, "--timeout", "3m")
    await evening.photographed(browser, "4-judges-back")

    # The evening ends.
    await demo_mode(kubectl, "off", *EVENT)
    await evening.all_asleep()
    await evening.photographed(browser, "5-over")

    # The report has what happened, and what the ledger has.
    reports = json.loads(await demo_mode(kubectl, "report", *EVENT, "-o", "json"))
    assert [report["pool"] for report in reports] == list(POOLS)
    for app, report in zip(apps, reports, strict=True):
        accrued = app.status()["cost"]["accrued"]
        assert Decimal(accrued) > 0
        assert report["costs"] == {"JPY": accrued}
        assert sum(Decimal(e["cost"]) for e in report["episodes"]) == Decimal(accrued)
        assert [balance["equal"] for balance in report["ledger"]] == [True]
        assert report["wakes"] >= 1  # the rehearsal's first request
        assert (report["opened"], report["cold"]) == (1, 0)
        why = [(e["reason"], e["name"]) for e in report["episodes"]]
        assert why[-1] == ("Override", "judges come back")
        assert "Window" in [reason for reason, _ in why]

    # And the chat was notified.
    await _eventually_notified(evening, http)


def _punctual(app: App) -> Any:
    """The opening of the pitch, once it has opened and its pods were Ready."""
    status = app.status()
    opening = status.get("lastOpening") or {}
    opened = (status.get("internal") or {}).get("windows") or {}
    is_over = opened.get("ready", 0) + opened.get("cold", 0)
    return opening if is_over and opening.get("early") else None


async def _eventually_notified(evening: Evening, http: httpx.AsyncClient) -> None:
    for _ in range(60):
        if await evening.notified(http) > 0:
            return
        await asyncio.sleep(0.5)
    raise AssertionError("the chat got no notification of the evening")
