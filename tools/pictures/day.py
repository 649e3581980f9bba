"""Four minutes of four pools on a real cluster: what console and dashboard show of them.

A browser looks at the console while a window is open. For the dashboard Demo day, a Prometheus
beside the cluster scrapes operator and activators; the picture is drawn from its own queries.
"""

import asyncio
import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import which

import httpx
from e2e.conftest import forwarded_console, start_app
from e2e.kit import App, Kubectl, demo_mode, wall
from e2e.prometheus import Prometheus, filled, legend, running
from packages import install
from pages.kit import DESKTOP, PHONE, launched, visiting

import board
from browsing import save, squeeze
from shown import ROOT

DASHBOARD = ROOT / "charts/kotatsu/dashboards/demo-day.json"
NAMESPACE = "day"
EVERY = 2
"""Seconds between two scrapes, and between two points."""
RATE = "30s"
NOTE = (
    "Drawn from the dashboard's own queries over a Prometheus that watched four pools for some"
    " minutes. It is no screenshot of Grafana."
)
LOOK = 150
"""Seconds after which the console is looked at: a window is open, another one about to."""
LAPTOP = DESKTOP | {"viewport": {"width": 1280, "height": 900}}
HAND = PHONE | {"locale": "en-GB", "color_scheme": "light"}
CONSOLES = {"console.png": LAPTOP, "console-phone.png": HAND}


def pictures(folder: Path) -> None:
    """Play the minutes, take the pictures of the console, and draw the dashboard."""
    kubectl = Kubectl(NAMESPACE)
    _install()
    subprocess.run(["kubectl", "create", "namespace", NAMESPACE], check=True)
    try:
        (folder / "dashboard.svg").write_text(asyncio.run(_watched(kubectl, folder)))
        for name in CONSOLES:
            squeeze(folder / name)
    finally:
        kubectl("delete", "warmpools", "--all", "--wait=false")
        subprocess.run(["kubectl", "delete", "namespace", NAMESPACE, "--wait=false"], check=True)


def _install() -> None:
    """The platform with example prices, whether it is there or not."""
    subprocess.run(
        [
            *("helm", "upgrade", "--install", "kotatsu", ROOT / "charts/kotatsu"),
            *("--namespace", "kotatsu", "--create-namespace", "--wait"),
            *("--values", ROOT / "tools/demo/kotatsu-values.yaml"),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )


async def _watched(kubectl: Kubectl, folder: Path) -> str:
    limit = {"limit": "20", "period": "Day"}
    apps = [
        await start_app(kubectl, name, recorder="", idleAfter="10s", timeZone="UTC", budget=limit)
        for name in ("shop", "search", "gallery", "reports")
    ]
    for app in apps:
        await app.asleep()
    if which("prometheus") is None:
        install("prometheus")
    with tempfile.TemporaryDirectory() as kept:
        program = Path(which("prometheus") or "")
        with running(Path(kept), _scraping(), program) as prometheus:
            await asyncio.sleep(3 * EVERY)
            begin = time.time()
            await asyncio.gather(_play(*apps), _look(folder))
            return _drawn(prometheus, begin, time.time())


def _scraping() -> dict[str, object]:
    """Every pod of the platform that says where its metrics are."""
    targets = []
    for pod in Kubectl("kotatsu").items("pods"):
        said = pod["metadata"].get("annotations", {})
        is_ending = "deletionTimestamp" in pod["metadata"]
        if said.get("prometheus.io/scrape") == "true" and not is_ending:
            targets.append(f"{pod['status']['podIP']}:{said['prometheus.io/port']}")
    job = {
        "job_name": "kotatsu",
        "honor_labels": True,
        "static_configs": [{"targets": targets}],
    }
    return {"global": {"scrape_interval": f"{EVERY}s"}, "scrape_configs": [job]}


async def _look(folder: Path) -> None:
    """Take the pictures of the console, as its user reaches it."""
    await asyncio.sleep(LOOK)
    with forwarded_console(Kubectl("kotatsu")) as origin:
        async with launched() as browser:
            for name, device in CONSOLES.items():
                async with visiting(browser, origin, **device) as visit:
                    await visit.until("document.querySelectorAll('#pools > .card').length === 4")
                    await visit.page.select_option("select", "1")
                    await save(visit, folder / name, is_whole=device is LAPTOP)


async def _play(shop: App, search: App, gallery: App, reports: App) -> None:
    """A pitch with three pods after a visit that shows how long a start takes, and other pools.

    The gallery is switched on by hand. The window of the reports is about to open.
    """
    opens = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=105)
    pitch = _window("pitch", opens, 75, 3)
    daily = {"name": "rehearsal", "schedule": "0 18 * * *", "duration": "90m", "replicas": 2}
    shop.kubectl.patch("warmpool", "shop", {"spec": {"windows": [pitch, daily]}})
    closing = _window("closing", opens + timedelta(seconds=LOOK - 60), 60, 2)
    reports.kubectl.patch("warmpool", "reports", {"spec": {"windows": [closing]}})
    reason = "--reason=the jury has more questions"
    await demo_mode(gallery.kubectl, "on", "gallery", "--replicas=2", "--for=10m", reason)
    async with httpx.AsyncClient(timeout=120, trust_env=False) as http:

        async def ask(app: App, after: float, *seconds: float) -> None:
            await asyncio.sleep(after)
            await asyncio.gather(*(app.send(http, round(1000 * each)) for each in seconds))

        await asyncio.gather(
            ask(search, 8, 20, 14),
            ask(search, 24, 12, 16),
            ask(shop, 14, 4),
            ask(shop, 110, 20, 12, 24),
            ask(shop, 126, 10, 18, 22, 26),
            ask(search, 205, 16, 12),
            asyncio.sleep(235),
        )


def _window(name: str, opens: datetime, seconds: float, replicas: int) -> dict[str, object]:
    ends = opens + timedelta(seconds=seconds)
    return {"name": name, "start": wall(opens), "end": wall(ends), "replicas": replicas}


def _drawn(prometheus: Prometheus, begin: float, end: float) -> str:
    shown = [
        (panel, _series(prometheus, panel.targets, begin, end)) for panel in board.panels(DASHBOARD)
    ]
    title = json.loads(DASHBOARD.read_text())["title"]
    return board.draw(title, NOTE, shown, (begin, end))


def _series(
    prometheus: Prometheus, targets: Sequence[tuple[str, str]], begin: float, end: float
) -> list[board.Series]:
    found = []
    for expr, pattern in targets:
        asked = {"query": filled(expr, NAMESPACE, RATE), "start": begin, "end": end, "step": EVERY}
        for one in prometheus.ask("/query_range", **asked)["result"]:
            points = tuple((float(at), float(value)) for at, value in one["values"])
            found.append(board.Series(legend(pattern, one["metric"]).strip(), points))
    return found
