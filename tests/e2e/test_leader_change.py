"""Leaders that are killed or stand still, as only signals to their processes can do it."""

import asyncio
import os
import signal
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from e2e.conftest import add_recorder, install_platform, start_app
from e2e.kit import eventually, is_ending, wall

pytestmark = pytest.mark.e2e

LEASE = "kotatsu-operator"


def leader(kubectl):
    return kubectl.get("lease", LEASE)["spec"].get("holderIdentity") or ""


def operators(kubectl):
    labels = {"app.kubernetes.io/name": "kotatsu", "app.kubernetes.io/component": "operator"}
    return {p["metadata"]["name"]: p for p in kubectl.items("pods", **labels) if not is_ending(p)}


def signal_pod(pod, number):
    """Signal a pod's Python processes from outside of it."""
    uid = pod["metadata"]["uid"]
    for entry in Path("/proc").iterdir():
        try:
            found = entry.name.isdigit() and f"pod{uid}" in (entry / "cgroup").read_text()
            if found and b"python" in (entry / "cmdline").read_bytes():
                os.kill(int(entry.name), number)
        except OSError:
            continue


def told(kubectl, name, reason):
    """Who told of a transition of a pool, once for each time."""
    events = kubectl(
        *("get", "events", "-o", "jsonpath={range .items[*]}{.reportingInstance}{'\\n'}{end}"),
        f"--field-selector=involvedObject.kind=WarmPool,involvedObject.name={name},reason={reason}",
    )
    return events.split()


async def settled(kubectl):
    """Two operators, one of which leads."""
    await eventually("two operators", lambda: len(operators(kubectl)) == 2)
    kubectl("rollout", "status", "deployment/kotatsu-operator", "--timeout=120s")
    await eventually("a leader", lambda: leader(kubectl) in operators(kubectl), within=30)
    return leader(kubectl)


async def taken_from(kubectl, former, within):
    """Wait until another leads; returns seconds until its Lease says so."""
    began = datetime.now(UTC)
    await eventually("another leads", lambda: leader(kubectl) not in ("", former), within, 0.05)
    return (datetime.now(UTC) - began).total_seconds()


@pytest.fixture(scope="module")
def two(make_namespace):
    """A namespace with two operators."""
    kubectl = make_namespace("ha")
    install_platform(kubectl, "operator.replicas=2")
    add_recorder(kubectl)
    return kubectl


def name_of(purpose):
    return f"{purpose}-{uuid.uuid4().hex[:4]}"


async def test_a_killed_leader_is_followed_in_time_for_the_window(two, on_node, record_property):
    if not on_node:
        pytest.skip("only tools/node lets this machine kill what runs in a pod")
    former = await settled(two)
    app = await start_app(two, name_of("late"), idleAfter="3s")
    await app.asleep()
    opens = datetime.now(UTC) + timedelta(seconds=36)
    window = {"name": "soon", "start": wall(opens), "end": wall(opens + timedelta(minutes=10))}
    two.patch(
        "warmpool", app.name,
        {"spec": {"lead": "16s", "windows": [window | {"replicas": 2}]}},
    )  # fmt: skip
    await eventually("the window is known", lambda: "nextTransition" in app.status())

    victim = operators(two)[former]
    # Stopped first, so that it can neither let go of the Lease nor start again in its pod.
    signal_pod(victim, signal.SIGSTOP)
    two("delete", "pod", former, "--grace-period=0", "--force", "--wait=false")
    signal_pod(victim, signal.SIGKILL)
    took = await taken_from(two, former, within=15)

    record_property("takeover", took)
    await eventually("ready", lambda: (app.status().get("lastOpening") or {}).get("early"), 60)
    opening = app.status()["lastOpening"]
    assert opening["window"] == "soon"
    assert not opening["early"].startswith("-")
    assert told(two, app.name, "Warming") == [leader(two)]


async def test_a_leader_that_stood_still_has_nothing_to_say_when_it_goes_on(two, on_node):
    if not on_node:
        pytest.skip("only tools/node lets this machine stop what runs in a pod")
    former = await settled(two)
    app = await start_app(two, name_of("frozen"), idleAfter="3s")
    await app.asleep()
    pod = operators(two)[former]
    signal_pod(pod, signal.SIGSTOP)
    try:
        await taken_from(two, former, within=15)
        two.patch("warmpool", app.name, {"spec": {"override": _warm()}})
        await eventually("warm", lambda: app.phase() == "Warm", within=30)
    finally:
        signal_pod(pod, signal.SIGCONT)
    await asyncio.sleep(6)
    assert leader(two) != former
    assert told(two, app.name, "Warming")[-1:] == [leader(two)]
    assert two("logs", former, "--tail=50").count("no longer the leader") >= 1


def _warm():
    until = datetime.now(UTC) + timedelta(minutes=5)
    return {"mode": "Warm", "replicas": 1, "until": until.isoformat().replace("+00:00", "Z")}
