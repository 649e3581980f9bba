"""Four minutes of two pools on a real cluster, and what the dashboard Demo day shows of them.

A Prometheus beside the cluster scrapes operator and activators. The picture is drawn from the
dashboard's own queries.
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
from e2e.conftest import start_app
from e2e.kit import App, Kubectl, wall
from e2e.prometheus import Prometheus, filled, legend, running
from packages import install

import board
from shown import ROOT

DASHBOARD = ROOT / "charts/kotatsu/dashboards/demo-day.json"
NAMESPACE = "day"
EVERY = 2
"""Seconds between two scrapes, and between two points."""
RATE = "30s"
NOTE = (
    "Drawn from the dashboard's own queries over a Prometheus that watched two pools for some"
    " minutes. It is no screenshot of Grafana."
)


def dashboard(path: Path) -> None:
    """Play the minutes and draw the dashboard."""
    kubectl = Kubectl(NAMESPACE)
    _install()
    subprocess.run(["kubectl", "create", "namespace", NAMESPACE], check=True)
    try:
        path.write_text(asyncio.run(_watched(kubectl)))
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


async def _watched(kubectl: Kubectl) -> str:
    apps = [
        await start_app(kubectl, name, recorder="", idleAfter="10s", timeZone="UTC")
        for name in ("shop", "search")
    ]
    for app in apps:
        await app.asleep()
    if which("prometheus") is None:
        install("prometheus")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(which("prometheus") or "")
        with running(Path(folder), _scraping(), program) as prometheus:
            await asyncio.sleep(3 * EVERY)
            begin = time.time()
            await _play(*apps)
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


async def _play(shop: App, search: App) -> None:
    """A pitch with three pods after a visit that shows how long a start takes, and another pool."""
    opens = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=105)
    pitch = {"start": wall(opens), "end": wall(opens + timedelta(seconds=75)), "replicas": 3}
    daily = {"schedule": "0 18 * * *", "duration": "90m", "replicas": 2}
    windows = [{"name": "pitch", **pitch}, {"name": "rehearsal", **daily}]
    shop.kubectl.patch("warmpool", "shop", {"spec": {"windows": windows}})
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
