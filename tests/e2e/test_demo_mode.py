"""kubectl demo-mode on a cluster with operator and activator: the switch, and a rehearsal."""

import asyncio
import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from e2e.kit import eventually, is_ending, wall

pytestmark = pytest.mark.e2e
BIN = Path(__file__).parents[2] / ".venv/bin"


async def demo_mode(kubectl, *words, code=0):
    """Run the plugin as a person would; its output."""

    def run():
        return subprocess.run(
            ["kubectl", "demo-mode", *words, "-n", kubectl.namespace],
            env=os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )

    done = await asyncio.to_thread(run)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


async def test_on_waits_until_it_is_warm_and_off_lets_it_sleep(make_app, platform):
    app = await make_app("switch", scaling={"idleAfter": "4s"})
    await app.asleep()
    out = await demo_mode(platform, "on", app.name, "--for", "10m", "--replicas", "2", "--wait")
    assert f"{app.name} is Warm: 2 pods Ready after " in out
    assert len(app.ready_pods()) == 2
    assert f"{app.name}  Warm" in await demo_mode(platform, "status", app.name)
    out = await demo_mode(platform, "off", app.name)
    assert (
        "returned to its schedule: no window is open, so it sleeps 4s after its last request" in out
    )
    await app.asleep()


async def test_now_ends_what_an_open_window_keeps(make_app, platform):
    now = datetime.now(UTC)
    window = {"name": "talk", "start": wall(now - timedelta(minutes=5)), "replicas": 1}
    window["end"] = wall(now + timedelta(minutes=20))
    app = await make_app("now", windows=[window])
    await eventually("warm", lambda: len(app.ready_pods()) == 1)
    assert "when its window ends" in await demo_mode(platform, "off", app.name, "--now")
    await app.asleep()
    out = await demo_mode(platform, "rehearse", app.name, code=1)
    assert "cannot be rehearsed now: an override" in out


async def test_a_window_by_command_opens_and_its_removal_lets_the_pool_sleep(make_app, platform):
    app = await make_app("by-command", scaling={"idleAfter": "4s"})
    await app.asleep()
    start = wall(datetime.now(UTC) - timedelta(minutes=1))  # open already
    words = ("window", "add", "pitch", app.name, "--at", start, "--for", "20m", "--replicas", "2")
    out = await demo_mode(platform, *words)
    assert f"{app.name} window pitch added" in out
    await eventually("warm", lambda: len(app.ready_pods()) == 2)
    assert app.status()["activeWindow"] == "pitch"
    assert "window pitch unchanged" in await demo_mode(platform, *words)
    assert "pitch" in await demo_mode(platform, "window", "list", app.name)
    out = await demo_mode(platform, "window", "remove", "pitch", app.name)
    assert "pitch is open: its pods end when the pool is idle" in out
    await app.asleep()


async def test_a_rehearsal_sleeps_wakes_warms_and_gives_the_pool_back(make_app, platform):
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    window = {"name": "demo", "start": wall(tomorrow), "replicas": 2}
    window["end"] = wall(tomorrow + timedelta(hours=1))
    app = await make_app("rehearsal", windows=[window], scaling={"idleAfter": "4s"})
    await app.asleep()
    load = ("--path", "/echo?request_id=rehearsal", "--data", "", "--requests", "20")
    out = await demo_mode(platform, "rehearse", app.name, *load, "--concurrency", "4", "-o", "json")
    report = json.loads(out)
    assert report["passed"], report
    assert (report["window"], report["replicas"]) == ("demo", 2)
    assert report["cold"]["status"] == 200
    assert 0 < report["cold"]["seconds"] < 15
    assert report["load"]["errors"] == 0
    assert report["load"]["p95"] > 0
    assert "override" not in app.pool()["spec"]
    left = platform.items("pods", **{"app.kubernetes.io/managed-by": "kubectl-demo-mode"})
    assert all(is_ending(pod) for pod in left)


async def test_a_rehearsal_that_gets_errors_would_have_failed(make_app, platform):
    app = await make_app("failing", scaling={"idleAfter": "4s"})
    await app.asleep()
    words = ("rehearse", app.name, "--path", "/nowhere", "--requests", "5")
    out = await demo_mode(platform, *words, code=1)
    assert "The demo would have failed." in out
    assert "5 of 5 requests failed, the first with status 404" in out
    assert "override" not in app.pool()["spec"]


async def test_the_pools_of_one_event_are_rehearsed_together(make_app, platform):
    apps = [await make_app(f"event-{n}", scaling={"idleAfter": "4s"}) for n in (1, 2)]
    for app in apps:
        platform("label", "warmpool", app.name, "event=rehearsed")
        await app.asleep()
    load = ("--path", "/echo?request_id=event", "--data", "", "--requests", "5")
    out = await demo_mode(platform, "rehearse", "-l", "event=rehearsed", *load, "-o", "json")
    report = json.loads(out)
    assert report["passed"], report
    assert [pool["pool"] for pool in report["pools"]] == [app.name for app in apps]
    assert all("override" not in app.pool()["spec"] for app in apps)
