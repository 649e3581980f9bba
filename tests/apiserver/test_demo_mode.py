"""kubectl demo-mode beside operator and activator: the switch, and windows by command."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from apiserver.kit import eventually
from e2e import kit
from e2e.kit import wall

pytestmark = pytest.mark.apiserver

QUICK = {"idleAfter": "1s"}


async def demo_mode(kubectl, *words, code=0):
    """Run the plugin on the API server of the run."""
    path = f"{Path(kubectl.plane.kubectl).parent}:{os.environ['PATH']}"
    config = kubectl.plane.kubeconfig
    return await kit.demo_mode(kubectl, *words, code=code, PATH=path, KUBECONFIG=config)


async def test_on_waits_until_it_is_warm_and_off_lets_it_sleep(make_app, platform):
    app = await make_app("switch", **QUICK)
    await app.asleep()
    out = await demo_mode(platform, "on", app.name, "--for", "10m", "--replicas", "2", "--wait")
    assert f"{app.name} is Warm: 2 pods Ready after " in out
    assert len(app.ready_pods()) == 2
    assert f"{app.name}  Warm" in await demo_mode(platform, "status", app.name)
    out = await demo_mode(platform, "off", app.name)
    assert (
        "returned to its schedule: no window is open, so it sleeps 1s after its last request" in out
    )
    await app.asleep()


async def test_now_ends_what_an_open_window_keeps(make_app, platform):
    now = datetime.now(UTC)
    window = {"name": "talk", "start": wall(now - timedelta(minutes=5)), "replicas": 1}
    window["end"] = wall(now + timedelta(minutes=20))
    app = await make_app("now", windows=[window], **QUICK)
    await eventually("warm", lambda: len(app.ready_pods()) == 1)
    assert "when its window ends" in await demo_mode(platform, "off", app.name, "--now")
    await app.asleep()
    out = await demo_mode(platform, "rehearse", app.name, code=1)
    assert "cannot be rehearsed now: an override" in out


async def test_a_window_by_command_opens_and_its_removal_lets_the_pool_sleep(make_app, platform):
    app = await make_app("by-command", **QUICK)
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
