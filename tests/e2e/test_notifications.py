"""The story of one window, as a receiver in the cluster gets it."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from e2e.conftest import install_platform, start_app
from e2e.kit import APP_IMAGE, HERE, Kubectl, eventually, stamp, wall

pytestmark = pytest.mark.e2e

SECRET = "receivers"


def receiver() -> list[dict]:
    """A pod that prints what it is sent, and its Service."""
    labels = {"app": "receiver"}
    script = (HERE / "receiver.py").read_text()
    container = {
        "name": "receiver",
        "image": APP_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", script],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "receiver", "labels": labels},
            "spec": {"containers": [container]},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "receiver"},
            "spec": {"selector": labels, "ports": [{"port": 8080}]},
        },
    ]


def receivers(*given: dict) -> dict:
    text = yaml.safe_dump({"receivers": list(given)})
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET},
        "stringData": {"receivers.yaml": text},
    }


def received(kubectl: Kubectl) -> list[dict]:
    """The bodies that the receiver has printed."""
    return [json.loads(line) for line in kubectl("logs", "receiver").splitlines()]


async def test_a_receiver_gets_the_story_of_one_window(make_namespace):
    kubectl = make_namespace("notified")
    url = f"http://receiver.{kubectl.namespace}.svc:8080/T000B000XXXX"
    kubectl.apply(
        *receiver(),
        receivers(
            {"name": "events", "url": url},
            {"name": "chat", "url": url, "format": "slack", "events": ["WindowReady"]},
        ),
    )
    install_platform(
        kubectl,
        f"notifications.secretName={SECRET}",
        "networkPolicy.notificationsTo[0].to[0].podSelector.matchLabels.app=receiver",
        "notifications.overrideWarning=5",
    )
    # Its minutes are whole, so it opens within two of them.
    opens = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=2)
    window = {"name": "pitch", "start": wall(opens), "replicas": 1}
    window["end"] = wall(opens + timedelta(minutes=1))
    app = await start_app(
        kubectl,
        "voice",
        timeZone="UTC",
        windows=[window],
        prewarm={"lead": "30s"},
        scaling={"idleAfter": "4s"},
    )
    await eventually("a window that is ready", lambda: len(received(kubectl)) == 2, within=180)
    event, chat = sorted(received(kubectl), key=len, reverse=True)
    assert event["type"] == "dev.kotatsu.warmpool.WindowReady"
    assert event["subject"] == f"{kubectl.namespace}/voice"
    assert "window pitch: 1 replica is Ready" in event["data"]["message"]
    assert chat["text"].startswith(f"*{kubectl.namespace}/voice* WindowReady: window pitch")
    await eventually("nothing waits", lambda: not app.status().get("notices"))

    await app.asleep(within=180)
    until = stamp(datetime.now(UTC) + timedelta(seconds=20))
    kubectl.patch(
        "warmpool", "voice", {"spec": {"override": {"mode": "Warm", "until": until, "by": "ann"}}}
    )
    await eventually("an override that has ended", lambda: len(received(kubectl)) == 4)
    ending, ended = received(kubectl)[2:]
    assert ending["data"]["reason"] == "OverrideEnding"
    assert ended["data"]["message"].startswith("the Warm override by ann has ended")

    # The next operator has nothing to send again, and no log has an address.
    kubectl("rollout", "restart", "deployment/kotatsu-operator")
    kubectl("rollout", "status", "deployment/kotatsu-operator", "--timeout=120s")
    await eventually(
        "another operator leads",
        lambda: (
            "notifications go to events, chat"
            in kubectl("logs", "deployment/kotatsu-operator", "--tail=-1")
        ),
    )
    await asyncio.sleep(5)  # for what must not come
    assert len(received(kubectl)) == 4
    log = kubectl("logs", "deployment/kotatsu-operator", "--tail=-1")
    assert "T000B000XXXX" not in log
    assert "T000B000XXXX" not in json.dumps(app.pool())
