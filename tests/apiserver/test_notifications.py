"""The story of one window and one override, as a receiver of notifications gets it."""

import json
import logging
from datetime import timedelta

import pytest
import yaml
from aiohttp import web
from apiserver.conftest import install_platform, start_app
from apiserver.kit import eventually
from apiserver.programs import Ahead
from e2e.kit import stamp, wall

from kotatsu_operator.core.protocol import BY_ANNOTATION

pytestmark = pytest.mark.apiserver

SECRET, TOKEN = "receivers", "T000B000XXXX"
USING = "notifications go to events, chat"
"""What an operator says that has read the receivers."""


@pytest.fixture
async def receiver():
    """Where notifications are sent to; gives the address, and the bodies as they come."""
    received = []

    async def receive(request):
        received.append(await request.json())
        return web.Response(status=204)

    runner = web.ServerRunner(web.Server(receive))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    (host, port) = runner.addresses[0]
    yield f"http://{host}:{port}/{TOKEN}", received
    await runner.cleanup()


def secret(*receivers):
    text = yaml.safe_dump({"receivers": list(receivers)})
    named = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}}
    return named | {"stringData": {"receivers.yaml": text}}


async def test_a_receiver_gets_the_story_of_one_window(make_namespace, receiver, caplog):
    caplog.set_level(logging.INFO, "kotatsu_operator")
    url, received = receiver
    clock = Ahead()
    kubectl = make_namespace("notified", clock)
    kubectl.apply(
        secret(
            {"name": "events", "url": url},
            {"name": "chat", "url": url, "format": "slack", "events": ["WindowReady"]},
        )
    )
    await install_platform(kubectl, f"notifications.secretName={SECRET}")
    opens = clock().replace(microsecond=0) + timedelta(hours=1)
    closes = opens + timedelta(hours=1)
    app = await start_app(
        kubectl,
        "voice",
        windows=[{"name": "pitch", "start": wall(opens), "end": wall(closes), "replicas": 1}],
        lead="30s",
        idleAfter="1s",
    )
    await app.asleep()
    clock.reach(opens - timedelta(seconds=20))
    await eventually("a window that is ready", lambda: len(received) == 2)
    event, chat = sorted(received, key=len, reverse=True)
    assert event["type"] == "dev.kotatsu.warmpool.WindowReady"
    assert event["subject"] == f"{kubectl.namespace}/voice"
    assert "window pitch: 1 replica is Ready" in event["data"]["message"]
    assert chat["text"].startswith(f"*{kubectl.namespace}/voice* WindowReady: window pitch")
    await eventually("nothing waits", lambda: not app.inner().get("notices"))

    clock.reach(closes)
    await app.asleep()

    async def override(by):
        until = clock() + timedelta(minutes=20)
        said = {"annotations": {BY_ANNOTATION: by}}
        asked = {"mode": "Warm", "until": stamp(until)}
        kubectl.patch("warmpool", "voice", {"metadata": said, "spec": {"override": asked}})
        await eventually("warm", lambda: app.phase() == "Warm")
        seen = len(received)
        clock.reach(until - timedelta(minutes=5))
        await eventually("its end is announced", lambda: len(received) > seen)
        clock.reach(until)
        await eventually("it has ended", lambda: len(received) > seen + 1)
        return [one["data"] for one in received[seen:]]

    ending, ended = await override("ann")
    assert ending["reason"] == "OverrideEnding"
    assert ended["message"].startswith("the Warm override by ann has ended")
    await eventually("nothing waits", lambda: not app.inner().get("notices"))

    # The next operator has nothing to send again.
    before = caplog.text.count(USING)
    kubectl("rollout", "restart", "deployment/kotatsu-operator")
    await eventually("another leads", lambda: caplog.text.count(USING) > before)
    ending, ended = await override("bob")
    assert (ending["reason"], ended["reason"]) == ("OverrideEnding", "OverrideEnded")
    assert ended["message"].startswith("the Warm override by bob has ended")

    # The address is a secret.
    assert TOKEN not in caplog.text
    assert TOKEN not in json.dumps(app.pool())
